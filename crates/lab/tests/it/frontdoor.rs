//! The front door: a visitor on localhost follows the name.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use lab::{frontdoor, resolver::Resolver};
use runtime::process::Shutdown;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::names::{NAME, Names};

const PATIENCE: Duration = Duration::from_secs(20);

/// Two sites on one port of two loopback addresses, a name server with a TTL of one second, and the door.
struct Door {
    nhn: Option<TcpListener>,
    aws: Option<TcpListener>,
    names: Names,
    addresses: Vec<SocketAddr>,
    shutdown: Shutdown,
}

impl Door {
    async fn new() -> Door {
        // The same port on both addresses, as sites have it; another if the second address has it taken.
        let (nhn, aws) = loop {
            let nhn = TcpListener::bind("127.10.251.1:0").await.unwrap();
            let port = nhn.local_addr().unwrap().port();
            if let Ok(aws) = TcpListener::bind(("127.20.251.1", port)).await {
                break (nhn, aws);
            }
        };
        let port = nhn.local_addr().unwrap().port();
        let names = Names::start(1, &[("nhn", &["127.10.251.1"]), ("aws", &["127.20.251.1"])]).await;
        let listeners = frontdoor::listen(0).await.unwrap();
        let addresses = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        let shutdown = Shutdown::new();
        let resolver = Arc::new(Resolver::new(names.address));
        tokio::spawn(frontdoor::run(listeners, resolver, NAME.into(), port, shutdown.clone()));
        Door { nhn: Some(nhn), aws: Some(aws), names, addresses, shutdown }
    }

    async fn visitor(&self) -> TcpStream {
        TcpStream::connect(self.addresses[0]).await.unwrap()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn accept(site: Option<&TcpListener>) -> TcpStream {
    timeout(PATIENCE, site.unwrap().accept()).await.expect("a visitor in time").unwrap().0
}

async fn expect(stream: &mut TcpStream, text: &str) {
    let mut got = vec![0; text.len()];
    timeout(PATIENCE, stream.read_exact(&mut got)).await.expect("bytes in time").unwrap();
    assert_eq!(String::from_utf8_lossy(&got), text);
}

async fn expect_end(stream: &mut TcpStream) {
    let seen = timeout(PATIENCE, stream.read(&mut [0])).await.expect("an end in time");
    assert!(matches!(seen, Ok(0) | Err(_)), "{seen:?}");
}

#[tokio::test]
async fn bytes_go_both_ways_unchanged_and_either_side_may_finish_first() {
    let door = Door::new().await;
    for address in &door.addresses {
        let mut visitor = TcpStream::connect(address).await.unwrap();
        visitor.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        visitor.shutdown().await.unwrap();
        let mut site = accept(door.nhn.as_ref()).await;
        let mut request = String::new();
        site.read_to_string(&mut request).await.unwrap();
        assert_eq!(request, "GET / HTTP/1.1\r\n\r\n");
        site.write_all(b"answer").await.unwrap();
        drop(site);
        expect(&mut visitor, "answer").await;
        expect_end(&mut visitor).await;
    }
}

#[tokio::test]
async fn when_the_name_moves_old_connections_end_and_new_ones_arrive_at_the_other_site() {
    let door = Door::new().await;
    let mut visitor = door.visitor().await;
    let mut old = accept(door.nhn.as_ref()).await;
    old.write_all(b"nhn").await.unwrap();
    expect(&mut visitor, "nhn").await;
    door.names.steer("aws");
    expect_end(&mut visitor).await;
    expect_end(&mut old).await;
    let mut visitor = door.visitor().await;
    accept(door.aws.as_ref()).await.write_all(b"aws").await.unwrap();
    expect(&mut visitor, "aws").await;
}

#[tokio::test]
async fn a_visitor_of_a_site_that_is_gone_waits_and_is_taken_in_by_the_other() {
    let mut door = Door::new().await;
    door.nhn = None;
    let mut visitor = door.visitor().await;
    visitor.write_all(b"request").await.unwrap();
    door.names.steer("aws");
    let mut site = accept(door.aws.as_ref()).await;
    expect(&mut site, "request").await;
    site.write_all(b"answer").await.unwrap();
    expect(&mut visitor, "answer").await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let door = Door::new().await;
    let error = frontdoor::listen(door.addresses[0].port()).await.unwrap_err().to_string();
    assert!(error.contains("the front door") && error.contains(&std::process::id().to_string()), "{error}");
}
