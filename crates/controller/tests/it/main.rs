//! Three controllers over real sockets, with a real register file, against scripted agents, gateways and a scripted
//! name server that speak the admin API.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it needs by failing")]

mod world;

use std::time::Duration;

use model::{Epoch, Mode};
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
