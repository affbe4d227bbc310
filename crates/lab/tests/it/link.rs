//! The inter-site link: cut, healed, made long, and never losing or adding a byte.

use std::{net::SocketAddr, time::Duration};

use lab::{
    layout::Cloud,
    link::{self, LinkControl, LinkState, Way},
};
use runtime::process::Shutdown;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

/// Long enough for whatever must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Looked at for so long to see that nothing happens. Too short a look proves less; it never fails wrongly.
const A_LOOK: Duration = Duration::from_millis(150);

const WHOLE: LinkState = LinkState { cut: false, lost_from: None, rtt_ms: 0 };
const CUT: LinkState = LinkState { cut: true, ..WHOLE };

/// A link with one way, and the far end's listener.
struct Span {
    near: SocketAddr,
    far: TcpListener,
    control: LinkControl,
    shutdown: Shutdown,
}

impl Span {
    async fn new() -> Span {
        let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = far.local_addr().unwrap();
        let way = Way { what: "test".into(), near: Cloud::Aws, listen: ([127, 0, 0, 1], 0).into(), to };
        let open = link::listen(&[way]).await.unwrap();
        let near = open[0].local_addr().unwrap();
        let (control, shutdown) = (LinkControl::new(), Shutdown::new());
        tokio::spawn(link::run(open, control.clone(), shutdown.clone()));
        Span { near, far, control, shutdown }
    }

    /// A connection through the link, both its ends.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let (near, far) = tokio::join!(TcpStream::connect(self.near), self.far.accept());
        (near.unwrap(), far.unwrap().0)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn expect(stream: &mut TcpStream, text: &str) {
    let mut got = vec![0; text.len()];
    timeout(PATIENCE, stream.read_exact(&mut got)).await.expect("bytes in time").unwrap();
    assert_eq!(String::from_utf8_lossy(&got), text);
}

async fn expect_silence(stream: &mut TcpStream) {
    let mut byte = [0];
    let seen = timeout(A_LOOK, stream.read(&mut byte)).await;
    assert!(seen.is_err(), "{seen:?} came through a cut link: {byte:?}");
}

async fn expect_end(stream: &mut TcpStream) {
    let mut byte = [0];
    let seen = timeout(PATIENCE, stream.read(&mut byte)).await.expect("an end in time");
    assert!(matches!(seen, Ok(0) | Err(_)), "{seen:?}");
}

#[tokio::test]
async fn a_cut_is_silence_both_ways_and_healing_loses_nothing() {
    let span = Span::new().await;
    let (mut near, mut far) = span.connect().await;
    send(&mut near, "before").await;
    expect(&mut far, "before").await;
    span.control.set(CUT);
    assert!(span.control.state().cut);
    send(&mut near, "there").await;
    send(&mut far, "back").await;
    expect_silence(&mut far).await;
    expect_silence(&mut near).await;
    span.control.set(WHOLE);
    expect(&mut far, "there").await;
    expect(&mut near, "back").await;
    let counters = span.control.counters();
    assert_eq!((counters.connections, counters.delivered_bytes), (1, 15));
}

#[tokio::test]
async fn one_direction_alone_may_be_lost_and_nobody_can_connect_then() {
    let span = Span::new().await;
    // The near end is aws's.
    let (mut near, mut far) = span.connect().await;
    span.control.set(LinkState { lost_from: Some(Cloud::Aws), ..WHOLE });
    send(&mut far, "back").await;
    expect(&mut near, "back").await;
    send(&mut near, "there").await;
    expect_silence(&mut far).await;
    let _mute = timeout(PATIENCE, TcpStream::connect(span.near)).await.unwrap().unwrap();
    assert!(timeout(A_LOOK, span.far.accept()).await.is_err(), "a handshake needs both directions");
    span.control.set(LinkState { lost_from: Some(Cloud::Nhn), ..WHOLE });
    expect(&mut far, "there").await;
    send(&mut far, "and back").await;
    expect_silence(&mut near).await;
    span.control.set(WHOLE);
    expect(&mut near, "and back").await;
}

#[tokio::test]
async fn who_connects_during_a_cut_is_mute_until_it_heals() {
    let span = Span::new().await;
    span.control.set(CUT);
    let mut near = timeout(PATIENCE, TcpStream::connect(span.near)).await.unwrap().unwrap();
    send(&mut near, "hello").await;
    assert!(timeout(A_LOOK, span.far.accept()).await.is_err(), "the far side heard of it");
    expect_silence(&mut near).await;
    span.control.set(WHOLE);
    let mut far = timeout(PATIENCE, span.far.accept()).await.unwrap().unwrap().0;
    expect(&mut far, "hello").await;
}

#[tokio::test]
async fn an_end_during_a_cut_is_noticed_after_it() {
    let span = Span::new().await;
    let (near, mut far) = span.connect().await;
    span.control.set(CUT);
    drop(near);
    expect_silence(&mut far).await;
    span.control.set(WHOLE);
    expect_end(&mut far).await;
}

#[tokio::test]
async fn a_round_trip_takes_at_least_what_was_asked() {
    let span = Span::new().await;
    let (mut near, mut far) = span.connect().await;
    span.control.set(LinkState { rtt_ms: 80, ..WHOLE });
    for _ in 0..3 {
        let sent = Instant::now();
        send(&mut near, "ping").await;
        expect(&mut far, "ping").await;
        assert!(sent.elapsed() >= Duration::from_millis(40), "{:?} one way", sent.elapsed());
        send(&mut far, "pong").await;
        expect(&mut near, "pong").await;
        assert!(sent.elapsed() >= Duration::from_millis(80), "{:?} there and back", sent.elapsed());
    }
    let began = Instant::now();
    span.connect().await;
    assert!(began.elapsed() >= Duration::from_millis(80), "a handshake took {:?}", began.elapsed());
}

#[tokio::test]
async fn one_side_may_finish_speaking_and_still_listen() {
    let span = Span::new().await;
    span.control.set(LinkState { rtt_ms: 10, ..WHOLE });
    let (mut near, mut far) = span.connect().await;
    send(&mut near, "question").await;
    near.shutdown().await.unwrap();
    expect(&mut far, "question").await;
    expect_end(&mut far).await;
    send(&mut far, "answer").await;
    drop(far);
    expect(&mut near, "answer").await;
    expect_end(&mut near).await;
}

#[tokio::test]
async fn a_large_stream_arrives_whole_and_in_order_while_the_link_changes_under_it() {
    let span = Span::new().await;
    let (near, mut far) = span.connect().await;
    let (mut near_in, mut near_out) = near.into_split();
    let word = u32::to_be_bytes;
    const WORDS: u32 = 2 << 20;
    let sender = tokio::spawn(async move {
        for start in (0..WORDS).step_by(4_096) {
            let block: Vec<u8> = (start..start + 4_096).flat_map(word).collect();
            near_out.write_all(&block).await.unwrap();
        }
        near_out
    });
    let control = span.control.clone();
    let weather = tokio::spawn(async move {
        for rtt_ms in [0, 8, 1, 4].into_iter().cycle() {
            control.set(LinkState { cut: true, rtt_ms, ..WHOLE });
            tokio::time::sleep(Duration::from_millis(3)).await; // a short cut
            control.set(LinkState { rtt_ms, ..WHOLE });
            tokio::time::sleep(Duration::from_millis(10)).await; // some traffic
        }
    });
    let mut block = vec![0; 4_096 * 4];
    for start in (0..WORDS).step_by(4_096) {
        timeout(PATIENCE, far.read_exact(&mut block)).await.expect("bytes in time").unwrap();
        assert!(block.chunks(4).map(Vec::from).eq((start..start + 4_096).map(|i| word(i).to_vec())));
    }
    weather.abort();
    span.control.set(WHOLE);
    drop(sender.await.unwrap());
    expect_end(&mut far).await;
    far.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, near_in.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_sender_is_held_back_when_nobody_reads() {
    let span = Span::new().await;
    let (mut near, far) = span.connect().await;
    // More than the link and all buffers of the kernel hold: a sender that is never held back would finish.
    let flood = timeout(Duration::from_secs(1), near.write_all(&vec![0; 64 << 20])).await;
    assert!(flood.is_err(), "64 MiB went into a link that nobody reads");
    drop(far);
}

#[tokio::test]
async fn a_far_side_that_refuses_ends_the_connection() {
    let span = Span::new().await;
    let far = span.far.local_addr().unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = gone.local_addr().unwrap();
    drop(gone);
    assert_ne!(far, to);
    let way = Way { what: "test".into(), near: Cloud::Aws, listen: ([127, 0, 0, 1], 0).into(), to };
    let open = link::listen(&[way]).await.unwrap();
    let near = open[0].local_addr().unwrap();
    tokio::spawn(link::run(open, LinkControl::new(), span.shutdown.clone()));
    let mut near = TcpStream::connect(near).await.unwrap();
    expect_end(&mut near).await;
}
