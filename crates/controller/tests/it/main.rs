//! Three controllers over real sockets, with a real register file, against scripted agents, gateways and a scripted
//! name server that speak the admin API. And every driver of the register.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it needs by failing")]

mod register;
mod world;

use std::time::Duration;

use model::{
    Epoch, Mode,
    orders::{FailoverReply, FailoverRequest, Halt, Orders, OrdersReply, OrdersRequest},
};
use runtime::clock::Boot;
use world::World;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_primary_is_replaced_and_fenced_when_it_returns() {
    let world = World::start().await;
    world.wait("a leader and three healthy views", DEADLINE, |w| w.is_calm()).await;

    let dark_at = Boot::now();
    world.go_dark("nhn");
    world.wait("visitors steered to aws", DEADLINE, |w| w.steered_to("aws", 4)).await;
    eprintln!("a silent site: steered after {:?}, {:?}", dark_at.elapsed(), world.promoted_after(dark_at));
    let register = world.register().await;
    assert_eq!((register.epoch, register.primary.as_str(), register.mode), (Epoch(4), "aws", Mode::Solo));
    assert_eq!(world.promotions("aws"), [Epoch(4)]);
    assert!(register.why.contains("nhn"), "{}", register.why);

    world.return_of("nhn").await;
    world.wait("nhn fenced", DEADLINE, |w| w.is_closed("nhn")).await;
    assert_eq!(world.promotions("nhn"), []);
    for words in
        ["\"what\":\"judged\"", "primary_site_lost", "\"step\":\"move_register\"", "\"outcome\":\"fenced\""]
    {
        // The database is closed before the agent's answer has reached the leader and its journal.
        world.wait(words, DEADLINE, |w| w.journal().contains(words)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_controller_resumes_what_a_dead_leader_began() {
    let world = World::start().await;
    world.wait("calm", DEADLINE, |w| w.is_calm()).await;
    // The promotion hangs: whoever leads gets no further, and dies there.
    world.hang_promotion(true);
    world.go_dark("nhn");
    world.wait("a promotion begun", DEADLINE, |w| w.promotion_asked()).await;
    assert_eq!(world.register().await.epoch, Epoch(4), "the register moved first");
    world.stop("aws").await;
    world.stop("witness").await;
    world.hang_promotion(false);
    assert!(!world.steered_to("aws", 4));
    world.begin("witness").await;
    world.begin("aws").await;
    world.wait("visitors steered to aws", DEADLINE, |w| w.steered_to("aws", 4)).await;
    assert_eq!(world.register().await.epoch, Epoch(4), "nobody began another failover");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mode_that_went_solo_first_forbids_the_failover() {
    let world = World::start().await;
    world.wait("calm", DEADLINE, |w| w.is_calm()).await;
    world.go_dark("nhn");
    world.go_solo().await;
    world.wait("the loss seen, and held", DEADLINE, |w| w.holds_because("the mode is solo")).await;
    let register = world.register().await;
    assert_eq!((register.epoch, register.primary.as_str()), (Epoch(3), "nhn"));
    assert!(world.promotions("aws").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_flaps_causes_no_failover() {
    let world = World::start().await;
    world.wait("calm", DEADLINE, |w| w.is_calm()).await;
    for _ in 0..5 {
        world.set_database("nhn", false);
        // Not a race: shorter than any patience, and the outcome is asserted at the end only.
        tokio::time::sleep(Duration::from_millis(600)).await;
        world.set_database("nhn", true);
        world.wait("calm again", DEADLINE, |w| w.is_calm()).await;
    }
    assert_eq!(world.register().await.epoch, Epoch(3));
    assert!(world.promotions("aws").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_register_survives_its_process() {
    let world = World::start().await;
    world.wait("calm", DEADLINE, |w| w.is_calm()).await;
    let before = world.register().await;
    world.stop("witness").await;
    world.begin("witness").await;
    world.wait("calm again", DEADLINE, |w| w.is_calm()).await;
    assert_eq!(world.register().await, before);
}

const ASK: Duration = Duration::from_secs(5);

/// Orders given to any controller stand in the register: all obey them, and they survive the witness's process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_was_ordered_at_one_controller_holds_all_of_them_and_the_journals_tell_it() {
    let world = World::start().await;
    world.wait("calm", DEADLINE, |w| w.is_calm()).await;
    let aws = world.controller("aws");
    let standing: Orders = aws.get("/v1/orders", ASK).await.unwrap();
    let halt = Halt { by: "kim".into(), why: "a rehearsal".into(), at_ms: 1 };
    let stopped = Orders { version: standing.version + 1, stopped: Some(halt), ..Orders::default() };
    let request = OrdersRequest { expected_version: standing.version, orders: stopped.clone() };
    let reply: OrdersReply = aws.post("/v1/orders", &request, ASK).await.unwrap();
    assert_eq!(reply, OrdersReply::Set(stopped.clone()));
    world.stop("witness").await;
    world.begin("witness").await;
    world.go_dark("nhn");
    world
        .wait("the loss seen, and held", DEADLINE, |w| w.holds_because("it would now: move the register"))
        .await;
    assert_eq!(world.register().await.epoch, Epoch(3));

    let late: OrdersReply = aws.post("/v1/orders", &request, ASK).await.unwrap();
    assert_eq!(late, OrdersReply::Set(stopped.clone()), "the same again is no change");
    let lifted = Orders { version: stopped.version + 1, ..Orders::default() };
    let request = OrdersRequest { expected_version: stopped.version, orders: lifted };
    world.controller("witness").post::<OrdersReply>("/v1/orders", &request, ASK).await.unwrap();
    world.wait("visitors steered to aws", DEADLINE, |w| w.steered_to("aws", 4)).await;

    for place in ["witness", "aws"] {
        let told: serde_json::Value = world.controller(place).get("/v1/journal", ASK).await.unwrap();
        assert_eq!(
            told["place"],
            if place == "witness" {
                serde_json::json!("witness")
            } else {
                serde_json::json!({ "site": "aws" })
            }
        );
        assert_eq!(told["verified"]["broken"], serde_json::json!([]), "{place}: {told}");
        let lines = told["lines"].as_array().unwrap();
        assert!(
            lines.iter().any(|l| l["what"] == "ordered" && l["orders"]["stopped"]["by"] == "kim"),
            "{place}"
        );
        let judged = lines.iter().rfind(|l| l["what"] == "judged").unwrap();
        assert!(!judged["seen"].as_array().unwrap().is_empty(), "what the viewpoints saw");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_an_epoch_in_solo_only_by_its_number_and_after_the_lease() {
    let world = World::start().await;
    world.wait("calm", DEADLINE, |w| w.is_calm()).await;
    world.go_solo().await;
    world.go_dark("nhn");
    world.wait("the loss seen, and held", DEADLINE, |w| w.holds_because("no_loss: ")).await;
    let order = |epoch, accept_loss_s| FailoverRequest {
        epoch: Epoch(epoch),
        accept_loss_s,
        by: "kim".into(),
        why: "fire".into(),
    };
    let ask = async |request: FailoverRequest| {
        world.controller("aws").post::<FailoverReply>("/v1/failover", &request, ASK).await
    };
    let wrong = ask(order(2, 3_600)).await.unwrap_err().to_string();
    assert!(wrong.contains("the register is at epoch 3"), "{wrong}");
    let little = ask(order(3, 0)).await.unwrap_err().to_string();
    assert!(little.contains("0 s were accepted"), "{little}");
    let ordered_at = Boot::now();
    ask(order(3, 3_600)).await.unwrap();
    world.wait("visitors steered to aws", DEADLINE, |w| w.steered_to("aws", 4)).await;
    let waited = world.promoted_after(ordered_at).unwrap();
    assert!(waited >= Duration::from_secs(3), "the lease: {waited:?}");
    let register = world.register().await;
    assert_eq!(register.forced_now().map(|f| (f.out_of, f.accept_loss_s)), Some((Mode::Solo, 3_600)));
    assert!(register.why.contains("kim"), "{}", register.why);
}
