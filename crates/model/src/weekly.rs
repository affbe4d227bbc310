//! Maintenance that recurs: a time of the week, as an operator would write it on a door.
//!
//! `sat 02:00-04:00 Asia/Seoul`: a day, from when to when, and whose clock. An end that is not later than the beginning is
//! the next day's (`sat 23:00-01:00 …`). Clocks that are put forward and back twice a year are left out on purpose: a table of
//! them would have to be kept up to date in every binary, and a window that moves by an hour unnoticed is worse than one
//! that is written with its offset. So `UTC`, `Asia/Seoul`, `Asia/Tokyo` and `+09:00` are understood, and nothing else.

use std::fmt;

use serde::{Deserialize, Serialize};

const MINUTES_A_DAY: u32 = 24 * 60;
const MINUTES_A_WEEK: u32 = 7 * MINUTES_A_DAY;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// 1 January 1970 was a Thursday.
const FIRST_DAY: u32 = 3;
/// Zones that have kept one offset for decades, in minutes east of UTC.
const ZONES: [(&str, i32); 3] = [("UTC", 0), ("Asia/Seoul", 9 * 60), ("Asia/Tokyo", 9 * 60)];

/// A window that opens once a week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Weekly {
    /// Minutes from Monday 00:00 of its own clock to its beginning.
    from: u32,
    /// How long it is open, in minutes: more than none, at most a day.
    minutes: u32,
    /// Its clock, as it was written.
    zone: String,
    /// The same in minutes east of UTC.
    offset: i32,
}

impl Weekly {
    /// Whether it is open at `wall_ms`, milliseconds since 1970 UTC.
    pub fn is_open(&self, wall_ms: u64) -> bool {
        let week = i64::from(MINUTES_A_WEEK);
        let now = i64::try_from(wall_ms / 60_000).unwrap_or(i64::MAX) % week
            + i64::from(FIRST_DAY * MINUTES_A_DAY)
            + i64::from(self.offset);
        let since = (now - i64::from(self.from)).rem_euclid(week);
        since < i64::from(self.minutes)
    }
}

/// The first moment since 1970 UTC at which a clock with this offset reads this day and time, in milliseconds. For stories
/// and tests.
pub fn wall_ms_of(day: &str, time: &str) -> Result<u64, String> {
    let minute = day_of(day)? * MINUTES_A_DAY + time_of(time)?;
    Ok(u64::from((minute + MINUTES_A_WEEK - FIRST_DAY * MINUTES_A_DAY) % MINUTES_A_WEEK) * 60_000)
}

fn day_of(text: &str) -> Result<u32, String> {
    let day = (0..).zip(DAYS).find(|(_, name)| *name == text.to_ascii_lowercase());
    day.map(|(n, _)| n).ok_or_else(|| format!("`{text}` is no day; write one of {}", DAYS.join(", ")))
}

fn time_of(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is no time of the day; write HH:MM, from 00:00 to 23:59");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let part = |text: &str, below: u32| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|n| digits && *n < below).ok_or_else(wrong)
    };
    Ok(part(hours, 24)? * 60 + part(minutes, 60)?)
}

fn offset_of(text: &str) -> Result<i32, String> {
    if let Some((_, offset)) = ZONES.iter().find(|(name, _)| *name == text) {
        return Ok(*offset);
    }
    let wrong = || {
        let known: Vec<&str> = ZONES.iter().map(|(name, _)| *name).collect();
        format!(
            "`{text}` is no clock that is known here; write {} or an offset like +09:00",
            known.join(", ")
        )
    };
    let (sign, digits) = match text.split_at_checked(1) {
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        _ => return Err(wrong()),
    };
    let minutes = i32::try_from(time_of(digits).map_err(|_| wrong())?).map_err(|_| wrong())?;
    // Nobody lives further east than +14:00, or further west than -12:00.
    if minutes > 14 * 60 { Err(wrong()) } else { Ok(sign * minutes) }
}

impl TryFrom<String> for Weekly {
    type Error = String;

    fn try_from(text: String) -> Result<Weekly, String> {
        let wrong = || format!("`{text}` is no weekly window; write `sat 02:00-04:00 Asia/Seoul`");
        let mut words = text.split_whitespace();
        let (Some(day), Some(times), Some(zone), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let (from, until) = times.split_once('-').ok_or_else(wrong)?;
        let (begin, end) = (time_of(from)?, time_of(until)?);
        let minutes = if end > begin { end - begin } else { end + MINUTES_A_DAY - begin };
        let from = day_of(day)? * MINUTES_A_DAY + begin;
        Ok(Weekly { from, minutes, zone: zone.to_owned(), offset: offset_of(zone)? })
    }
}

impl fmt::Display for Weekly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = DAYS.iter().cycle().nth((self.from / MINUTES_A_DAY) as usize).unwrap_or(&"?");
        let (from, until) = (self.from % MINUTES_A_DAY, (self.from + self.minutes) % MINUTES_A_DAY);
        let time = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{day} {}-{} {}", time(from), time(until), self.zone)
    }
}

impl From<Weekly> for String {
    fn from(window: Weekly) -> String {
        window.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weekly(text: &str) -> Weekly {
        Weekly::try_from(text.to_owned()).unwrap()
    }

    #[track_caller]
    fn check(window: &str, day: &str, time_utc: &str, open: bool) {
        let read = weekly(window);
        assert_eq!(read.to_string(), window, "it is written as it was read");
        let at = wall_ms_of(day, time_utc).unwrap();
        assert_eq!(read.is_open(at), open, "{window} on {day} {time_utc} UTC");
        let weeks_later = at + 2_900 * u64::from(MINUTES_A_WEEK) * 60_000;
        assert_eq!(read.is_open(weeks_later), open, "and every week");
    }

    #[test]
    fn a_window_is_open_by_its_own_clock() {
        // Two in the morning of a Saturday in Seoul is the Friday afternoon before in UTC.
        check("sat 02:00-04:00 Asia/Seoul", "fri", "16:59", false);
        check("sat 02:00-04:00 Asia/Seoul", "fri", "17:00", true);
        check("sat 02:00-04:00 Asia/Seoul", "fri", "18:59", true);
        check("sat 02:00-04:00 Asia/Seoul", "fri", "19:00", false);
        check("sat 02:00-04:00 Asia/Seoul", "sat", "02:30", false);
        check("mon 00:30-01:00 +09:00", "sun", "15:45", true);
        check("sun 23:00-01:00 -03:30", "mon", "02:30", true);
        check("sun 23:00-01:00 -03:30", "mon", "04:30", false);
        check("sun 23:00-01:00 UTC", "sun", "23:59", true);
        check("sun 23:00-01:00 UTC", "mon", "00:59", true);
        check("wed 05:00-05:00 UTC", "thu", "04:59", true);
        check("wed 05:00-05:00 UTC", "thu", "05:00", false);
    }

    #[test]
    fn the_days_are_those_of_the_calendar() {
        // Tuesday, 2 June 2026, 12:00 UTC.
        assert!(weekly("tue 12:00-12:01 UTC").is_open(1_780_401_600_000));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, named) in [
            ("saturday 02:00-04:00 UTC", "saturday"),
            ("sat 2:00-04:00 UTC", "2:00"),
            ("sat 02:00-24:00 UTC", "24:00"),
            ("sat 02:00 UTC", "sat 02:00-04:00"),
            ("sat 02:00-04:00", "sat 02:00-04:00"),
            ("sat 02:00-04:00 Europe/Berlin", "Europe/Berlin"),
            ("sat 02:00-04:00 +15:00", "+15:00"),
            ("sat 02:00-04:00 UTC please", "please"),
        ] {
            let refused = Weekly::try_from(text.to_owned()).unwrap_err();
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }
}
