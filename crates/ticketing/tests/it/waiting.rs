//! The waiting room over a real database: the lottery, the line, turns.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};
use ticketing::queue::{
    LOBBY_MS, TURN_MS,
    draw::{Class, Commitment, Entry, Order, Seed},
};

use crate::site::{MUSICAL, Site, Visitor, until};

/// A musical in the hall of 2,500 whose sale opens tomorrow evening.
const SALE: u32 = 201;

async fn opens_ms(site: &Site) -> u64 {
    site.number(&format!(
        "SELECT CAST(UNIX_TIMESTAMP(opens_at) * 1000 AS UNSIGNED) FROM ticketing.queue_sales WHERE performance_id = {SALE}"
    ))
    .await
}

async fn go_to(site: &Site, at_ms: u64) {
    site.clock.advance(at_ms.saturating_sub(site.clock.now_ms()));
}

async fn public(visitor: &Visitor) -> Value {
    visitor.get(&format!("/api/queue/{SALE}")).await.json()
}

async fn phase_is(visitor: &Visitor, phase: &str) {
    until(phase, || async { public(visitor).await["phase"] == phase }).await;
}

async fn join(visitor: &mut Visitor) -> Value {
    let answer = visitor.post(&format!("/api/performances/{SALE}/queue"), "", &json!({})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    visitor.keep(&answer);
    answer.json()
}

async fn place(visitor: &Visitor) -> Value {
    visitor.get(&format!("/api/performances/{SALE}/queue")).await.json()
}

async fn enter(visitor: &mut Visitor) -> u16 {
    let answer = visitor.post(&format!("/api/performances/{SALE}/queue/enter"), "", &json!({})).await;
    visitor.keep(&answer);
    answer.status
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lottery_is_the_same_at_every_instance_and_for_everybody_who_computes_it_again() {
    let site = Site::open().await;
    let (one, two) = (site.ready_instance().await, site.ready_instance().await);
    let opens = opens_ms(&site).await;
    go_to(&site, opens - LOBBY_MS + 1_000).await;
    let mut visitors = join_all((0..7).map(|i| Visitor::signed_up([one, two][i % 2]))).await;
    for visitor in &visitors[..2] {
        phase_is(visitor, "lobby").await;
    }
    let before = public(&visitors[0]).await;
    assert_eq!(before["seed"], Value::Null, "nobody knows the lottery before it is drawn");
    for visitor in &mut visitors {
        assert_eq!(join(visitor).await["place"], "lobby");
    }
    // A second window, at the other instance, without the cookie: the same entry.
    let mut window = Visitor { at: two, ..visitors[0].clone() };
    window.cookies.retain(|c| c.starts_with("sid="));
    join(&mut window).await;
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.queue_entries").await, 7);

    go_to(&site, opens + 1).await;
    let elsewhere: Vec<Visitor> =
        visitors.iter().map(|v| Visitor { at: if v.at == one { two } else { one }, ..v.clone() }).collect();
    for visitor in visitors.iter().chain(&elsewhere) {
        until("the lottery is drawn", || async { place(visitor).await["number"].is_u64() }).await;
    }
    let mut numbers = BTreeMap::new();
    for (visitor, there) in visitors.iter().zip(&elsewhere) {
        let number = place(visitor).await["number"].as_u64().unwrap();
        assert_eq!(place(there).await["number"], number);
        let session = visitor.cookies.iter().find(|c| c.starts_with("sid=")).unwrap();
        let account: u64 = session[4..].split('.').next().unwrap().parse().unwrap();
        numbers.insert(number, Entry::of(b"a key that all instances share", SALE, account));
    }
    assert_eq!(numbers.keys().copied().collect::<Vec<_>>(), (1..=7).collect::<Vec<u64>>());

    // The seed is shown now, is the one that was promised, and gives the same numbers to whoever computes them.
    let after = public(&visitors[0]).await;
    let seed = Seed::from_hex(after["seed"].as_str().unwrap()).unwrap();
    assert!(Commitment::from_hex(before["seed_sha256"].as_str().unwrap()).unwrap().is_of(&seed));
    let order = Order::draw(&seed, SALE, numbers.values().map(|e| (*e, Class::Ordinary)));
    for (number, entry) in numbers {
        assert_eq!(order.number(seed.lot(SALE, entry, Class::Ordinary)).map(u64::from), Some(number));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_turn_holds_nothing_and_a_turn_comes_to_everybody_in_order() {
    let site = Site::open().await;
    let (one, two) = (site.ready_instance().await, site.ready_instance().await);
    go_to(&site, opens_ms(&site).await + 1).await;
    let mut visitor = Visitor::signed_up(one).await;
    phase_is(&visitor, "open").await;

    let refused = visitor.hold(SALE, "", &["A2-1-1"]).await;
    assert_eq!((refused.status, refused.json()["error"].as_str()), (409, Some("turn_required")));
    let sent_away = visitor.get(&format!("/performances/{SALE}")).await;
    assert_eq!(sent_away.header("location"), format!("/performances/{SALE}/queue"));
    let page = visitor.get(&format!("/performances/{SALE}/queue")).await;
    assert!(page.text.contains("순번 받기"), "{}", page.text);
    assert_eq!(visitor.get(&format!("/api/queue/{MUSICAL}")).await.status, 404, "no waiting room");

    join(&mut visitor).await;
    let mut second = Visitor::signed_up(two).await;
    phase_is(&second, "open").await;
    join(&mut second).await;
    let numbers = [place(&visitor).await, place(&second).await].map(|p| p["number"].as_u64().unwrap());
    assert_eq!(numbers, [1, 2], "first come, first served");

    until("the first is called", || async { place(&visitor).await["place"] == "called" }).await;
    let mut elsewhere = Visitor { at: two, ..visitor.clone() };
    until("the other instance knows", || async { place(&elsewhere).await["place"] == "called" }).await;
    assert_eq!(enter(&mut elsewhere).await, 200);
    visitor.cookies = elsewhere.cookies;
    assert_eq!(visitor.hold(SALE, "", &["A2-1-1"]).await.status, 201);
    // A turn is nobody else's.
    let turn = visitor.cookies.iter().find(|c| c.starts_with("qt")).unwrap().clone();
    second.cookies.push(turn);
    assert_eq!(second.hold(SALE, "", &["A2-1-2"]).await.json()["error"], "turn_required");
    second.cookies.pop();

    // A turn ends; whoever wants another one takes a number behind the others.
    site.clock.advance(TURN_MS);
    assert_eq!(visitor.hold(SALE, "", &["A2-2-1"]).await.json()["error"], "turn_required");
    assert_eq!(enter(&mut visitor).await, 409);
    join(&mut visitor).await;
    assert_eq!(place(&visitor).await["number"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_serving_number_stand_while_the_database_refuses() {
    let site = Site::open().await;
    let at = site.ready_instance().await;
    go_to(&site, opens_ms(&site).await + 1).await;
    let mut visitor = Visitor::signed_up(at).await;
    phase_is(&visitor, "open").await;
    join(&mut visitor).await;
    let before = place(&visitor).await["number"].clone();

    site.lock(true).await;
    until("the numbers are told as old", || async {
        let answer = visitor.get(&format!("/api/queue/{SALE}")).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("cache-control").starts_with("public, max-age=1"));
        answer.json()["fresh"] == false
    })
    .await;
    assert_eq!(place(&visitor).await["number"], before);
    let page = visitor.get(&format!("/performances/{SALE}/queue")).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("순번은 그대로예요"), "{}", page.text);
    site.lock(false).await;
    until("they are of now again", || async { public(&visitor).await["fresh"] == true }).await;
    assert_eq!(place(&visitor).await["number"], before);
}
