//! Requests that wait while the primary is changed on purpose.

use std::time::Duration;

use model::{
    BarrierOutcome, Epoch, Mode, Serving,
    gateway::{ParkReply, ParkRequest, UnparkReply, UnparkRequest},
    topology::Unpark,
};
use runtime::{admin::Client, secret::Secret};

use crate::{
    agent::{TOKEN, serving},
    stage::Stage,
};

const GET: &str = "GET /show HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /buy HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const PATIENCE: Duration = Duration::from_secs(10);

fn order(intent: u64) -> ParkRequest {
    ParkRequest {
        epoch: Epoch(7),
        intent,
        park_ms_max: 8_000,
        parked_max: 100,
        drain_ms_max: 5_000,
        unpark: Unpark::Sync,
        sync_wait_ms: 60_000,
    }
}

fn admin(stage: &Stage) -> Client {
    Client::new(stage.admin, Secret::new(TOKEN))
}

async fn park(stage: &Stage, order: &ParkRequest) -> ParkReply {
    admin(stage).post("/v1/park", order, PATIENCE).await.unwrap()
}

async fn all_parked(stage: &Stage, count: u64) {
    while stage.status().await.parked != count {
        tokio::time::sleep(Duration::from_millis(2)).await; // the gateway tells when it is asked
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_held_is_still_under_way_and_what_comes_then_waits_unforwarded() {
    let stage = Stage::new(serving("nhn", 7), |_| {}).await;
    let mut held = stage.send(POST).await;
    let barrier = stage.agent.asked().await;
    let not_drained = park(&stage, &ParkRequest { drain_ms_max: 60, ..order(11) }).await;
    assert_eq!(not_drained, ParkReply::NotDrained { unanswered: 1 });
    let (mut read, mut write) = (stage.send(GET).await, stage.send(POST).await);
    all_parked(&stage, 2).await;
    let drained = {
        let client = admin(&stage);
        tokio::spawn(async move { client.post::<ParkReply>("/v1/park", &order(11), PATIENCE).await.unwrap() })
    };
    barrier.reply(BarrierOutcome::Replicated);
    assert_eq!(held.answer().await.status, 200);
    assert_eq!(drained.await.unwrap(), ParkReply::Drained { streaming: 0 });
    assert_eq!(stage.app.asked(), 1, "nothing was forwarded while parked");
    assert!(read.hears_nothing() && write.hears_nothing());

    let client = admin(&stage);
    let rolled_back: UnparkReply =
        client.post("/v1/unpark", &UnparkRequest { intent: 11 }, PATIENCE).await.unwrap();
    assert_eq!(rolled_back.parked, 2);
    assert_eq!(read.answer().await.status, 200);
    stage.agent.asked().await.reply(BarrierOutcome::Replicated);
    assert_eq!(write.answer().await.status, 200);
    assert!(matches!(park(&stage, &order(11)).await, ParkReply::Refused { .. }), "a late repetition");
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_requests_go_on_at_the_new_primary_wherever_they_wait() {
    let new = Stage::new(Serving { mode: Mode::Sync, ..serving("aws", 7) }, |_| {}).await;
    let peer = new.gateway;
    let old = Stage::new(serving("nhn", 7), |c| c.peer = peer).await;
    for stage in [&old, &new] {
        assert_eq!(park(stage, &order(11)).await, ParkReply::Drained { streaming: 0 });
    }
    let (mut at_old, mut at_new) = (old.send(GET).await, new.send(GET).await);
    all_parked(&old, 1).await;
    all_parked(&new, 1).await;
    old.agent.says(serving("aws", 8));
    // The old gateway passes its visitor on; the new one lets nobody go on before it is in sync.
    new.agent.says(Serving { mode: Mode::Solo, ..serving("nhn", 8) });
    all_parked(&new, 2).await;
    assert!(at_old.hears_nothing() && at_new.hears_nothing());
    new.agent.says(serving("nhn", 8));
    assert_eq!(at_old.answer().await.status, 200);
    assert_eq!(at_new.answer().await.status, 200);
    assert_eq!((old.app.asked(), new.app.asked()), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_too_long_or_too_many_is_told_to_come_again() {
    let stage = Stage::new(serving("nhn", 7), |_| {}).await;
    let short = ParkRequest { park_ms_max: 200, parked_max: 1, ..order(11) };
    assert_eq!(park(&stage, &short).await, ParkReply::Drained { streaming: 0 });
    let mut first = stage.send(GET).await;
    all_parked(&stage, 1).await;
    let second = stage.ask(GET).await;
    assert_eq!((second.status, second.header("ghostlight-outcome")), (503, "not-sent"));
    assert_eq!(second.header("retry-after"), "1");
    let told = first.answer().await;
    assert_eq!((told.status, told.header("ghostlight-outcome")), (503, "not-sent"));
    // The parking has ended by itself: whoever comes now goes where the agent says.
    assert_eq!(stage.ask(GET).await.status, 200);
    assert_eq!(stage.status().await.parked_total, 1);
}
