//! The commit gate as a visitor meets it.

use model::{BarrierOutcome, BarrierReply, Epoch};

use crate::{
    agent::serving,
    stage::{Stage, large},
};

const POST: &str = "POST /buy HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const GET: &str = "GET /show HTTP/1.1\r\nHost: a\r\n\r\n";

async fn stage() -> Stage {
    Stage::new(serving("nhn", 7), |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_write_waits_until_it_is_replicated() {
    let stage = stage().await;
    let mut visitor = stage.send(POST).await;
    let barrier = stage.agent.asked().await;
    assert_eq!(stage.app.asked(), 1, "the barrier comes after the application's answer");
    assert_eq!(barrier.request.epoch, Epoch(7));
    assert!(visitor.hears_nothing());
    assert_eq!(stage.status().await.held, 1);
    barrier.reply(BarrierOutcome::Replicated);
    let answer = visitor.answer().await;
    assert_eq!((answer.status, answer.header("x-app")), (200, "yes"));
    assert!(answer.text().ends_with("body 3\n"), "{}", answer.text());
    let status = stage.status().await;
    assert_eq!((status.held, status.released_total), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_does_not_wait() {
    let stage = stage().await;
    let answer = stage.ask(GET).await;
    assert_eq!(answer.status, 200);
    assert!(stage.agent.is_idle().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_solo_an_answer_goes_out_while_the_lease_lasts() {
    let stage = stage().await;
    let mut visitor = stage.send(POST).await;
    // A lease that ended before the reply came releases nothing; the gate asks anew.
    stage.agent.asked().await.reply(BarrierOutcome::Solo { lease_left_ms: 0 });
    let again = stage.agent.asked().await;
    assert!(visitor.hears_nothing());
    again.reply(BarrierOutcome::Solo { lease_left_ms: 60_000 });
    assert_eq!(visitor.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_makes_the_outcome_unknown_and_marks_the_client() {
    let stage = stage().await;
    let mut visitor = stage.send(POST).await;
    let barrier = stage.agent.asked().await;
    stage.agent.says(serving("nhn", 8));
    let answer = visitor.answer().await;
    assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "unknown"));
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.text().contains("outcome_unknown"), "{}", answer.text());
    // Too late, and of an epoch that is gone: nobody is there to hear it.
    barrier.reply(BarrierOutcome::Replicated);

    // From now on this client's reads wait for a barrier, which takes the mark away again.
    let mut marked =
        stage.send(&format!("GET /show HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", answer.cookie())).await;
    let barrier = stage.agent.asked().await;
    assert_eq!(barrier.request.epoch, Epoch(8));
    assert!(marked.hears_nothing());
    barrier.reply(BarrierOutcome::Replicated);
    let read = marked.answer().await;
    assert_eq!((read.status, read.cookie()), (200, "ghostlight_unknown="));
    assert!(read.header("set-cookie").contains("Max-Age=0"));

    // Nobody can make such a cookie himself.
    let forged = format!("GET /show HTTP/1.1\r\nHost: a\r\nCookie: {}0\r\n\r\n", answer.cookie());
    assert_eq!(stage.ask(&forged).await.status, 200);
    assert!(stage.agent.is_idle().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_that_waits_when_a_barrier_tells_of_a_new_epoch_is_unknown() {
    let stage = stage().await;
    let mut one = stage.send(POST).await;
    let first = stage.agent.asked().await;
    let mut two = stage.send(POST).await;
    let _second = stage.agent.asked().await;
    first.reply_with(BarrierReply {
        outcome: BarrierOutcome::EpochChanged,
        epoch: Some(Epoch(9)),
        mode: None,
        position: None,
    });
    assert_eq!((one.answer().await.status, two.answer().await.status), (503, 503));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_waits_too_long_is_unknown() {
    let stage = Stage::new(serving("nhn", 7), |c| c.hold_max_ms = 50).await;
    let mut visitor = stage.send(POST).await;
    let _never_answered = stage.agent.asked().await;
    assert_eq!(visitor.answer().await.header("ghostlight-outcome"), "unknown");
    assert_eq!(stage.status().await.unknown_total, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_that_fails_is_asked_again() {
    let stage = stage().await;
    let mut visitor = stage.send(POST).await;
    drop(stage.agent.asked().await);
    stage.agent.asked().await.reply(BarrierOutcome::DatabaseUnavailable);
    stage.agent.asked().await.reply(BarrierOutcome::TimedOut);
    stage.agent.asked().await.reply(BarrierOutcome::Replicated);
    assert_eq!(visitor.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_may_ask_for_any_answer_to_be_held() {
    let stage = stage().await;
    let mut visitor = stage.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let barrier = stage.agent.asked().await;
    assert!(visitor.hears_nothing());
    barrier.reply(BarrierOutcome::Replicated);
    let answer = visitor.answer().await;
    assert_eq!(answer.text(), "held by wish");
    assert!(!answer.headers.keys().any(|n| n.starts_with("ghostlight-")), "{:?}", answer.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_is_kept_in_a_file_and_comes_out_whole() {
    let stage = stage().await;
    let mut visitor = stage.send("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    let barrier = stage.agent.asked().await;
    assert!(visitor.hears_nothing());
    barrier.reply(BarrierOutcome::Replicated);
    let answer = visitor.answer().await;
    assert_eq!(answer.body.len(), large().len());
    assert!(answer.body == large());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_large_to_keep_is_unknown() {
    let stage = Stage::new(serving("nhn", 7), |c| c.spill.file_bytes_max = 500_000).await;
    let answer = stage.ask("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "unknown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_gate_nothing_waits() {
    let stage = Stage::new(serving("nhn", 7), |c| c.gate = false).await;
    assert_eq!(stage.ask(POST).await.status, 200);
    let by_wish = stage.ask("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((by_wish.status, by_wish.header("ghostlight-hold")), (200, ""));
    assert!(stage.agent.is_idle().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_answers_share_few_barriers() {
    let stage = stage().await;
    // Eight may be under way: each of the first eight visitors comes after the barrier before.
    let (mut visitors, mut barriers) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        visitors.push(stage.send(POST).await);
        barriers.push(stage.agent.asked().await);
    }
    // All that is complete when the ninth is sent goes with it.
    for _ in 8..100 {
        visitors.push(stage.send(POST).await);
    }
    let all_held = async {
        while stage.status().await.held < 100 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), all_held).await.unwrap();
    assert!(stage.agent.is_idle().await, "no more than eight at once");
    barriers.remove(0).reply(BarrierOutcome::Replicated);
    stage.agent.asked().await.reply(BarrierOutcome::Replicated);
    for barrier in barriers {
        barrier.reply(BarrierOutcome::Replicated);
    }
    for visitor in &mut visitors {
        assert_eq!(visitor.answer().await.status, 200);
    }
    assert!(stage.agent.is_idle().await, "nine barriers served a hundred answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_leaves_is_forgotten() {
    let stage = stage().await;
    let visitor = stage.send(POST).await;
    let barrier = stage.agent.asked().await;
    drop(visitor);
    let forgotten = async {
        while stage.status().await.held > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), forgotten).await.unwrap();
    barrier.reply(BarrierOutcome::Replicated);
    assert_eq!(stage.ask(GET).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_answer_is_still_released_during_the_drain() {
    let mut stage = stage().await;
    let mut visitor = stage.send(POST).await;
    let barrier = stage.agent.asked().await;
    // The gateway's end only: the agent's API drains as well.
    stage.shutdown.cancel();
    barrier.reply(BarrierOutcome::Replicated);
    let answer = visitor.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    tokio::time::timeout(std::time::Duration::from_secs(10), &mut stage.running)
        .await
        .expect("the gateway does not end")
        .unwrap();
}
