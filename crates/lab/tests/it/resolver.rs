//! The stub resolver against the real name server.

use std::{net::IpAddr, sync::Arc};

use lab::resolver::{LookupError, Resolver};
use tokio::{net::UdpSocket, time::Instant};

use crate::names::{NAME, Names};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn an_answer_is_kept_for_its_ttl_and_then_asked_for_again() {
    let names = Names::start(1, &[("nhn", &["127.10.0.1"]), ("aws", &["127.20.0.1"])]).await;
    let resolver = Resolver::new(names.address);
    let (first, until) = resolver.lookup_until(NAME).await.unwrap();
    assert_eq!(first, ip("127.10.0.1"));
    names.steer("aws");
    while Instant::now() < until {
        let (again, same) = resolver.lookup_until(NAME).await.unwrap();
        // The TTL may end between the loop's look at the clock and the resolver's.
        assert!(again == first && same == until || Instant::now() >= until);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await; // to poll without spinning
    }
    assert_eq!(resolver.lookup(NAME).await, Ok(ip("127.20.0.1")));
}

#[tokio::test]
async fn a_cache_found_at_its_end_follows_at_once() {
    let names = Names::start(3_600, &[("nhn", &["127.10.0.1"]), ("aws", &["127.20.0.1"])]).await;
    let resolver = Resolver::aged(names.address, 1_000);
    assert_eq!(resolver.lookup(NAME).await, Ok(ip("127.10.0.1")));
    names.steer("aws");
    assert_eq!(resolver.lookup(NAME).await, Ok(ip("127.20.0.1")));
    names.steer("nhn");
    assert_eq!(resolver.lookup(NAME).await, Ok(ip("127.20.0.1")), "the second answer is fresh: an hour");
}

#[tokio::test]
async fn an_answer_that_was_cut_off_is_fetched_by_tcp() {
    let many: Vec<String> = (1..=60).map(|i| format!("127.10.9.{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let names = Names::start(5, &[("nhn", &many)]).await;
    assert_eq!(Resolver::new(names.address).lookup(NAME).await, Ok(ip("127.10.9.1")));
}

#[tokio::test]
async fn a_site_with_ipv6_alone_is_found() {
    let names = Names::start(5, &[("nhn", &["::1"])]).await;
    assert_eq!(Resolver::new(names.address).lookup(NAME).await, Ok(ip("::1")));
}

#[tokio::test]
async fn a_denial_a_refusal_and_silence_are_told_apart() {
    let names = Names::start(5, &[("nhn", &["127.10.0.1"])]).await;
    let resolver = Resolver::new(names.address);
    let error = resolver.lookup(&format!("www.{NAME}")).await.unwrap_err();
    assert!(matches!(error, LookupError::NoAddress { .. }), "{error}");
    let error = resolver.lookup("example.com").await.unwrap_err();
    assert!(matches!(error, LookupError::Refused { .. }), "{error}");
    let error = resolver.lookup(&"x".repeat(64)).await.unwrap_err();
    assert!(matches!(error, LookupError::BadName { .. }), "{error}");
    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let error = Resolver::new(mute.local_addr().unwrap()).lookup(NAME).await.unwrap_err();
    assert!(matches!(error, LookupError::Silent { .. }), "{error}");
}

#[tokio::test]
async fn many_who_miss_at_once_cause_one_query() {
    // A server that counts, and answers only after everybody has had time to ask.
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = Arc::new(Resolver::new(server.local_addr().unwrap()));
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move { resolver.lookup(NAME).await })
        })
        .collect();
    let mut query = [0; 512];
    let (length, asker) = server.recv_from(&mut query).await.unwrap();
    tokio::task::yield_now().await;
    let zone = nameserver::zone::Zone::new(NAME, vec![ip("127.10.0.1")], ip("127.30.0.53"), 60, 0).unwrap();
    let reply =
        nameserver::answer::answer(&zone, &query[..length], nameserver::answer::Transport::Udp).unwrap();
    server.send_to(&reply, asker).await.unwrap();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Ok(ip("127.10.0.1")));
    }
    let mut more = 0;
    while server.try_recv_from(&mut query).is_ok() {
        more += 1; // at most the one caller's own repetitions, on a machine that stood still
    }
    assert!(more < 4, "{more} more queries came");
}
