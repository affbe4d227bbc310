//! Dates for people and for the database, from milliseconds since 1970 UTC.
//!
//! Visitors read Korean time (UTC+9, no summer time); the database holds UTC. Reads no clock.

use crate::lang::Lang;

const DAY_MS: u64 = 86_400_000;
const KST_MS: u64 = 9 * 3_600_000;

/// A moment, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year, e.g. 2026.
    pub year: u64,
    /// Month, 1..=12.
    pub month: u64,
    /// Day of the month, 1..=31.
    pub day: u64,
    /// Hour, 0..=23.
    pub hour: u64,
    /// Minute, 0..=59.
    pub minute: u64,
    /// Second, 0..=59.
    pub second: u64,
    /// Millisecond, 0..=999.
    pub ms: u64,
    /// Day of the week, 0 = Sunday.
    pub weekday: usize,
}

/// Takes a moment apart in UTC.
pub fn utc(at_ms: u64) -> Civil {
    let days = at_ms / DAY_MS;
    let rest = at_ms % DAY_MS;
    let (year, month, day) = runtime::clock::date(days);
    Civil {
        year,
        month,
        day,
        hour: rest / 3_600_000,
        minute: rest / 60_000 % 60,
        second: rest / 1_000 % 60,
        ms: rest % 1_000,
        weekday: usize::try_from((days + 4) % 7).unwrap_or(0),
    }
}

/// Takes a moment apart in Korean time.
pub fn korea(at_ms: u64) -> Civil {
    utc(at_ms + KST_MS)
}

/// Number of the Korean day that `at_ms` falls on, counted from 1970.
pub fn korean_day(at_ms: u64) -> u64 {
    (at_ms + KST_MS) / DAY_MS
}

/// The moment at which the Korean day `day` reaches `hour:minute`.
pub fn on_korean_day(day: u64, hour: u64, minute: u64) -> u64 {
    (day * DAY_MS + hour * 3_600_000 + minute * 60_000).saturating_sub(KST_MS)
}

/// A DATETIME(3) literal without quotes, in UTC.
pub fn sql(at_ms: u64) -> String {
    let c = utc(at_ms);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}",
        c.year, c.month, c.day, c.hour, c.minute, c.second, c.ms
    )
}

const WEEKDAYS_KO: [&str; 7] = ["일", "월", "화", "수", "목", "금", "토"];
const WEEKDAYS_EN: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS_EN: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The short name of a weekday, 0 = Sunday.
pub fn weekday(lang: Lang, day: usize) -> &'static str {
    lang.pick(WEEKDAYS_KO[day % 7], WEEKDAYS_EN[day % 7])
}

/// The short English name of a month, 1..=12; in Korean its number with 월.
pub fn month(lang: Lang, year: u64, month: u64) -> String {
    match lang {
        Lang::Ko => format!("{year}년 {month}월"),
        Lang::En => format!("{} {year}", month_en(month)),
    }
}

fn month_en(month: u64) -> &'static str {
    usize::try_from(month).ok().and_then(|m| MONTHS_EN.get(m.wrapping_sub(1))).copied().unwrap_or("")
}

/// `2026. 12. 24.(목)`, or `Thu 24 Dec 2026`.
pub fn date(lang: Lang, at_ms: u64) -> String {
    let c = korea(at_ms);
    match lang {
        Lang::Ko => format!("{}. {}. {}.({})", c.year, c.month, c.day, WEEKDAYS_KO[c.weekday]),
        Lang::En => format!("{} {} {} {}", WEEKDAYS_EN[c.weekday], c.day, month_en(c.month), c.year),
    }
}

/// `19:30`, Korean time.
pub fn time(at_ms: u64) -> String {
    let c = korea(at_ms);
    format!("{:02}:{:02}", c.hour, c.minute)
}

/// `2026. 12. 24.(목) 19:30`, or `Thu 24 Dec 2026, 19:30`.
pub fn date_time(lang: Lang, at_ms: u64) -> String {
    let between = lang.pick(" ", ", ");
    format!("{}{between}{}", date(lang, at_ms), time(at_ms))
}

/// `2026-12-24T10:30:00.000Z`, as the API and `<time datetime>` write it.
pub fn iso(at_ms: u64) -> String {
    format!("{}Z", sql(at_ms).replacen(' ', "T", 1))
}

/// The moment that a form's `datetime-local` field says in Korean time: `2026-12-24T19:30`. Up to 2037: what comes after
/// the 19th of January 2038 is no moment to the database's `UNIX_TIMESTAMP`, by which we read it back.
pub fn from_form(text: &str) -> Option<u64> {
    let (date, time) = text.trim().split_once('T')?;
    let mut date = date.split('-').map(|n| n.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(':').map(|n| n.parse::<u64>().ok());
    let (hour, minute) = (time.next()??, time.next()??);
    if !(1970..=2037).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
    {
        return None;
    }
    // Years that begin in March end with the leap day.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let at_ms = on_korean_day(days, hour, minute);
    // The 30th of February is another day: not what was meant.
    let c = korea(at_ms);
    ((c.year, c.month, c.day) == (year, month, day)).then_some(at_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thursday_evening_in_december() {
        let at = 1_798_108_200_000; // 2026-12-24T10:30:00Z
        assert_eq!(sql(at), "2026-12-24 10:30:00.000");
        assert_eq!(date_time(Lang::Ko, at), "2026. 12. 24.(목) 19:30");
        assert_eq!(date_time(Lang::En, at), "Thu 24 Dec 2026, 19:30");
        assert_eq!(on_korean_day(korean_day(at), 19, 30), at);
        assert_eq!(iso(at), "2026-12-24T10:30:00.000Z");
    }

    #[test]
    fn a_form_says_korean_time() {
        assert_eq!(from_form("2026-12-24T19:30"), Some(1_798_108_200_000));
        for (day, has) in [
            ("2024-02-29", true),
            ("2026-02-29", false),
            ("2026-02-30", false),
            ("2026-12-31", true),
            ("2027-01-01", true),
        ] {
            let at = from_form(&format!("{day}T09:05"));
            assert_eq!(at.is_some(), has, "{day}");
            assert!(at.is_none_or(|at| (time(at), korea(at).minute) == ("09:05".into(), 5)), "{day}");
        }
        for odd in [
            "",
            "2026-12-24",
            "2026-13-01T00:00",
            "2026-12-24T24:00",
            "T",
            "2026-12-24T19",
            "0-0-0T0:0",
            "2038-01-01T00:00",
        ] {
            assert_eq!(from_form(odd), None, "{odd}");
        }
    }

    #[test]
    fn leap_days_and_new_year() {
        assert_eq!(sql(1_709_164_800_000), "2024-02-29 00:00:00.000");
        assert_eq!(sql(1_735_689_599_999), "2024-12-31 23:59:59.999");
    }
}
