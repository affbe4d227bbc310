//! The shipper as it runs in an agent: on few threads, beside what must go on.

use std::{net::SocketAddr, thread, time::Duration};

use model::{Epoch, Incarnation, Position, Watermark};
use mysql_async::prelude::Queryable;
use replicate::{
    copy::{Form, Walk},
    link::{
        self, Connected, Link,
        frame::{Down, PROTOCOL, Request, Up, Want},
    },
    ship::{self, Authority, ShipConfig},
};
use runtime::process::Shutdown;
use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::pair::{Half, Pair};

const PATIENCE: Duration = Duration::from_secs(30);

/// A shipper that has one thread for everything, as one of an agent's threads may be all that is left for it. In a thread
/// of its own, so that one that never gives it away cannot hold the test up.
fn ship_on_one_thread(pair: &Pair, from: &Half, stop: Shutdown) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let config = ShipConfig {
        database: from.database.clone(),
        identity: pair.identity(from),
        site: from.site.clone(),
        heard: watch::Sender::new(None),
    };
    let authority = Authority { epoch: Epoch(1), primary: true, stream: from.stream.clone() };
    thread::spawn(move || {
        let (_authority, seen) = watch::channel(Some(authority));
        let (watermarks, _): (watch::Sender<Option<Watermark>>, _) = watch::channel(None);
        let one = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        one.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            ship::serve(listener, config, seen, watermarks, stop).await;
        });
    });
    address
}

/// The standby's agent as the shipper sees it.
async fn peer(pair: &Pair, address: SocketAddr, from: Position) -> Link {
    let request = Request {
        protocol: PROTOCOL,
        site: pair.b.site.clone(),
        epoch: Epoch(1),
        incarnation: Incarnation(1),
        want: Want::Log(from),
    };
    match link::connect(address, &pair.identity(&pair.b), &pair.a.site, request).await.unwrap() {
        Connected::Welcome(link) => *link,
        Connected::Refused(why) => panic!("{why:?}"),
    }
}

/// The shipper went round and round when a wish for a chunk came within a transaction of which nothing was there to be
/// sent: it never gave its thread away, and with it neither what was to hand the rest of the transaction over nor whatever
/// else waited on that thread. It came when an agent was paused in the middle of one and went on.
#[tokio::test]
async fn a_wish_that_comes_within_a_transaction_waits_for_its_end_without_holding_the_thread() {
    let pair = Pair::start().await;
    pair.a
        .run(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.seat (id INT PRIMARY KEY)",
            "INSERT INTO shop.seat VALUES (1), (2)",
            "CREATE TABLE shop.big (id INT PRIMARY KEY, filler MEDIUMBLOB)",
        ])
        .await;
    let from = pair.a.end_of_log().await;
    // Far more than fits between the two, and in noise, which does not compress: while the peer does not read, the
    // shipper is in the middle of it.
    let mut conn = pair.a.conn().await;
    conn.query_drop("START TRANSACTION").await.unwrap();
    for id in 1..=1_000 {
        let noise: Vec<u8> = (0..4_096).flat_map(|_| rand::random::<u64>().to_le_bytes()).collect();
        conn.exec_drop("INSERT INTO shop.big VALUES (?, ?)", (id, noise)).await.unwrap();
    }
    conn.query_drop("COMMIT").await.unwrap();

    let stop = Shutdown::new();
    let address = ship_on_one_thread(&pair, &pair.a, stop.clone());
    let Link { mut sender, mut receiver } = peer(&pair, address, from).await;
    let mut next = async |what: &str| -> Down {
        timeout(PATIENCE, receiver.receive()).await.unwrap_or_else(|_| panic!("never came: {what}")).unwrap()
    };
    let middle = loop {
        if let Down::Part { end, .. } = next("the first part").await {
            break end.is_none();
        }
    };
    assert!(middle, "it is sent in parts");
    let walk = Walk {
        number: 1,
        schema: "shop".into(),
        table: "seat".into(),
        from: None,
        to: None,
        form: Form::Digest,
        chunks: 1,
    };
    sender.send(&Up::Walk(Box::new(walk))).await.unwrap();
    let mut ended = false;
    let chunk = loop {
        match next("the transaction's end and the chunk").await {
            Down::Part { end, .. } => ended |= end.is_some(),
            Down::Chunk(chunk) => break chunk,
            Down::Refused(why) => panic!("{why:?}"),
            _ => {}
        }
    };
    assert!(ended, "the chunk stands behind the transaction");
    assert_eq!((chunk.walk, chunk.rows), (1, 2));
    stop.cancel();
}
