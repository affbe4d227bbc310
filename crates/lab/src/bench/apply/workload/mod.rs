//! What is written: four kinds of load, each a sequence of transactions that follows from a seed.
//!
//! A transaction is one text packet, so that the writers do not spend the machine's time on round trips. Nothing
//! here is random twice: a transaction that the server took back (a deadlock) is sent again as it was.

mod rush;
pub(super) mod special;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use self::{rush::Rush, special::special};

/// The schema in which every workload's tables are.
pub(super) const SCHEMA: &str = "bench";

/// Tables, and rows in each at the beginning, of the workloads after sysbench.
const TABLES: u32 = 4;
const ROWS: u32 = 20_000;
/// Rows of `hot_rows`.
const COUNTERS: u32 = 10;
/// Rows that one statement of the preparation inserts.
const ROWS_A_STATEMENT: u32 = 1_000;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// sysbench's `oltp_write_only`: an UPDATE of an indexed column, one of another column, a DELETE and an INSERT of
    /// one row, each on any of four tables of 20,000 rows; rows drawn from sysbench's default distribution.
    OltpWriteOnly,
    /// sysbench's `oltp_insert`: one INSERT into any of the same four tables.
    OltpInsert,
    /// Ten rows that everybody counts up, two in a transaction.
    HotRows,
    /// The rush of the ticketing service: seats are held, then paid (claims sold, booking and payment written) or given
    /// back and held by others. The keys are those of the service, with unique ones beside the primary key.
    TicketingRush,
}

impl Workload {
    /// All of them, in the order in which they run.
    pub const ALL: [Workload; 4] =
        [Workload::OltpWriteOnly, Workload::OltpInsert, Workload::HotRows, Workload::TicketingRush];

    /// Its name on the command line and in what is printed.
    pub fn name(self) -> &'static str {
        match self {
            Workload::OltpWriteOnly => "oltp_write_only",
            Workload::OltpInsert => "oltp_insert",
            Workload::HotRows => "hot_rows",
            Workload::TicketingRush => "ticketing_rush",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Workload> {
        Workload::ALL.into_iter().find(|w| w.name() == name)
    }

    /// The statements that make its tables and their first rows.
    pub(super) fn preparation(self, seed: u64) -> Vec<String> {
        let mut statements = vec![format!("CREATE DATABASE {SCHEMA}")];
        match self {
            Workload::OltpWriteOnly | Workload::OltpInsert => sysbench_tables(seed, &mut statements),
            Workload::HotRows => {
                statements.push(format!(
                    "CREATE TABLE {SCHEMA}.counters (id INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL, last_writer INT NOT NULL, \
                     changed_at DATETIME(6) NOT NULL) ENGINE=InnoDB"
                ));
                let rows: Vec<String> = (1..=COUNTERS).map(|id| format!("({id},0,0,NOW(6))")).collect();
                statements.push(format!("INSERT INTO {SCHEMA}.counters VALUES {}", rows.join(",")));
            }
            Workload::TicketingRush => statements.extend(rush::tables()),
        }
        statements
    }
}

/// One connection's transactions, without end.
#[derive(Debug)]
pub(super) struct Writer {
    workload: Workload,
    rng: SmallRng,
    number: u32,
    rush: Rush,
}

impl Writer {
    /// The writer `number` (from 0) of as many as write at a time.
    pub(super) fn new(workload: Workload, seed: u64, number: u32) -> Writer {
        // Far apart, so that no writer draws what another one draws.
        let rng = SmallRng::seed_from_u64(seed ^ (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Writer { workload, rng, number, rush: Rush::new(number) }
    }

    /// The next transaction, as one packet.
    pub(super) fn next(&mut self) -> String {
        match self.workload {
            Workload::OltpWriteOnly => self.write_only(),
            Workload::OltpInsert => {
                let (table, k) = (self.table(), special(&mut self.rng, ROWS));
                let (c, pad) = (digits(&mut self.rng, 10), digits(&mut self.rng, 5));
                format!("INSERT INTO {table} (k, c, pad) VALUES ({k}, '{c}', '{pad}')")
            }
            Workload::HotRows => self.hot_rows(),
            Workload::TicketingRush => self.rush.next(&mut self.rng),
        }
    }

    fn table(&mut self) -> String {
        format!("{SCHEMA}.sbtest{}", self.rng.random_range(1..=TABLES))
    }

    fn write_only(&mut self) -> String {
        let (indexed, other, replaced) = (self.table(), self.table(), self.table());
        let mut row = || special(&mut self.rng, ROWS);
        let (indexed_id, other_id, replaced_id, k) = (row(), row(), row(), row());
        let (other_c, c, pad) =
            (digits(&mut self.rng, 10), digits(&mut self.rng, 10), digits(&mut self.rng, 5));
        format!(
            "BEGIN; UPDATE {indexed} SET k=k+1 WHERE id={indexed_id}; UPDATE {other} SET c='{other_c}' WHERE id={other_id}; \
             DELETE FROM {replaced} WHERE id={replaced_id}; \
             INSERT INTO {replaced} (id, k, c, pad) VALUES ({replaced_id}, {k}, '{c}', '{pad}'); COMMIT"
        )
    }

    fn hot_rows(&mut self) -> String {
        // In the order of their keys: who waits, waits for one who waits for nobody.
        let (a, b) = (self.rng.random_range(1..COUNTERS), self.rng.random_range(1..=COUNTERS));
        let (a, b) = if a < b { (a, b) } else { (b, a + 1) };
        let writer = self.number;
        let update = |id| {
            format!(
                "UPDATE {SCHEMA}.counters SET n=n+1, last_writer={writer}, changed_at=NOW(6) WHERE id={id}"
            )
        };
        format!("BEGIN; {}; {}; COMMIT", update(a), update(b))
    }
}

/// Transactions that insert so many rows each into any of sysbench's tables.
pub(super) fn rows_of_insert(seed: u64, number: u32, rows: u32) -> impl FnMut() -> String + Send + 'static {
    let mut writer = Writer::new(Workload::OltpInsert, seed, number);
    move || {
        let table = writer.table();
        let rows: Vec<String> = (0..rows)
            .map(|_| {
                let k = special(&mut writer.rng, ROWS);
                format!("({k},'{}','{}')", digits(&mut writer.rng, 10), digits(&mut writer.rng, 5))
            })
            .collect();
        format!("INSERT INTO {table} (k, c, pad) VALUES {}", rows.join(","))
    }
}

fn sysbench_tables(seed: u64, statements: &mut Vec<String>) {
    let mut rng = SmallRng::seed_from_u64(seed);
    for table in 1..=TABLES {
        let name = format!("{SCHEMA}.sbtest{table}");
        statements.push(format!(
            "CREATE TABLE {name} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
             c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', KEY k_{table} (k)) ENGINE=InnoDB"
        ));
        for first in (1..=ROWS).step_by(ROWS_A_STATEMENT as usize) {
            let rows: Vec<String> = (first..first + ROWS_A_STATEMENT)
                .map(|id| {
                    let k = special(&mut rng, ROWS);
                    format!("({id},{k},'{}','{}')", digits(&mut rng, 10), digits(&mut rng, 5))
                })
                .collect();
            statements.push(format!("INSERT INTO {name} VALUES {}", rows.join(",")));
        }
    }
}

/// Groups of eleven digits, joined by hyphens: sysbench's values of `c` (ten groups) and `pad` (five).
pub(super) fn digits(rng: &mut SmallRng, groups: usize) -> String {
    let mut text = String::with_capacity(groups * 12);
    for group in 0..groups {
        let number: u64 = rng.random_range(0..100_000_000_000);
        let hyphen = if group == 0 { "" } else { "-" };
        text.push_str(&format!("{hyphen}{number:011}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transactions(workload: Workload, seed: u64, number: u32) -> Vec<String> {
        let mut writer = Writer::new(workload, seed, number);
        (0..200).map(|_| writer.next()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_transactions_and_another_writer_others() {
        for workload in Workload::ALL {
            assert_eq!(transactions(workload, 7, 0), transactions(workload, 7, 0));
            assert_ne!(transactions(workload, 7, 0), transactions(workload, 7, 1));
            assert_eq!(Workload::named(workload.name()), Some(workload));
        }
    }

    #[test]
    fn hot_rows_are_two_different_ones_in_the_order_of_their_keys() {
        for transaction in transactions(Workload::HotRows, 3, 0) {
            let ids: Vec<u32> = transaction
                .split("id=")
                .skip(1)
                .map(|t| t.split(';').next().unwrap().parse().unwrap())
                .collect();
            assert!(ids.len() == 2 && ids[0] < ids[1] && ids[1] <= COUNTERS, "{transaction}");
        }
    }

    #[test]
    fn the_texts_are_as_long_as_sysbenchs() {
        let mut rng = SmallRng::seed_from_u64(1);
        assert_eq!((digits(&mut rng, 10).len(), digits(&mut rng, 5).len()), (119, 59));
    }
}
