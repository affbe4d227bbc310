//! Telling endpoints what happens: a real receiver, a real database, failures, and addresses that are refused.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use ticketing::webhook::{guard::Network, send::Sender};
use tokio::net::TcpListener;

use crate::{
    api::{Program, key},
    organiser::organiser,
    site::{ARENA, Site, Visitor, until},
};

/// What came in, and what is answered.
#[derive(Clone)]
struct Receiver {
    came: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    status: Arc<Mutex<StatusCode>>,
    at: SocketAddr,
}

impl Receiver {
    async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let receiver = Receiver { came: Arc::default(), status: Arc::new(Mutex::new(StatusCode::OK)), at };
        let take = |State(to): State<Receiver>, headers: HeaderMap, body: Bytes| async move {
            to.came.lock().unwrap().push((headers, String::from_utf8(body.to_vec()).unwrap()));
            // An answer's body is of no interest, however long.
            (*to.status.lock().unwrap(), "x".repeat(1 << 20))
        };
        let router = Router::new().route("/in", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    fn answer(&self, status: StatusCode) {
        *self.status.lock().unwrap() = status;
    }

    fn url(&self) -> String {
        format!("http://{}/in", self.at)
    }

    fn events(&self) -> Vec<Value> {
        self.came.lock().unwrap().iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    }

    /// The events of a kind, once there are so many.
    async fn told(&self, kind: &str, many: usize) -> Vec<Value> {
        let of = || self.events().into_iter().filter(|e| e["type"] == kind).collect::<Vec<_>>();
        until(&format!("{many} × {kind}"), || async { of().len() >= many }).await;
        of()
    }
}

/// What a receiver does: the signature over time and body, with its secret, as docs/api.md shows it.
fn signed(secret: &str, headers: &HeaderMap, body: &str) -> bool {
    let header = headers["webhook-signature"].to_str().unwrap();
    let (t, v1) = header.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{t}.{body}").as_bytes());
    let right: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    right == v1
}

/// A box office that sends letters and events, these also to this machine if it is `allowed`.
async fn office(site: &Site, allowed: bool) -> SocketAddr {
    let networks = if allowed { vec![Network::parse("127.0.0.0/8").unwrap()] } else { Vec::new() };
    let sender = Sender::new(Path::new("/etc/ssl/certs/ca-certificates.crt"), networks);
    let post = site.post();
    site.with(|desk, shutdown| {
        let desk = desk.with_webhooks(sender);
        desk.send_letters(post, shutdown.clone());
        desk.tell_webhooks(shutdown.clone());
        desk
    })
    .await
}

/// Registers an endpoint and returns its secret.
async fn register(organiser: &Visitor, url: &str) -> String {
    let page = organiser.get("/organiser/integrations").await;
    let fields = [("do", "make-webhook"), ("url", url)];
    let made = organiser.form(&page, "/organiser/integrations", &fields).await;
    assert_eq!(made.status, 200, "{made:?}");
    let at = made.text.find("<code>whsec_").expect("the secret is shown") + "<code>".len();
    made.text[at..].split('<').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_signed_and_once_unless_it_failed() {
    let site = Site::open().await;
    let at = office(&site, true).await;
    let organiser = organiser(&site, at).await;
    let partner = Program::new(at, &key(&organiser, "north", &["sell", "door"]).await);
    let receiver = Receiver::start().await;
    let secret = register(&organiser, &receiver.url()).await;

    let booked = partner.book(&partner.hold("c-1", &["F6-1-1", "F6-1-2"]).await, "k").await.json();
    let event = receiver.told("booking.confirmed", 1).await.remove(0);
    let data = &event["data"];
    assert_eq!((&data["booking_no"], &data["seats"]), (&booked["booking_no"], &booked["seats"]), "{event}");
    let (headers, body) = receiver.came.lock().unwrap()[0].clone();
    assert!(signed(&secret, &headers, &body) && !signed("whsec_other", &headers, &body));
    assert_eq!(headers["webhook-id"].to_str().unwrap(), event["id"].as_str().unwrap());
    assert!(!body.contains("문해준"), "no names: {body}");

    // Twice through a door, and sent twice: came in once.
    let no = booked["booking_no"].as_str().unwrap();
    let ticket = partner.get(&format!("/bookings/{no}/tickets")).await.json()["tickets"][0]["ticket"].clone();
    for device in ["north", "south", "south"] {
        let scans = json!([{ "ticket": ticket, "number": 1, "at_ms": site.clock.now_ms() }]);
        let body = json!({ "device": device, "scans": scans });
        let path = format!("/performances/{ARENA}/check-ins");
        assert_eq!(partner.send("POST", &path, &[], &body).await.status, 200);
    }
    assert_eq!(receiver.told("check-in", 1).await[0]["data"]["seat"], "F6-1-1");

    // The endpoint fails: the same event comes again, later, with the same id.
    receiver.answer(StatusCode::INTERNAL_SERVER_ERROR);
    let path = format!("/bookings/{no}/cancellation");
    let fee = partner.get(&path).await.json()["fee_won"].clone();
    assert_eq!(partner.send("POST", &path, &[], &json!({ "fee_won": fee })).await.status, 200);
    let first = receiver.told("booking.cancelled", 1).await.remove(0);
    let failed = "SELECT COUNT(*) FROM ticketing.webhook_deliveries WHERE tries = 1 AND done_at IS NULL";
    until("the failure is written down", || async { site.number(failed).await == 1 }).await;
    receiver.answer(StatusCode::NO_CONTENT);
    site.clock.advance(10_000);
    let again = receiver.told("booking.cancelled", 2).await.remove(1);
    assert_eq!(first, again);
    let left = "SELECT COUNT(*) FROM ticketing.webhook_deliveries WHERE done_at IS NULL";
    until("all is told", || async { site.number(left).await == 0 }).await;
    let kinds: Vec<String> =
        receiver.events().iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds.iter().filter(|k| *k == "check-in").count(), 1, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|k| *k == "booking.confirmed").count(), 1, "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_for_a_day_is_given_up_and_says_why() {
    let site = Site::open().await;
    let at = office(&site, true).await;
    let organiser = organiser(&site, at).await;
    let partner = Program::new(at, &key(&organiser, "north", &["sell"]).await);
    let receiver = Receiver::start().await;
    receiver.answer(StatusCode::FOUND);
    register(&organiser, &receiver.url()).await;
    assert_eq!(partner.book(&partner.hold("c-1", &["F6-1-1"]).await, "k").await.status, 201);
    receiver.told("booking.confirmed", 1).await;
    let tries = "SELECT CAST(COALESCE(SUM(tries), 0) AS UNSIGNED) FROM ticketing.webhook_deliveries";
    until("the failure is written down", || async { site.number(tries).await == 1 }).await;
    site.clock.advance(86_400_000);
    let given_up = "SELECT COUNT(*) FROM ticketing.webhooks WHERE disabled_at IS NOT NULL";
    until("it is given up", || async { site.number(given_up).await == 1 }).await;
    // The organiser's session is of yesterday: she signs in again.
    let mut organiser = organiser;
    let login = json!({ "email": "organiser@example.com", "password": "correct horse" });
    let signed_in = organiser.post("/api/login", "", &login).await;
    organiser.keep(&signed_in);
    let page = organiser.get("/organiser/integrations").await;
    assert!(page.text.contains("it answered 302 Found"), "{}", page.text);

    // What happens meanwhile is not for it; asked again, it is told what happens from then on.
    assert_eq!(partner.book(&partner.hold("c-2", &["F6-2-1"]).await, "k").await.status, 201);
    receiver.answer(StatusCode::OK);
    let id = page.text.split("name=\"id\" value=\"").last().unwrap().split('"').next().unwrap();
    let enable = [("do", "enable-webhook"), ("id", id)];
    assert_eq!(organiser.form(&page, "/organiser/integrations", &enable).await.status, 303);
    assert_eq!(partner.book(&partner.hold("c-3", &["F6-3-1"]).await, "k").await.status, 201);
    let told = receiver.told("booking.confirmed", 3).await;
    assert_eq!(told.last().unwrap()["data"]["seats"], json!(["F6-3-1"]));
    let remove = [("do", "remove-webhook"), ("id", id)];
    assert_eq!(organiser.form(&page, "/organiser/integrations", &remove).await.status, 303);
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.webhook_deliveries").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_where_nobody_outside_could_look() {
    let site = Site::open().await;
    let at = office(&site, false).await;
    let organiser = organiser(&site, at).await;
    let receiver = Receiver::start().await;
    let inside = [
        "https://10.0.0.1/",
        "https://169.254.169.254/latest",
        "http://1.1.1.1/",
        "https://[::1]/",
        "file:///etc",
    ];
    for url in inside.iter().map(|url| (*url).to_owned()).chain([receiver.url()]) {
        let page = organiser.get("/organiser/integrations").await;
        let fields = [("do", "make-webhook"), ("url", url.as_str())];
        let refused = organiser.form(&page, "/organiser/integrations", &fields).await;
        assert_eq!(refused.status, 400, "{url}: {refused:?}");
    }
    // One that was allowed once, or whose name leads inside now, is judged again when something is sent.
    let mut admin = site.admin().await;
    let add = format!(
        "INSERT INTO ticketing.webhooks (id, url, created_by, created_at) VALUES (7, '{}', 1, UTC_TIMESTAMP())",
        receiver.url()
    );
    mysql_async::prelude::Queryable::query_drop(&mut admin, add).await.unwrap();
    let tell = "SELECT COUNT(*) FROM ticketing.webhooks";
    assert_eq!(site.number(tell).await, 1);
    let visitor = Visitor::signed_up(at).await;
    // Sales carry events again once this instance has seen the endpoint.
    let failed = "SELECT COUNT(*) FROM ticketing.webhook_deliveries WHERE tries > 0";
    let booked = Mutex::new(0_u32);
    until("an event fails", || async {
        let row = {
            let mut n = booked.lock().unwrap();
            *n += 1;
            *n
        };
        if row <= 4 {
            let hold = visitor.hold(ARENA, "", &[format!("F6-{row}-1")]).await.json();
            assert_eq!(visitor.pay(&hold, &format!("k{row}")).await.status, 201);
        }
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        site.number(failed).await > 0
    })
    .await;
    assert!(receiver.events().is_empty(), "{:?}", receiver.events());
}
