use std::fs;

use model::{Epoch, Mode, Site};

use super::*;

/// A folder of its own, removed with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let name = format!("ghostlight-register-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn file(&self) -> PathBuf {
        self.0.join("register.json")
    }
    fn copy(&self) -> PathBuf {
        self.0.join("register.copy.json")
    }
    fn open(&self) -> Result<RegisterFile, RegisterError> {
        RegisterFile::open(&self.file(), first(), Duration::ZERO)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn first() -> Record {
    Record::first(Site::new("nhn"), 0)
}

/// The record of `version`; it differs from every other version's.
fn record(version: u64) -> Record {
    Record { version, mode: Mode::Sync, why: format!("change {version}"), ..first() }
}

fn to(record: &Record) -> CasRequest {
    CasRequest { expected_version: record.version - 1, record: record.clone() }
}

/// A folder that went through versions 1..=`last`, with what stood in the two files at every version.
async fn history(last: u64) -> (Folder, Vec<(Vec<u8>, Vec<u8>)>) {
    let folder = Folder::new();
    let register = folder.open().unwrap();
    let mut stood = vec![(vec![], vec![])];
    for version in 1..=last {
        if version > 1 {
            register.cas(to(&record(version))).await.unwrap();
        }
        stood.push((fs::read(folder.file()).unwrap(), fs::read(folder.copy()).unwrap()));
    }
    (folder, stood)
}

#[tokio::test]
async fn a_change_survives_a_restart_and_a_repetition_is_swapped_again() {
    let folder = Folder::new();
    {
        let register = folder.open().unwrap();
        assert_eq!(register.read().await.unwrap(), first());
        assert_eq!(register.cas(to(&record(2))).await.unwrap(), CasReply::Swapped(record(2)));
        assert_eq!(register.cas(to(&record(2))).await.unwrap(), CasReply::Swapped(record(2)));
    }
    let register = folder.open().unwrap();
    assert_eq!(register.read().await.unwrap(), record(2));
    assert_eq!(register.cas(to(&record(2))).await.unwrap(), CasReply::Swapped(record(2)));
}

#[tokio::test]
async fn of_two_racers_one_wins_and_the_other_is_told_the_winners_record() {
    let folder = Folder::new();
    let register = folder.open().unwrap();
    let rivals: Vec<Record> = (0..8).map(|n| Record { why: format!("rival {n}"), ..record(2) }).collect();
    let replies = futures_join(rivals.iter().map(|rival| register.cas(to(rival)))).await;
    let winners: Vec<_> = replies.iter().filter(|r| matches!(r, CasReply::Swapped(_))).collect();
    assert_eq!(winners.len(), 1);
    let standing = register.read().await.unwrap();
    for reply in replies {
        let (CasReply::Swapped(told) | CasReply::Stale(told)) = reply;
        assert_eq!(told, standing);
    }
}

/// Runs them at the same time; every one must succeed.
async fn futures_join<T: Send + 'static>(
    all: impl Iterator<Item = impl Future<Output = Result<T, RegisterError>>>,
) -> Vec<T> {
    let mut pending: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        pending.retain_mut(|f| match f.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => {
                done.push(value.unwrap());
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn requests_that_make_no_sense_are_the_callers_fault() {
    let folder = Folder::new();
    let register = folder.open().unwrap();
    let jump = CasRequest { expected_version: 1, record: record(3) };
    let e = register.cas(jump).await.unwrap_err();
    assert!(matches!(&e, RegisterError::Refused(_)) && !e.is_worth_retrying(), "{e}");
    let back = Record { epoch: Epoch(0), ..record(2) };
    assert!(matches!(register.cas(to(&back)).await, Err(RegisterError::Refused(_))));
    let last = CasRequest { expected_version: u64::MAX, record: record(0) };
    assert!(matches!(register.cas(last).await, Err(RegisterError::Refused(_))));
    assert_eq!(register.read().await.unwrap(), first());
}

/// Every point at which the write of version 3 over version 2 can be interrupted. Version 2 was acknowledged, so
/// it, or the newer 3, must come back; never an error, never version 1.
#[tokio::test]
async fn an_interruption_at_any_point_loses_nothing_acknowledged() {
    let (folder, stood) = history(3).await;
    let (old, new) = (&stood[2].0, &stood[3].0);
    // What stands in the two files and in the two unfinished neighbours (`.new`), and what must come back.
    type Point<'a> = (&'a [u8], &'a [u8], &'a [u8], &'a [u8], u64);
    let mut points: Vec<Point<'_>> = Vec::new();
    for written in (0..new.len()).step_by(23).chain([new.len()]) {
        points.push((old, old, &[], &new[..written], 2)); // the copy's neighbour, cut anywhere
        points.push((old, new, &new[..written], &[], 3)); // then the file's
    }
    points.push((old, new, &[], &[], 3)); // between the two
    points.push((new, new, &[], &[], 3)); // done, not yet told
    for (file, copy, file_new, copy_new, expected) in points {
        fs::write(folder.file(), file).unwrap();
        fs::write(folder.copy(), copy).unwrap();
        fs::write(folder.0.join("register.json.new"), file_new).unwrap();
        fs::write(folder.0.join("register.copy.json.new"), copy_new).unwrap();
        let register = folder.open().unwrap();
        assert_eq!(register.read().await.unwrap(), record(expected));
        drop(register);
        let healed = folder.open().unwrap();
        assert_eq!(healed.read().await.unwrap(), record(expected));
        assert_eq!(fs::read(folder.file()).unwrap(), fs::read(folder.copy()).unwrap());
    }
}

/// A disk that garbles (cuts, flips, loses) any one of the two files takes nothing away.
#[tokio::test]
async fn one_garbled_file_is_mended_from_the_other() {
    let (folder, stood) = history(3).await;
    let whole = &stood[3].0;
    let mut flipped = whole.clone();
    let digit = flipped.windows(11).position(|w| w == b"\"version\": ").unwrap() + 11;
    flipped[digit] = b'9';
    for (ruined, sound) in [(folder.file(), folder.copy()), (folder.copy(), folder.file())] {
        for content in [&whole[..whole.len() / 2], &[][..], &flipped[..], b"\0\0\0\0"] {
            fs::write(&sound, whole).unwrap();
            fs::write(&ruined, content).unwrap();
            assert_eq!(folder.open().unwrap().read().await.unwrap(), record(3));
            assert_eq!(fs::read(&ruined).unwrap(), *whole, "mended");
        }
        fs::remove_file(&ruined).unwrap();
        assert_eq!(folder.open().unwrap().read().await.unwrap(), record(3));
    }
}

#[tokio::test]
async fn what_no_interruption_explains_is_refused_with_what_to_do() {
    let (folder, stood) = history(4).await;
    let (v1, v2, v4) = (&stood[1].0[..], &stood[2].0[..], &stood[4].0[..]);
    let cases = [
        ("both garbled", &v4[..9], &v4[..9]),
        ("one garbled, one empty", &[][..], &v4[..20]),
        ("two versions apart", v2, v4),
        ("the file ahead of its copy", v2, v1),
    ];
    for (name, file, copy) in cases {
        fs::write(folder.file(), file).unwrap();
        fs::write(folder.copy(), copy).unwrap();
        let e = folder.open().unwrap_err();
        assert!(matches!(&e, RegisterError::Unusable { .. }) && !e.is_worth_retrying(), "{name}: {e}");
        let words = e.to_string();
        assert!(words.contains("register.json") && words.contains("stop all controllers"), "{name}: {e}");
        assert_eq!(fs::read(folder.file()).unwrap(), file, "{name}: nothing was touched");
    }
}

#[test]
fn a_second_process_is_refused_by_the_first_ones_name() {
    let folder = Folder::new();
    let first = folder.open().unwrap();
    let words = folder.open().unwrap_err().to_string();
    assert!(words.contains(&format!("process {}", std::process::id())), "{words}");
    drop(first);
    folder.open().unwrap();
}

#[tokio::test]
async fn a_disk_that_refuses_takes_nothing_back() {
    let folder = Folder::new();
    let register = folder.open().unwrap();
    register.cas(to(&record(2))).await.unwrap();
    // A folder in the neighbour's place: the write fails before anything is renamed.
    fs::create_dir(folder.0.join("register.json.new")).unwrap();
    let e = register.cas(to(&record(3))).await.unwrap_err();
    assert!(matches!(&e, RegisterError::Storage { .. }) && e.is_worth_retrying(), "{e}");
    assert_eq!(register.read().await.unwrap(), record(2), "what failed is not told");
    fs::remove_dir(folder.0.join("register.json.new")).unwrap();
    let other = Record { why: "another change".into(), ..record(3) };
    assert_eq!(register.cas(to(&other)).await.unwrap(), CasReply::Swapped(other.clone()));
    drop(register);
    assert_eq!(folder.open().unwrap().read().await.unwrap(), other);
}

// === The lease, by a clock of our own ===

fn ask(leases: &mut Leases, now_ms: u64, holder: &str, ttl_ms: u64) -> (bool, String, u64) {
    let reply = leases.ask(now_ms, LeaseRequest { holder: holder.into(), ttl_ms });
    (reply.granted, reply.lease.holder, reply.lease.remaining_ms)
}

#[test]
fn the_lease_is_one_holders_until_it_ends_or_is_given_up() {
    let mut leases = Leases::new(0, Duration::ZERO);
    assert_eq!(ask(&mut leases, 10, "aws", 0), (false, String::new(), 0), "looking takes nothing");
    assert_eq!(ask(&mut leases, 10, "aws", 1500), (true, "aws".into(), 1500));
    assert_eq!(ask(&mut leases, 500, "witness", 1500), (false, "aws".into(), 1010));
    assert_eq!(ask(&mut leases, 1000, "aws", 1500), (true, "aws".into(), 1500), "renewed");
    assert_eq!(ask(&mut leases, 2499, "witness", 1500), (false, "aws".into(), 1));
    assert_eq!(ask(&mut leases, 2500, "witness", 1500), (true, "witness".into(), 1500), "ended");
    assert_eq!(ask(&mut leases, 2600, "aws", 0), (false, "witness".into(), 1400), "not aws's to give up");
    assert_eq!(ask(&mut leases, 2600, "witness", 0), (false, String::new(), 0), "given up");
    assert_eq!(ask(&mut leases, 2600, "aws", 1500), (true, "aws".into(), 1500));
}

#[test]
fn after_a_restart_nobody_leads_until_an_older_lease_has_surely_ended() {
    let mut leases = Leases::new(1000, Duration::from_millis(1500));
    assert_eq!(ask(&mut leases, 2499, "aws", 1500), (false, String::new(), 0));
    assert_eq!(ask(&mut leases, 2500, "aws", 1500), (true, "aws".into(), 1500));
}

#[tokio::test]
async fn orders_survive_a_restart_and_leave_the_record_alone() {
    let folder = Folder::new();
    let observe = Orders { version: 1, observe: true, ..Orders::default() };
    {
        let register = folder.open().unwrap();
        assert_eq!(register.orders().await.unwrap(), Orders::default());
        let request = OrdersRequest { expected_version: 0, orders: observe.clone() };
        assert_eq!(register.set_orders(request.clone()).await.unwrap(), OrdersReply::Set(observe.clone()));
        assert_eq!(register.set_orders(request).await.unwrap(), OrdersReply::Set(observe.clone()));
        let late = OrdersRequest { expected_version: 0, orders: Orders { version: 1, ..Orders::default() } };
        assert_eq!(register.set_orders(late).await.unwrap(), OrdersReply::Stale(observe.clone()));
    }
    let register = folder.open().unwrap();
    assert_eq!(register.orders().await.unwrap(), observe);
    assert_eq!(register.read().await.unwrap(), first());
}

#[tokio::test]
async fn orders_that_cannot_be_read_stop_everything_until_they_are_given_anew() {
    let folder = Folder::new();
    let file = folder.file().with_extension("orders.json");
    {
        let register = folder.open().unwrap();
        let orders = Orders { version: 1, observe: true, ..Orders::default() };
        register.set_orders(OrdersRequest { expected_version: 0, orders }).await.unwrap();
    }
    let garbled = fs::read_to_string(&file).unwrap().replace("true", "false");
    fs::write(&file, garbled).unwrap();
    let register = folder.open().unwrap();
    let orders = register.orders().await.unwrap();
    assert!(orders.stopped.as_ref().is_some_and(|halt| halt.why.contains("cannot be read")), "{orders:?}");
    assert_eq!(register.read().await.unwrap(), first(), "the record itself is whole");
    let lifted = Orders { version: orders.version + 1, ..Orders::default() };
    let request = OrdersRequest { expected_version: orders.version, orders: lifted.clone() };
    register.set_orders(request).await.unwrap();
    drop(register);
    assert_eq!(folder.open().unwrap().orders().await.unwrap(), lifted);
}
