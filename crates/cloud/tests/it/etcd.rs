//! The register in real clusters of etcd whose members are killed, stopped and spoilt. What every driver promises is
//! tested in `controller/tests/it/register.rs`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cloud::{
    local::{lab_number, scratch_etcd::ScratchEtcd},
    register::{AnyRegister, EtcdConfig, Found, Register as _, RegisterError},
};
use etcd_client::{Client, Permission, PutOptions};
use model::{
    Mode, Register as Record, Site,
    register::{CasReply, CasRequest, LeaseRequest, Orders, OrdersReply, OrdersRequest},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use runtime::{clock::Boot, secret::Secret};
use tokio::{task::JoinSet, time::sleep};

const KEY: &str = "/ghostlight/register";
const LEADER: &str = "/ghostlight/leader";
/// Longer than any election on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);

fn first() -> Record {
    Record::first(Site::new("nhn"), 0)
}

fn record(version: u64, why: &str) -> Record {
    Record { version, mode: Mode::Sync, why: why.into(), ..first() }
}

fn to(record: &Record) -> CasRequest {
    CasRequest { expected_version: record.version - 1, record: record.clone() }
}

fn config(cluster: &ScratchEtcd, limit: Duration) -> EtcdConfig {
    EtcdConfig {
        endpoints: cluster.urls(),
        prefix: "/ghostlight".into(),
        user: None,
        tls: None,
        limit,
        first: Some(first()),
    }
}

fn register(cluster: &ScratchEtcd, limit: Duration) -> AnyRegister {
    AnyRegister::etcd(config(cluster, limit)).unwrap()
}

/// Who goes on changing the record until told to stop, and counts what it won. Every error is a failure.
async fn change(register: AnyRegister, n: usize, stop: Arc<AtomicBool>) -> Vec<u64> {
    let (mut won, mut known) = (Vec::new(), register.read().await.unwrap().version);
    while !stop.load(Ordering::Relaxed) {
        let wanted = record(known + 1, &format!("task {n}"));
        known = match register.cas(to(&wanted)).await.unwrap() {
            CasReply::Swapped(told) => {
                won.push(told.version);
                told.version
            }
            CasReply::Stale(told) => told.version,
        };
    }
    won
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_one_member_nobody_notices() {
    let lab = lab_number::claim().unwrap();
    let mut cluster = ScratchEtcd::start(&lab).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for n in 0..3 {
        tasks.spawn(change(register(&cluster, PATIENT), n, stop.clone()));
    }
    let watcher = register(&cluster, PATIENT);
    // Each in turn, so the leader is among them, whoever that is: killed, then stopped in the middle of everything.
    for member in 0..3 {
        let before = watcher.read().await.unwrap().version;
        cluster.kill(member).await.unwrap();
        while watcher.read().await.unwrap().version < before + 10 {}
        cluster.run(member).await.unwrap();
        cluster.ready(member).await.unwrap();

        let before = watcher.read().await.unwrap().version;
        cluster.pause(member);
        while watcher.read().await.unwrap().version < before + 10 {}
        cluster.go_on(member);
        cluster.ready(member).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut won: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    won.sort_unstable();
    let last = watcher.read().await.unwrap().version;
    assert!(won.windows(2).all(|w| w[0] < w[1]), "a version was won twice: {won:?}");
    assert!(won.iter().all(|version| (2..=last).contains(version)), "{won:?} of {last}");
    // A change that took effect, whose answer died with the member, and that somebody has overtaken before it was asked
    // again, is told as stale: at most one a task in each of the six faults.
    let missing = usize::try_from(last).unwrap() - 1 - won.len();
    assert!(missing <= 3 * 6, "{missing} of {last} were won by nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_torn_off_is_had_by_asking_again() {
    let lab = lab_number::claim().unwrap();
    let cluster = ScratchEtcd::start(&lab).await.unwrap();
    let register = register(&cluster, PATIENT);
    let mut moments = SmallRng::seed_from_u64(7);
    let (mut had_taken_effect, mut had_not) = (0, 0);
    for version in 2..122 {
        let wanted = record(version, "torn");
        let asked = tokio::spawn({
            let (register, wanted) = (register.clone(), wanted.clone());
            async move { register.cas(to(&wanted)).await }
        });
        sleep(Duration::from_micros(moments.random_range(0..12_000))).await;
        asked.abort();
        let finished = asked.await.is_ok();
        let stands = register.read().await.unwrap() == wanted;
        assert!(stands || !finished, "told as swapped, and not there");
        if stands {
            had_taken_effect += 1
        } else {
            had_not += 1
        }
        assert_eq!(register.cas(to(&wanted)).await.unwrap(), CasReply::Swapped(wanted.clone()));
        assert_eq!(register.read().await.unwrap(), wanted);
    }
    eprintln!("of 120 that were torn off {had_taken_effect} had taken effect, {had_not} had not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_it_says_so_in_time_and_comes_back_with_what_it_had() {
    const LIMIT: Duration = Duration::from_millis(700);
    let lab = lab_number::claim().unwrap();
    let mut cluster = ScratchEtcd::start(&lab).await.unwrap();
    let patient = register(&cluster, PATIENT);
    let hasty = register(&cluster, LIMIT);
    let second = record(2, "before");
    assert_eq!(patient.cas(to(&second)).await.unwrap(), CasReply::Swapped(second.clone()));
    let findings = patient.examine().await;
    assert!(findings.iter().all(|f| matches!(f.finding, Found::Ok(_))), "{findings:?}");

    cluster.kill(0).await.unwrap();
    let findings = patient.examine().await;
    let silent: Vec<_> = findings.iter().filter(|f| matches!(f.finding, Found::Silent(_))).collect();
    assert_eq!(silent.len(), 1, "{findings:?}");
    assert!(format!("{silent:?}").contains(&cluster.urls()[0]), "{silent:?}");
    assert!(format!("{findings:?}").contains("2 of 3 members answer; 0 more may be lost"), "{findings:?}");

    // One is dead, one stands still with all its connections open: the third is alone.
    cluster.pause(1);
    for _ in 0..3 {
        let third = record(3, "in between");
        let started = Boot::now();
        let read = hasty.read().await.unwrap_err();
        let changed = hasty.cas(to(&third)).await.unwrap_err();
        let leased = hasty.lease(LeaseRequest { holder: "aws".into(), ttl_ms: 1_500 }).await.unwrap_err();
        assert!(started.elapsed() < 3 * LIMIT + Duration::from_secs(1), "{:?}", started.elapsed());
        for e in [read, changed, leased] {
            assert!(matches!(e, RegisterError::Unreachable(_)) && e.is_worth_retrying(), "{e}");
            assert!(cluster.urls().iter().all(|url| e.to_string().contains(url)), "{e}");
        }
    }
    let findings = hasty.examine().await;
    assert!(format!("{findings:?}").contains("no quorum"), "{findings:?}");

    cluster.go_on(1);
    // What was asked for meanwhile may have taken effect: either is right, and asking again tells.
    let standing = patient.read().await.unwrap();
    assert!(standing == second || standing == record(3, "in between"), "{standing:?}");
    let third = record(3, "in between");
    assert_eq!(patient.cas(to(&third)).await.unwrap(), CasReply::Swapped(third.clone()));

    // The power fails everywhere.
    for member in 0..3 {
        cluster.kill(member).await.unwrap();
    }
    assert!(matches!(hasty.read().await, Err(RegisterError::Unreachable(_))));
    for member in 0..3 {
        cluster.run(member).await.unwrap();
    }
    assert_eq!(patient.read().await.unwrap(), third);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoilt_key_is_told_with_what_to_do_and_left_alone() {
    let lab = lab_number::claim().unwrap();
    let cluster = ScratchEtcd::start(&lab).await.unwrap();
    let register = register(&cluster, PATIENT);
    assert_eq!(register.read().await.unwrap(), first());
    let mut client = Client::connect(cluster.urls(), None).await.unwrap();
    let whole = client.get(KEY, None).await.unwrap().kvs()[0].value().to_vec();
    for garbage in [&b""[..], b"\0\xff\xfe", b"{}", &whole[..whole.len() / 2], b"[1,2]", b"{\"version\":-1}"]
    {
        client.put(KEY, garbage, None).await.unwrap();
        for e in [register.read().await.unwrap_err(), register.cas(to(&record(2, "x"))).await.unwrap_err()] {
            assert!(matches!(e, RegisterError::Unusable { .. }) && !e.is_worth_retrying(), "{e}");
            assert!(e.to_string().contains(KEY) && e.to_string().contains("etcdctl get --rev="), "{e}");
        }
        assert_eq!(client.get(KEY, None).await.unwrap().kvs()[0].value(), garbage, "nothing was touched");
    }
    let findings = format!("{:?}", register.examine().await);
    assert!(findings.contains("nothing that we wrote"), "{findings}");

    client.put(KEY, whole, None).await.unwrap();
    assert_eq!(register.read().await.unwrap(), first(), "put back by hand");

    // A record that was there is never begun anew by who has seen it.
    client.delete(KEY, None).await.unwrap();
    for e in [register.read().await.unwrap_err(), register.cas(to(&record(2, "x"))).await.unwrap_err()] {
        assert!(e.to_string().contains("was there and is gone"), "{e}");
    }
    assert!(client.get(KEY, None).await.unwrap().kvs().is_empty());
    let another = AnyRegister::etcd(EtcdConfig { first: None, ..config(&cluster, PATIENT) }).unwrap();
    let e = another.read().await.unwrap_err();
    assert!(e.to_string().contains("there is no record yet"), "{e}");

    // Orders that nobody can read stop everything until they are given anew.
    client.put("/ghostlight/orders", "{\"version\":", None).await.unwrap();
    let orders = register.orders().await.unwrap();
    assert!(orders.stopped.is_some_and(|halt| halt.why.contains("/ghostlight/orders")));
    let anew = Orders { version: orders.version + 1, observe: true, ..Orders::default() };
    let request = OrdersRequest { expected_version: orders.version, orders: anew.clone() };
    assert_eq!(register.set_orders(request).await.unwrap(), OrdersReply::Set(anew.clone()));
    assert_eq!(register.orders().await.unwrap(), anew);

    // A leader's key without a lease would never end.
    client.put(LEADER, "aws", None).await.unwrap();
    let ask = || LeaseRequest { holder: "witness".into(), ttl_ms: 1_500 };
    let e = register.lease(ask()).await.unwrap_err();
    assert!(e.to_string().contains(&format!("etcdctl del {LEADER}")), "{e}");
    let lease = client.lease_grant(2, None).await.unwrap().id();
    client.put(LEADER, b"\xff\xfe".to_vec(), Some(PutOptions::new().with_lease(lease))).await.unwrap();
    assert!(!register.lease(ask()).await.unwrap().granted, "held, by whatever name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_asks_who_we_are_is_told_and_told_again() {
    let lab = lab_number::claim().unwrap();
    let mut cluster = ScratchEtcd::start(&lab).await.unwrap();
    let mut client = Client::connect(cluster.urls(), None).await.unwrap();
    client.user_add("root", "of-all", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("ghostlight", "a-password", None).await.unwrap();
    client.role_add("ghostlight").await.unwrap();
    let ours = Permission::read_write("/ghostlight/").with_prefix();
    client.role_grant_permission("ghostlight", ours).await.unwrap();
    client.user_grant_role("ghostlight", "ghostlight").await.unwrap();
    client.auth_enable().await.unwrap();

    let of = |name: &str, password: &str, prefix: &str| {
        let user = Some((name.to_owned(), Secret::new(password)));
        AnyRegister::etcd(EtcdConfig { user, prefix: prefix.into(), ..config(&cluster, PATIENT) }).unwrap()
    };
    let register = of("ghostlight", "a-password", "/ghostlight");
    let second = record(2, "as ghostlight");
    assert_eq!(register.cas(to(&second)).await.unwrap(), CasReply::Swapped(second.clone()));
    assert!(register.lease(LeaseRequest { holder: "aws".into(), ttl_ms: 1_500 }).await.unwrap().granted);

    for (refused, words) in [
        (of("ghostlight", "another-password", "/ghostlight"), "register.password"),
        (of("ghostlight", "a-password", "/somebody-else"), "grant-permission"),
        (AnyRegister::etcd(config(&cluster, PATIENT)).unwrap(), "register.user"),
    ] {
        let e = refused.read().await.unwrap_err();
        assert!(matches!(e, RegisterError::Refused(_)) && !e.is_worth_retrying(), "{e}");
        assert!(e.to_string().contains(words), "{e}");
    }

    // A member that was restarted has forgotten who had logged in.
    for member in 0..3 {
        cluster.kill(member).await.unwrap();
    }
    for member in 0..3 {
        cluster.run(member).await.unwrap();
    }
    assert_eq!(register.read().await.unwrap(), second);
}
