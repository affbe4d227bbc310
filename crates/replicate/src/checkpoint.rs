//! What may stand in a slot, and in which order a transaction, its slot and its watermark become true.

use std::{fmt, str::FromStr};

/// The text in `ghostlight.applied.pending`: something has begun whose end is not yet in the slot.
///
/// It names the connection that does the work (`CONNECTION_ID()`), because that is how a reader of the log knows
/// a DDL statement as ours: DDL commits implicitly, so it cannot stand in one transaction with the mark.
///
/// A slot is *attached* (its position is true, and promotion may rely on it) unless it is being seeded. While DDL
/// is pending, the position stands just before that DDL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// `seed:<connection>:<step>`: this database is being filled. Its position means nothing yet.
    Seed {
        /// Who fills it.
        connection: u32,
        /// Grows with every transaction, so that each one changes the row and bears the mark.
        step: u64,
    },
    /// `ddl:<connection>:<fingerprint>`: the DDL statement behind the position may or may not have run.
    Ddl {
        /// Who runs it.
        connection: u32,
        /// What all definitions hashed to before it ran. If they hash to something else now, it has run.
        fingerprint: String,
    },
    /// `part`: a transaction too large for one packet is under way. Never seen committed.
    Part,
}

impl Pending {
    /// Whether a slot with this mark may not be promoted or continued from.
    pub fn is_seed(&self) -> bool {
        matches!(self, Pending::Seed { .. })
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pending::Seed { connection, step } => write!(f, "seed:{connection}:{step}"),
            Pending::Ddl { connection, fingerprint } => write!(f, "ddl:{connection}:{fingerprint}"),
            Pending::Part => f.write_str("part"),
        }
    }
}

/// The text in `pending` is none that we write.
#[derive(Debug, thiserror::Error)]
#[error(
    "ghostlight.applied.pending holds `{0}`, which no version of ours wrote; the standby must be seeded again"
)]
pub struct UnknownPending(String);

impl FromStr for Pending {
    type Err = UnknownPending;

    fn from_str(text: &str) -> Result<Self, UnknownPending> {
        let parts: Vec<&str> = text.split(':').collect();
        let number = |s: &str| s.parse::<u64>().ok();
        let connection = |s: &str| s.parse::<u32>().ok();
        let read = || match parts.as_slice() {
            ["part"] => Some(Pending::Part),
            ["seed", c, step] => Some(Pending::Seed { connection: connection(c)?, step: number(step)? }),
            ["ddl", c, fingerprint] => {
                Some(Pending::Ddl { connection: connection(c)?, fingerprint: (*fingerprint).to_owned() })
            }
            _ => None,
        };
        read().ok_or_else(|| UnknownPending(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_into_pending_is_read_back() {
        let all = [
            Pending::Part,
            Pending::Seed { connection: 7, step: 12 },
            Pending::Ddl { connection: 8, fingerprint: "9f".into() },
        ];
        for pending in all {
            assert_eq!(pending.to_string().parse::<Pending>().unwrap(), pending);
        }
        assert!("ddl:8".parse::<Pending>().is_err());
    }
}
