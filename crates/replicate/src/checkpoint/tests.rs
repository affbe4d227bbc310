use std::collections::HashMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

#[test]
fn what_is_written_into_pending_is_read_back() {
    let all = [
        Pending::Part,
        Pending::Seed { connection: 7, step: 12 },
        Pending::Undo { left: 1_000_000 },
        Pending::Ddl { connection: 8, fingerprint: "9f".into() },
    ];
    for pending in all {
        assert_eq!(pending.to_string().parse::<Pending>().unwrap(), pending);
    }
    assert!("ddl:8".parse::<Pending>().is_err());
}

fn at(offset: u64) -> At {
    At { file: 1, offset }
}

fn end(offset: u64) -> Option<End> {
    Some(End { at: at(offset), heartbeat_at_ms: None })
}

fn row(n: u64) -> Change {
    Change::Savepoint(n.to_string())
}

/// A row so large that two of them are spooled, and that a few fill a batch.
fn large(n: u64) -> Change {
    Change::Savepoint(format!("{n}{}", " ".repeat(SPOOL_AT_COST * 2 / 3)))
}

fn ddl(n: u64) -> Change {
    Change::Statement(Statement { sql: n.to_string().into(), ..Statement::default() })
}

fn part(changes: Vec<Change>, end: Option<End>) -> Event {
    Event::Part(Part { changes, end })
}

/// Feeds events; returns every effect in a short notation.
fn check(events: Vec<Event>, expected: &[&str]) {
    let (mut checkpoint, mut effects) = (Checkpoint::new(at(0)), Vec::new());
    for event in events {
        checkpoint.step(event, &mut effects).unwrap();
    }
    let told: Vec<String> = effects.iter().map(short).collect();
    assert_eq!(told, expected);
}

fn short(effect: &Effect) -> String {
    match effect {
        Effect::Work(Work::Apply { from, opens, content, to }) => format!(
            "{}{}:{}→{}",
            if *opens { "begin " } else { "" },
            from.offset,
            match content {
                Content::Batch(batch) => batch.changes.len().to_string(),
                Content::Spooled(number) => format!("spool {number}"),
            },
            to.offset
        ),
        Effect::Work(Work::Define { from, .. }) => format!("define {}", from.offset),
        Effect::Work(Work::Commit) => "commit".into(),
        Effect::Prepare(batch) => format!("prepare {}", batch.changes.len()),
        Effect::Applied(e) => format!("applied {}", e.at.offset),
        Effect::Spool(number, changes) => format!("keep {} in {number}", changes.len()),
        Effect::Forget(number) => format!("forget {number}"),
    }
}

#[test]
fn what_gathers_meanwhile_goes_together() {
    check(
        vec![
            part(vec![row(1)], end(10)),
            part(vec![row(2)], end(20)),
            part(vec![row(3)], end(30)),
            part(vec![], end(40)),
            Event::Done,
            Event::Done,
            Event::Done,
            Event::Done,
        ],
        &["begin 0:1→10", "commit", "applied 10", "begin 10:2→40", "commit", "applied 40"],
    );
}

#[test]
fn a_definition_goes_alone() {
    check(
        vec![
            part(vec![row(1)], end(10)),
            part(vec![row(2)], end(20)),
            part(vec![ddl(3), row(4)], end(30)),
            part(vec![row(5)], end(40)),
            Event::Done,
            Event::Done,
            Event::Done,
            Event::Done,
            Event::Done,
            Event::Done,
            Event::Done,
        ],
        &[
            "begin 0:1→10",
            "commit",
            "applied 10",
            "begin 10:1→20",
            "commit",
            "applied 20",
            "define 20",
            "20:1→30",
            "commit",
            "applied 30",
            "begin 30:1→40",
        ],
    );
}

#[test]
fn a_full_batch_is_prepared_ahead_and_then_is_the_next() {
    let mut events = vec![part(vec![row(1)], end(10))];
    events.extend((2..6).map(|n| part(vec![large(n)], end(n * 10))));
    events.extend([Event::Done, Event::Done, Event::Done, Event::Done]);
    check(
        events,
        &[
            "begin 0:1→10",
            "prepare 2",
            "commit",
            "applied 10",
            "begin 10:2→30",
            "commit",
            "applied 30",
            "begin 30:2→50",
        ],
    );
}

#[test]
fn a_transaction_in_parts_is_begun_when_its_end_has_come() {
    check(
        vec![part(vec![row(1)], None), part(vec![row(2)], end(20)), Event::Done, Event::Done],
        &["begin 0:2→20", "commit", "applied 20"],
    );
    let lost = vec![part(vec![row(1)], None), part(vec![row(2)], None), Event::Abandoned];
    let next = [part(vec![row(3)], end(30))];
    check(lost.into_iter().chain(next).collect(), &["begin 0:1→30"]);
}

#[test]
fn a_large_transaction_waits_on_disk_for_its_end() {
    check(
        vec![
            part(vec![large(1)], None),
            part(vec![large(2)], None),
            part(vec![large(3)], None),
            part(vec![row(4)], end(20)),
            part(vec![row(5)], end(30)),
            Event::Done,
            Event::Done,
        ],
        &[
            "keep 2 in 1",
            "keep 2 in 1",
            "begin 0:spool 1→20",
            "commit",
            "forget 1",
            "applied 20",
            "begin 20:1→30",
        ],
    );
    let lost = vec![part(vec![large(1)], None), part(vec![large(2)], None), Event::Abandoned];
    check(lost, &["keep 2 in 1", "forget 1"]);
}

#[test]
fn a_large_transaction_behind_a_definition_too() {
    check(
        vec![
            part(vec![ddl(1), large(2)], None),
            part(vec![large(3)], None),
            part(vec![], end(20)),
            Event::Done,
            Event::Done,
            Event::Done,
        ],
        &["keep 2 in 1", "define 0", "0:spool 1→20", "commit", "forget 1", "applied 20"],
    );
}

#[test]
fn with_much_waiting_nothing_more_is_read() {
    let (mut checkpoint, mut effects) = (Checkpoint::new(at(0)), Vec::new());
    let mut n = 0;
    while checkpoint.wants_more() {
        n += 1;
        checkpoint.step(part(vec![large(n)], end(n * 10)), &mut effects).unwrap();
        assert!(n < 100);
    }
    while !checkpoint.wants_more() {
        checkpoint.step(Event::Done, &mut effects).unwrap();
    }
}

#[test]
fn a_stream_that_goes_back_is_refused() {
    let (mut checkpoint, mut effects) = (Checkpoint::new(at(10)), Vec::new());
    assert!(checkpoint.step(part(vec![row(1)], end(10)), &mut effects).is_err());
    assert!(checkpoint.step(Event::Abandoned, &mut effects).is_err());
    assert!(checkpoint.step(part(vec![row(1), ddl(2)], end(20)), &mut effects).is_err());
    assert!(checkpoint.step(Event::Done, &mut effects).is_err());
    assert!(effects.is_empty());
}

/// A database that does what it is told, and can be cut off at any moment.
#[derive(Default)]
struct Database {
    slot: At,
    applied: Vec<u64>,
    /// Rows and the slot of the open transaction.
    open: Option<(Vec<u64>, At)>,
    /// The definition behind the slot has run.
    defined: bool,
}

impl Database {
    fn work(&mut self, work: &Work, spool: &HashMap<u64, Vec<Change>>) {
        let number = |c: &Change| match c {
            Change::Savepoint(n) => n.trim().parse::<u64>().unwrap(),
            Change::Statement(_) | Change::Rows { .. } => panic!("not a row"),
        };
        match work {
            Work::Apply { from, opens, content, to } => {
                assert_eq!(*from, self.slot, "the compare of compare-and-set");
                assert_eq!(*opens, self.open.is_none());
                let slot = self.slot;
                let open = self.open.get_or_insert_with(|| (Vec::new(), slot));
                let changes = match content {
                    Content::Batch(batch) => &batch.changes,
                    Content::Spooled(number) => &spool[number],
                };
                open.0.extend(changes.iter().map(number));
                open.1 = *to;
            }
            Work::Define { from, statement } => {
                assert_eq!(*from, self.slot);
                assert!(self.open.is_none(), "a definition commits what is open");
                if !std::mem::replace(&mut self.defined, true) {
                    self.applied.push(String::from_utf8_lossy(&statement.sql).parse().unwrap());
                }
                self.open = Some((Vec::new(), self.slot));
            }
            Work::Commit => {
                let (rows, slot) = self.open.take().expect("something is open");
                assert!(slot > self.slot, "a commit moves the slot");
                self.applied.extend(rows);
                (self.slot, self.defined) = (slot, false);
            }
        }
    }
}

/// A stream of transactions of all kinds, with the number of each row in order.
fn stream(random: &mut StdRng) -> (Vec<Event>, Vec<u64>) {
    let (mut events, mut rows, mut offset) = (Vec::new(), Vec::new(), 0);
    let mut next = || {
        let n = u64::try_from(rows.len()).unwrap();
        rows.push(n);
        n
    };
    for _ in 0..random.random_range(1..30) {
        offset += 10;
        match random.random_range(0..24) {
            0..4 => events.push(part(vec![], end(offset))),
            4..8 => events.push(part(vec![ddl(next())], end(offset))),
            8..12 => events.push(part(vec![ddl(next()), row(next())], end(offset))),
            12..16 => {
                events.push(part(vec![row(next())], None));
                events.push(part(vec![row(next())], None));
                events.push(part(vec![], end(offset)));
            }
            16..19 => {
                events.push(part(vec![row(9_999)], None));
                events.push(Event::Abandoned);
            }
            19 => {
                events.push(part(vec![large(9_999)], None));
                events.push(part(vec![large(9_999)], None));
                events.push(Event::Abandoned);
            }
            20 => {
                events.push(part(vec![ddl(next()), large(next())], None));
                events.push(part(vec![large(next())], None));
                events.push(part(vec![row(next())], end(offset)));
            }
            21 => {
                events.push(part(vec![large(next())], None));
                events.push(part(vec![large(next()), row(next())], None));
                events.push(part(vec![], end(offset)));
            }
            22 => events.push(part(vec![large(next())], end(offset))),
            _ => events.push(part(vec![row(next()), row(next())], end(offset))),
        }
    }
    (events, rows)
}

/// Runs the stream from the database's slot, cut off after `steps` steps; true if it came to its end.
fn run(events: &[Event], database: &mut Database, random: &mut StdRng, mut steps: u32) -> bool {
    database.open = None;
    let behind = |e: &Event| matches!(e, Event::Part(Part { end: Some(e), .. }) if e.at <= database.slot);
    let first = events.iter().rposition(behind).map_or(0, |i| i + 1);
    let mut arriving = events[first..].iter();
    let (mut checkpoint, mut effects) = (Checkpoint::new(database.slot), Vec::new());
    let mut outstanding: VecDeque<Work> = VecDeque::new();
    let (mut spool, mut prepared) = (HashMap::<u64, Vec<Change>>::new(), None);
    loop {
        if steps == 0 {
            return false;
        }
        steps -= 1;
        let arrives = outstanding.is_empty() || random.random_bool(0.5);
        let event = match (arrives.then(|| arriving.next()).flatten(), outstanding.pop_front()) {
            (Some(event), work) => {
                outstanding.extend(work);
                event.clone()
            }
            (None, Some(work)) => {
                database.work(&work, &spool);
                if steps == 0 {
                    return false; // it took effect, and nobody heard of it
                }
                Event::Done
            }
            (None, None) if arriving.len() == 0 => {
                assert!(spool.is_empty(), "all that was kept is forgotten");
                return true;
            }
            (None, None) => continue,
        };
        checkpoint.step(event, &mut effects).unwrap();
        for effect in effects.drain(..) {
            match effect {
                Effect::Work(work) => {
                    if let Work::Apply { content: Content::Batch(batch), .. } = &work
                        && let Some(announced) = prepared.take()
                    {
                        assert!(Arc::ptr_eq(batch, &announced), "what was announced comes next");
                    }
                    assert!(prepared.is_none() || matches!(work, Work::Commit));
                    outstanding.push_back(work);
                }
                Effect::Prepare(batch) => assert!(prepared.replace(batch).is_none()),
                Effect::Applied(end) => assert!(end.at <= database.slot, "told before it was durable"),
                Effect::Spool(number, changes) => spool.entry(number).or_default().extend(changes),
                Effect::Forget(number) => assert!(spool.remove(&number).is_some()),
            }
        }
        assert!(outstanding.len() <= 1, "one piece of work at a time");
    }
}

#[test]
fn whatever_is_interrupted_everything_is_applied_exactly_once_and_in_order() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let (events, rows) = stream(&mut random);
        let mut database = Database::default();
        for _ in 0..5 {
            let steps = random.random_range(1..60);
            run(&events, &mut database, &mut random, steps);
        }
        assert!(run(&events, &mut database, &mut random, u32::MAX), "seed {seed}");
        assert_eq!(database.applied, rows, "seed {seed}");
    }
}
