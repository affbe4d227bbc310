//! One column's value: from the log's bytes to a [`Value`].

use super::{DecodeError, bytes::Bytes};
use crate::transaction::Value;

/// How a column's values are laid down in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Integer { bytes: u8, unsigned: bool },
    Float,
    Double,
    Decimal { digits: u8, scale: u8 },
    Bits { bytes: u8 },
    Enum { bytes: u8 },
    Set { bytes: u8 },
    Year,
    Date,
    Time { decimals: u8 },
    Datetime { decimals: u8 },
    Timestamp { decimals: u8 },
    String { length_bytes: u8 },
}

impl Layout {
    /// Takes one value that is not NULL.
    pub(super) fn read(self, from: &mut Bytes<'_>) -> Result<Value, DecodeError> {
        Ok(match self {
            Layout::Integer { bytes, unsigned: true } => Value::Unsigned(from.little(bytes.into())?),
            Layout::Integer { bytes, unsigned: false } => {
                let unused_bits = 64 - 8 * u32::from(bytes);
                Value::Signed((from.little(bytes.into())? << unused_bits).cast_signed() >> unused_bits)
            }
            Layout::Float => Value::Float(from.f32()?),
            Layout::Double => Value::Double(from.f64()?),
            Layout::Decimal { digits, scale } => Value::Decimal(decimal(from, digits.into(), scale.into())?),
            Layout::Bits { bytes } => Value::Unsigned(from.big(bytes.into())?),
            Layout::Enum { bytes } | Layout::Set { bytes } => Value::Unsigned(from.little(bytes.into())?),
            Layout::Year => Value::Unsigned(match from.u8()? {
                0 => 0,
                years => 1900 + u64::from(years),
            }),
            Layout::Date => {
                let packed = from.little(3)?;
                Value::Temporal(format!("{:04}-{:02}-{:02}", packed >> 9, (packed >> 5) & 15, packed & 31))
            }
            Layout::Time { decimals } => Value::Temporal(time(from, decimals)?),
            Layout::Datetime { decimals } => Value::Temporal(datetime(from, decimals)?),
            Layout::Timestamp { decimals } => {
                let (seconds, micros) = (from.big(4)?, micros(from, decimals)?);
                Value::Temporal(timestamp(seconds, micros))
            }
            Layout::String { length_bytes } => {
                let length = usize::try_from(from.little(length_bytes.into())?)
                    .map_err(|_| DecodeError::Malformed("a string is too long"))?;
                Value::Bytes(from.take(length)?.to_vec())
            }
        })
    }
}

/// `.123456`, or nothing for none.
fn fraction(micros: u64) -> String {
    match micros {
        0 => String::new(),
        n => format!(".{n:06}"),
    }
}

/// A fraction of a second behind a value, in microseconds.
fn micros(from: &mut Bytes<'_>, decimals: u8) -> Result<u64, DecodeError> {
    Ok(match decimals {
        0 => 0,
        1 | 2 => from.big(1)? * 10_000,
        3 | 4 => from.big(2)? * 100,
        _ => from.big(3)?,
    })
}

fn datetime(from: &mut Bytes<'_>, decimals: u8) -> Result<String, DecodeError> {
    let packed =
        from.big(5)?.checked_sub(0x80_0000_0000).ok_or(DecodeError::Malformed("a DATETIME is negative"))?;
    let (day_part, time_part) = (packed >> 17, packed & 0x1_ffff);
    let (months, day) = (day_part >> 5, day_part & 31);
    Ok(format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}{}",
        months / 13,
        months % 13,
        day,
        time_part >> 12,
        (time_part >> 6) & 63,
        time_part & 63,
        fraction(micros(from, decimals)?)
    ))
}

/// TIME is a signed number of 24 bits of whole seconds and a fraction, stored with an offset that makes it
/// unsigned; so the fraction of a negative time counts upwards from the next lower second.
fn time(from: &mut Bytes<'_>, decimals: u8) -> Result<String, DecodeError> {
    let (fraction_bytes, unit) = match decimals {
        0 => (0, 0),
        1 | 2 => (1, 10_000),
        3 | 4 => (2, 100),
        _ => (3, 1),
    };
    let stored = from.big(3 + fraction_bytes)?;
    let bits = 8 * fraction_bytes;
    let offset = 0x80_0000_u64 << bits;
    let (sign, magnitude) = match stored.checked_sub(offset) {
        Some(m) => ("", m),
        None => ("-", offset - stored),
    };
    let (whole, part) = (magnitude >> bits, magnitude & ((1 << bits) - 1));
    Ok(format!(
        "{sign}{:02}:{:02}:{:02}{}",
        (whole >> 12) & 0x3ff,
        (whole >> 6) & 63,
        whole & 63,
        fraction(part * unit)
    ))
}

/// Seconds since 1970 as `YYYY-MM-DD hh:mm:ss` in UTC. Nothing but zeros is the server's "zero" timestamp; a fraction
/// of the first second of 1970 is a time like any other.
fn timestamp(seconds: u64, micros: u64) -> String {
    if (seconds, micros) == (0, 0) {
        return "0000-00-00 00:00:00".into();
    }
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = runtime::clock::date(days);
    let (hour, minute, second) = (rest / 3_600, rest % 3_600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{}", fraction(micros))
}

/// DECIMAL: groups of nine digits in four bytes each, the odd digits at both ends in as few bytes as they need,
/// the most significant bit flipped, and everything inverted if the number is negative.
fn decimal(from: &mut Bytes<'_>, digits: usize, scale: usize) -> Result<String, DecodeError> {
    const BYTES_OF_DIGITS: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    let whole =
        digits.checked_sub(scale).ok_or(DecodeError::Malformed("a DECIMAL has a scale above its digits"))?;
    let size = whole / 9 * 4 + BYTES_OF_DIGITS[whole % 9] + scale / 9 * 4 + BYTES_OF_DIGITS[scale % 9];
    let mut buffer = from.take(size)?.to_vec();
    let Some(first) = buffer.first_mut() else {
        return Err(DecodeError::Malformed("a DECIMAL has no digits"));
    };
    let negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if negative {
        buffer.iter_mut().for_each(|b| *b = !*b);
    }
    let mut groups = Bytes(&buffer);
    let mut group = |digits: usize, to: &mut String| -> Result<(), DecodeError> {
        if digits > 0 {
            let value = groups.big(BYTES_OF_DIGITS[digits])?;
            to.push_str(&format!("{value:0digits$}"));
        }
        Ok(())
    };
    let mut text = String::with_capacity(digits + 3);
    group(whole % 9, &mut text)?;
    for _ in 0..whole / 9 {
        group(9, &mut text)?;
    }
    let significant = text.trim_start_matches('0');
    let mut text = format!(
        "{}{}",
        if negative { "-" } else { "" },
        if significant.is_empty() { "0" } else { significant }
    );
    if scale > 0 {
        text.push('.');
        for _ in 0..scale / 9 {
            group(9, &mut text)?;
        }
        group(scale % 9, &mut text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(layout: Layout, bytes: &[u8], expected: &str) {
        let mut from = Bytes(bytes);
        let text = match layout.read(&mut from).unwrap() {
            Value::Temporal(t) | Value::Decimal(t) => t,
            Value::Signed(n) => n.to_string(),
            Value::Unsigned(n) => n.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(text, expected);
        assert!(from.is_empty(), "{expected}: bytes are left over");
    }

    #[test]
    fn values_are_what_the_server_means() {
        check(Layout::Integer { bytes: 3, unsigned: false }, &[0xff, 0xff, 0xff], "-1");
        check(Layout::Integer { bytes: 8, unsigned: true }, &[0xff; 8], "18446744073709551615");
        check(Layout::Year, &[0], "0");
        check(Layout::Year, &[101], "2001");
        check(Layout::Time { decimals: 0 }, &[0x80, 0x00, 0x01], "00:00:01");
        check(Layout::Time { decimals: 0 }, &[0x7f, 0xff, 0xff], "-00:00:01");
        // -00:00:00.01 in TIME(2): the whole part is stored as -1, the fraction as 0xff.
        check(Layout::Time { decimals: 2 }, &[0x7f, 0xff, 0xff, 0xff], "-00:00:00.010000");
        check(Layout::Timestamp { decimals: 0 }, &[0, 0, 0, 0], "0000-00-00 00:00:00");
        check(Layout::Timestamp { decimals: 6 }, &[0, 0, 0, 0, 0, 0, 5], "1970-01-01 00:00:00.000005");
        check(Layout::Timestamp { decimals: 0 }, &[0x7f, 0xff, 0xff, 0xff], "2038-01-19 03:14:07");
        check(Layout::Timestamp { decimals: 0 }, &[0x38, 0xbc, 0x6c, 0x80], "2000-03-01 01:04:00");
        let decimal = Layout::Decimal { digits: 14, scale: 4 };
        check(decimal, &[0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2], "1234567890.1234");
        check(decimal, &[0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d], "-1234567890.1234");
        check(Layout::Decimal { digits: 2, scale: 2 }, &[0x85], "0.05");
    }

    #[test]
    fn short_and_senseless_bytes_are_errors() {
        assert!(Layout::Datetime { decimals: 6 }.read(&mut Bytes(&[0x80; 7])).is_err());
        assert!(Layout::Datetime { decimals: 0 }.read(&mut Bytes(&[0; 5])).is_err());
        assert!(Layout::Decimal { digits: 2, scale: 3 }.read(&mut Bytes(&[0; 9])).is_err());
        assert!(Layout::Decimal { digits: 0, scale: 0 }.read(&mut Bytes(&[0; 9])).is_err());
        assert!(Layout::String { length_bytes: 4 }.read(&mut Bytes(&[0xff; 9])).is_err());
    }
}
