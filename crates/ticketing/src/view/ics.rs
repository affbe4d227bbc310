//! A booking as a calendar file (RFC 5545).

use crate::{calendar::utc, catalogue::Event, lang::Lang, store::Booked};

/// How many octets a line may have.
const LINE_MAX: usize = 75;

/// The file's text.
pub(crate) fn of(lang: Lang, event: &Event<'_>, booking: &Booked) -> String {
    let seats: Vec<String> = booking.seats.iter().map(|seat| event.seat_name(lang, seat)).collect();
    let number = lang.pick("예매번호", "Booking number");
    let lines = [
        "BEGIN:VCALENDAR".to_owned(),
        "VERSION:2.0".to_owned(),
        "PRODID:-//Ghostlight//Tickets//KO".to_owned(),
        "BEGIN:VEVENT".to_owned(),
        format!("UID:{}@ghostlight", booking.no),
        format!("DTSTAMP:{}", stamp(booking.created_at_ms)),
        format!("DTSTART:{}", stamp(event.performance.starts_at_ms)),
        format!("DURATION:PT{}M", event.show.runtime_min),
        format!("SUMMARY:{}", escaped(event.show.title.in_lang(lang))),
        format!("LOCATION:{}", escaped(event.hall.name.in_lang(lang))),
        format!(
            "DESCRIPTION:{}",
            escaped(&format!("{number} {}\n{}", booking.no.grouped(), seats.join("\n")))
        ),
        "BEGIN:VALARM".to_owned(),
        "ACTION:DISPLAY".to_owned(),
        format!("DESCRIPTION:{}", escaped(event.show.title.in_lang(lang))),
        "TRIGGER:-PT2H".to_owned(),
        "END:VALARM".to_owned(),
        "END:VEVENT".to_owned(),
        "END:VCALENDAR".to_owned(),
    ];
    lines.iter().map(|line| folded(line)).collect()
}

/// `20261224T103000Z`.
fn stamp(at_ms: u64) -> String {
    let c = utc(at_ms);
    format!("{:04}{:02}{:02}T{:02}{:02}{:02}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace(';', "\\;").replace(',', "\\,").replace('\n', "\\n")
}

/// A line, broken between letters where it is too long; what follows begins with a space.
fn folded(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 8);
    let mut room = LINE_MAX;
    for letter in line.chars() {
        if letter.len_utf8() > room {
            out.push_str("\r\n ");
            room = LINE_MAX - 1;
        }
        out.push(letter);
        room -= letter.len_utf8();
    }
    out.push_str("\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_between_letters() {
        let text = folded(&format!("SUMMARY:{}", "등대지기의 겨울".repeat(6)));
        assert!(text.split("\r\n").all(|line| line.len() <= LINE_MAX), "{text}");
        assert_eq!(text.replace("\r\n ", "").trim_end(), format!("SUMMARY:{}", "등대지기의 겨울".repeat(6)));
    }

    #[test]
    fn signs_of_the_format_are_escaped() {
        assert_eq!(escaped("a,b;c\\d\ne"), "a\\,b\\;c\\\\d\\ne");
    }
}
