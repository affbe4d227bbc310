//! What every driver of the register promises (`cloud::register`), held against each of them: the same suite over the
//! file, over the file behind the witness's API, and over a real cluster of etcd.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use cloud::{
    local::{
        lab_number, register_file::RegisterFile, register_remote::RemoteRegister, scratch_etcd::ScratchEtcd,
    },
    register::{AnyRegister, EtcdConfig, Register as _, RegisterError},
};
use controller::api::{orders_routes, register_routes};
use model::{
    Epoch, Mode, Register as Record, Site,
    register::{CasReply, CasRequest, LeaseRequest, Orders, OrdersReply, OrdersRequest, Window},
};
use runtime::{admin, clock::Boot, metrics::Metrics, process::Shutdown, secret::Secret};
use tokio::{net::TcpListener, task::JoinSet};

/// What is added to a lease that has ended before another may have it: etcd counts in whole seconds and looks twice a
/// second, on a loaded machine.
const LEASE_SLACK: Duration = Duration::from_secs(6);

fn first() -> Record {
    Record::first(Site::new("nhn"), 0)
}

/// The record of `version`; it differs from every other version's.
fn record(version: u64, why: &str) -> Record {
    Record { version, mode: Mode::Sync, why: format!("{why} {version}"), ..first() }
}

fn to(record: &Record) -> CasRequest {
    CasRequest { expected_version: record.version - 1, record: record.clone() }
}

/// The suite. `register` is new: it begins with [`first`].
async fn keeps_its_promises(register: AnyRegister) {
    a_change_is_read_and_its_repetition_is_swapped_again(&register).await;
    what_makes_no_sense_changes_nothing(&register).await;
    of_rivals_one_wins_and_all_are_told_the_winner(&register).await;
    each_version_is_won_once_and_no_change_is_lost(&register).await;
    the_orders_are_a_key_of_their_own(&register).await;
    the_lease_is_one_holders_until_it_is_given_up(&register).await;
    the_lease_ends_by_itself_and_not_too_soon(&register).await;
}

async fn a_change_is_read_and_its_repetition_is_swapped_again(register: &AnyRegister) {
    assert_eq!(register.read().await.unwrap(), first());
    let second = record(2, "change");
    for _ in 0..2 {
        assert_eq!(register.cas(to(&second)).await.unwrap(), CasReply::Swapped(second.clone()));
        assert_eq!(register.read().await.unwrap(), second);
    }
    let other = record(2, "another");
    assert_eq!(register.cas(to(&other)).await.unwrap(), CasReply::Stale(second.clone()));
    let third = record(3, "change");
    assert_eq!(register.cas(to(&third)).await.unwrap(), CasReply::Swapped(third.clone()));
    let late = register.cas(to(&second)).await.unwrap();
    assert_eq!(late, CasReply::Stale(third), "something newer came");
}

async fn what_makes_no_sense_changes_nothing(register: &AnyRegister) {
    let before = register.read().await.unwrap();
    let next = Record { version: before.version + 1, ..record(0, "nonsense") };
    let nonsense = [
        CasRequest {
            expected_version: before.version,
            record: Record { version: next.version + 1, ..next.clone() },
        },
        CasRequest { expected_version: before.version, record: Record { epoch: Epoch(0), ..next.clone() } },
        CasRequest { expected_version: u64::MAX, record: Record { version: 0, ..next } },
    ];
    for request in nonsense {
        let e = register.cas(request).await.unwrap_err();
        assert!(matches!(e, RegisterError::Refused(_)) && !e.is_worth_retrying(), "{e}");
    }
    assert_eq!(register.read().await.unwrap(), before);
}

async fn of_rivals_one_wins_and_all_are_told_the_winner(register: &AnyRegister) {
    let version = register.read().await.unwrap().version + 1;
    let mut rivals = JoinSet::new();
    for n in 0..8 {
        let (register, rival) = (register.clone(), record(version, &format!("rival {n} of")));
        rivals.spawn(async move { (rival.clone(), register.cas(to(&rival)).await.unwrap()) });
    }
    let replies = rivals.join_all().await;
    let standing = register.read().await.unwrap();
    let mut winners = 0;
    for (rival, reply) in replies {
        match reply {
            CasReply::Swapped(told) => {
                assert_eq!((&told, &rival), (&standing, &standing));
                winners += 1;
            }
            CasReply::Stale(told) => assert_eq!(told, standing),
        }
    }
    assert_eq!(winners, 1);
}

async fn each_version_is_won_once_and_no_change_is_lost(register: &AnyRegister) {
    const TASKS: usize = 6;
    const WINS: usize = 10;
    let begin = register.read().await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..TASKS {
        let register = register.clone();
        tasks.spawn(async move {
            // What it won, and what it had read before.
            let mut won: Vec<(Record, Record)> = Vec::new();
            let mut known = register.read().await.unwrap();
            while won.len() < WINS {
                let wanted = record(known.version + 1, &format!("task {n} after `{}`:", known.version));
                match register.cas(to(&wanted)).await.unwrap() {
                    CasReply::Swapped(told) => {
                        assert_eq!(told, wanted);
                        won.push((known, told.clone()));
                        known = told;
                    }
                    CasReply::Stale(told) => {
                        assert!(told.version > known.version, "stale, and nothing newer is told");
                        known = told;
                    }
                }
            }
            won
        });
    }
    let won: Vec<(Record, Record)> = tasks.join_all().await.into_iter().flatten().collect();
    let chain: BTreeMap<u64, (Record, Record)> =
        won.iter().map(|(before, after)| (after.version, (before.clone(), after.clone()))).collect();
    assert_eq!(chain.len(), TASKS * WINS, "a version was won twice");
    let versions: BTreeSet<u64> = (1..=(TASKS * WINS) as u64).map(|n| begin.version + n).collect();
    assert_eq!(chain.keys().copied().collect::<BTreeSet<_>>(), versions, "no version is missing");
    let mut last = begin;
    for (before, after) in chain.values() {
        assert_eq!(*before, last, "the winner had read what was there");
        last = after.clone();
    }
    assert_eq!(register.read().await.unwrap(), last);
}

async fn the_orders_are_a_key_of_their_own(register: &AnyRegister) {
    let record = register.read().await.unwrap();
    assert_eq!(register.orders().await.unwrap(), Orders::default());
    let order = |version: u64, observe| OrdersRequest {
        expected_version: version - 1,
        orders: Orders { version, observe, ..Orders::default() },
    };
    for _ in 0..2 {
        let reply = register.set_orders(order(1, true)).await.unwrap();
        assert_eq!(reply, OrdersReply::Set(order(1, true).orders), "and its repetition");
    }
    assert_eq!(register.orders().await.unwrap(), order(1, true).orders);
    let late = register.set_orders(order(1, false)).await.unwrap();
    assert_eq!(late, OrdersReply::Stale(order(1, true).orders));
    let skipped = OrdersRequest { expected_version: 1, orders: order(3, false).orders };
    let e = register.set_orders(skipped).await.unwrap_err();
    assert!(matches!(e, RegisterError::Refused(_)), "{e}");

    let mut rivals = JoinSet::new();
    for n in 0..6 {
        let register = register.clone();
        rivals.spawn(async move {
            let until_ms = 1_000 + n;
            let window = Window { from_ms: 0, until_ms, by: format!("rival {n}"), why: "a race".into() };
            let orders = Orders { version: 2, windows: vec![window], ..Orders::default() };
            register.set_orders(OrdersRequest { expected_version: 1, orders }).await.unwrap()
        });
    }
    let replies = rivals.join_all().await;
    let standing = register.orders().await.unwrap();
    let set = replies.iter().filter(|reply| matches!(reply, OrdersReply::Set(_))).count();
    assert_eq!(set, 1, "{replies:?}");
    for OrdersReply::Set(told) | OrdersReply::Stale(told) in replies {
        assert_eq!(told, standing);
    }
    assert_eq!(register.read().await.unwrap(), record, "the record is as it was");
}

async fn ask(register: &AnyRegister, holder: &str, ttl_ms: u64) -> (bool, String) {
    let reply = register.lease(LeaseRequest { holder: holder.into(), ttl_ms }).await.unwrap();
    assert_eq!(reply.granted, ttl_ms > 0 && reply.lease.holder == holder, "{reply:?}");
    assert_eq!(reply.lease.holder.is_empty(), reply.lease.remaining_ms == 0, "{reply:?}");
    if reply.granted {
        assert!(reply.lease.remaining_ms + 500 >= ttl_ms, "shorter than was asked for: {reply:?}");
    }
    (reply.granted, reply.lease.holder)
}

/// A register that has just begun grants no lease until an older one has surely ended.
async fn granted(register: &AnyRegister, holder: &str, ttl_ms: u64) -> Boot {
    let started = Boot::now();
    loop {
        let sent = Boot::now();
        if ask(register, holder, ttl_ms).await.0 {
            return sent;
        }
        assert!(
            started.elapsed() < Duration::from_millis(ttl_ms) + LEASE_SLACK,
            "{holder} never got the lease"
        );
        tokio::time::sleep(Duration::from_millis(20)).await; // it is asked for, not told
    }
}

async fn the_lease_is_one_holders_until_it_is_given_up(register: &AnyRegister) {
    const LONG_MS: u64 = 60_000;
    assert_eq!(ask(register, "aws", 0).await, (false, String::new()), "looking takes nothing");
    granted(register, "aws", LONG_MS).await;
    assert_eq!(ask(register, "aws", LONG_MS).await, (true, "aws".into()), "renewed");
    assert_eq!(ask(register, "witness", LONG_MS).await, (false, "aws".into()));
    assert_eq!(ask(register, "witness", 0).await, (false, "aws".into()), "not the witness's to give up");
    let reply = register.lease(LeaseRequest { holder: "aws".into(), ttl_ms: 0 }).await.unwrap();
    assert_eq!((reply.granted, reply.lease.remaining_ms), (false, 0), "given up");
    assert_eq!(ask(register, "witness", LONG_MS).await, (true, "witness".into()));
    let longer = ask(register, "witness", 2 * LONG_MS).await;
    assert_eq!(longer, (true, "witness".into()), "a longer one in its place");
    let reply = register.lease(LeaseRequest { holder: "witness".into(), ttl_ms: 0 }).await.unwrap();
    assert!(!reply.granted);

    let mut rivals = JoinSet::new();
    for n in 0..6 {
        let register = register.clone();
        rivals.spawn(async move { ask(&register, &format!("rival-{n}"), LONG_MS).await });
    }
    let replies = rivals.join_all().await;
    let winners: Vec<&(bool, String)> = replies.iter().filter(|(granted, _)| *granted).collect();
    assert_eq!(winners.len(), 1, "{replies:?}");
    assert!(replies.iter().all(|(_, holder)| *holder == winners[0].1), "{replies:?}");
    register.lease(LeaseRequest { holder: winners[0].1.clone(), ttl_ms: 0 }).await.unwrap();
}

async fn the_lease_ends_by_itself_and_not_too_soon(register: &AnyRegister) {
    const TTL_MS: u64 = 1_500;
    granted(register, "aws", TTL_MS).await;
    let renewed = granted(register, "aws", TTL_MS).await;
    let taken = granted(register, "witness", TTL_MS).await;
    let between = taken.since(renewed);
    assert!(between >= Duration::from_millis(TTL_MS - 50), "aws's lease lasted only {between:?}");
    eprintln!("a lease of {TTL_MS} ms was another's after {} ms", between.as_millis());
}

fn file() -> (AnyRegister, PathBuf) {
    let folder = std::env::temp_dir().join(format!("ghostlight-promises-{:016x}", rand::random::<u64>()));
    let file = RegisterFile::open(&folder.join("register.json"), first(), Duration::ZERO).unwrap();
    (AnyRegister::File(Arc::new(file)), folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_keeps_its_promises() {
    let (register, folder) = file();
    keeps_its_promises(register).await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_witness_keeps_its_promises_from_afar() {
    let (register, folder) = file();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, token) = (Shutdown::new(), Secret::new("promises"));
    let routes = register_routes(register.clone()).merge(orders_routes(register));
    let served =
        tokio::spawn(admin::serve(listener, token.clone(), Metrics::default(), routes, shutdown.clone()));
    let remote = RemoteRegister::new(address, token, Duration::from_secs(10));
    keeps_its_promises(AnyRegister::Remote(Box::new(remote))).await;
    shutdown.cancel();
    served.await.unwrap().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_keeps_its_promises() {
    let lab = lab_number::claim().unwrap();
    let cluster = ScratchEtcd::start(&lab).await.unwrap();
    let config = EtcdConfig {
        endpoints: cluster.urls(),
        prefix: "/ghostlight".into(),
        user: None,
        tls: None,
        limit: Duration::from_secs(10),
        first: Some(first()),
    };
    keeps_its_promises(AnyRegister::etcd(config).unwrap()).await;
}
