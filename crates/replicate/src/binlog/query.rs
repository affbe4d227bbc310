//! A QUERY event: a statement's text, and the session settings that it was run with.

use super::{DecodeError, bytes::Bytes};
use crate::transaction::Statement;

const NO_FOREIGN_KEY_CHECKS: u32 = 1 << 26;

/// Reads the event's body; `at_s` stands in its header.
pub(super) fn read(at_s: u32, body: &[u8]) -> Result<Statement, DecodeError> {
    let mut from = Bytes(body);
    let connection = from.u32()?;
    from.u32()?; // seconds that it ran
    let schema_len = from.u8()?;
    let error_code = from.u16()?;
    let settings_len = from.u16()?;
    let settings = from.take(settings_len.into())?;
    let schema = String::from_utf8(from.take(schema_len.into())?.to_vec())
        .map_err(|_| DecodeError::Malformed("a database's name is not UTF-8"))?;
    from.take(1)?;
    let mut statement = Statement {
        connection,
        schema,
        sql: from.0.to_vec(),
        error_code,
        foreign_key_checks: true,
        at_us: u64::from(at_s) * 1_000_000,
        ..Statement::default()
    };
    read_settings(Bytes(settings), &mut statement)?;
    Ok(statement)
}

/// Takes what we use. The settings have no common length, so the first unknown one ends the reading; both kinds of
/// server write them in the order of their numbers, and new ones behind the old ones.
fn read_settings(mut from: Bytes<'_>, statement: &mut Statement) -> Result<(), DecodeError> {
    while !from.is_empty() {
        match from.u8()? {
            0 => statement.foreign_key_checks = from.u32()? & NO_FOREIGN_KEY_CHECKS == 0,
            1 => statement.sql_mode = Some(from.u64()?),
            2 => {
                let length = from.u8()?;
                from.take(usize::from(length) + 1)?;
            }
            3 => {
                from.u32()?; // auto_increment_increment and _offset: rows carry their numbers
            }
            4 => statement.collations = Some([from.u16()?, from.u16()?, from.u16()?]),
            5 => {
                let length = from.u8()?;
                statement.time_zone = String::from_utf8(from.take(length.into())?.to_vec()).ok();
            }
            6 => {
                let length = from.u8()?;
                from.take(length.into())?; // the catalog, always `std`
            }
            7 | 8 => {
                from.u16()?; // lc_time_names; the database's collation, which the database itself has
            }
            9 => {
                from.u64()?; // tables that native replication would map for an update
            }
            10 => {
                from.u32()?; // the event's length at another server
            }
            11 => {
                // The definer that a statement without one means: user and host.
                for _ in 0..2 {
                    let length = from.u8()?;
                    from.take(length.into())?;
                }
            }
            12 => {
                // Databases that the statement touches (MySQL); above 16 the server gives up naming them.
                let count = from.u8()?;
                for _ in 0..if count <= 16 { count } else { 0 } {
                    let end = from.0.iter().position(|b| *b == 0);
                    from.take(end.ok_or(DecodeError::Malformed("a database's name has no end"))? + 1)?;
                }
            }
            // Microseconds of the time at which it began: MySQL's, and MariaDB's.
            13 | 128 => statement.at_us += from.little(3)?,
            _ => break,
        }
    }
    Ok(())
}
