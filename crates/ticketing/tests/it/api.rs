//! The API for partners over a real database: keys, selling, doors, problems.

use std::net::SocketAddr;

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::{
    organiser::organiser,
    site::{ARENA, Answer, Site, Visitor},
};

/// A program with a key.
pub(crate) struct Program {
    visitor: Visitor,
    pub(crate) key: String,
}

impl Program {
    pub(crate) fn new(at: SocketAddr, key: &str) -> Program {
        Program { visitor: Visitor::new(at), key: key.to_owned() }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let mut all = vec![("authorization", bearer.as_str())];
        if method == "POST" {
            all.push(("content-type", "application/json"));
        }
        all.extend(headers);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.visitor.send(method, &format!("/api/v1{path}"), &all, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], &Value::Null).await
    }

    pub(crate) async fn hold(&self, customer: &str, seats: &[&str]) -> Answer {
        let body = json!({ "performance_id": ARENA, "seats": seats,
            "customer": { "reference": customer, "name": "문해준" } });
        self.send("POST", "/holds", &[], &body).await
    }

    pub(crate) async fn book(&self, hold: &Answer, key: &str) -> Answer {
        let body = json!({ "hold_id": hold.json()["hold_id"], "payment_method": "test" });
        self.send("POST", "/bookings", &[("idempotency-key", key)], &body).await
    }
}

/// Makes a key on the organiser's page.
pub(crate) async fn key(organiser: &Visitor, partner: &str, scopes: &[&str]) -> String {
    let page = organiser.get("/organiser/integrations").await;
    let mut fields = vec![("do", "make-key"), ("partner", partner)];
    fields.extend(scopes.iter().map(|scope| ("scope", *scope)));
    let made = organiser.form(&page, "/organiser/integrations", &fields).await;
    assert_eq!(made.status, 200, "{made:?}");
    let at = made.text.find("<code>gtk_").expect("the key is shown") + "<code>".len();
    made.text[at..].split('<').next().unwrap().to_owned()
}

#[track_caller]
fn problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
    let body = answer.json();
    assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_what_its_scopes_say_until_it_is_revoked() {
    let site = Site::open().await;
    let at = site.postman().await;
    let organiser = organiser(&site, at).await;
    let reader = Program::new(at, &key(&organiser, "north-tickets", &["read"]).await);
    assert_eq!(reader.get("/shows").await.status, 200);
    assert_eq!(reader.get(&format!("/performances/{ARENA}/sales")).await.status, 200);
    problem(&reader.get("/bookings").await, 403, "scope_missing");
    problem(&reader.get(&format!("/performances/{ARENA}/door-list")).await, 403, "scope_missing");
    problem(&reader.get("/nothing").await, 404, "not_found");
    problem(&reader.send("DELETE", "/shows", &[], &Value::Null).await, 405, "method_not_allowed");

    let nobody = Visitor::new(at);
    let refused = nobody.get("/api/v1/shows").await;
    problem(&refused, 401, "key_required");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    assert_eq!(nobody.get("/api/v1/openapi.json").await.status, 200);
    // A visitor's session is no key, and a key is no session.
    problem(&organiser.get("/api/v1/shows").await, 401, "key_required");
    let bearer = format!("Bearer {}", reader.key);
    let as_visitor = nobody.send("GET", "/api/bookings", &[("authorization", &bearer)], String::new()).await;
    assert_eq!(as_visitor.status, 401);
    // Nothing of the secret is in the database.
    let secret = reader.key.rsplit('_').next().unwrap();
    let kept = format!("SELECT COUNT(*) FROM ticketing.api_keys WHERE secret_hash LIKE '%{secret}%'");
    assert_eq!(site.number(&kept).await, 0);

    let page = organiser.get("/organiser/integrations").await;
    assert!(!page.text.contains(secret), "the key is shown once");
    let id = reader.key.split('_').nth(1).unwrap();
    let revoke = [("do", "revoke-key"), ("id", id)];
    assert_eq!(organiser.form(&page, "/organiser/integrations", &revoke).await.status, 303);
    problem(&reader.get("/shows").await, 401, "key_required");
    let log = organiser.get("/organiser/staff").await.text;
    assert!(log.contains("key_made") && log.contains("key_revoked"), "{log}");
    // Whoever is no organiser makes no key.
    let visitor = Visitor::signed_up(at).await;
    assert_eq!(visitor.get("/organiser/integrations").await.status, 403);
    let make = [("do", "make-key"), ("partner", "evil"), ("scope", "sell")];
    assert_eq!(visitor.form(&page, "/organiser/integrations", &make).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_asks_too_fast_is_told_when_to_ask_again() {
    let site = Site::open().await;
    let at = site.postman().await;
    let organiser = organiser(&site, at).await;
    let program = Program::new(at, &key(&organiser, "hasty", &["read"]).await);
    site.admin().await.query_drop("UPDATE ticketing.api_keys SET per_second = 3").await.unwrap();
    let mut last = program.get("/ticket-key").await;
    problem(&last, 403, "scope_missing");
    for _ in 0..20 {
        last = program.get("/shows").await;
        if last.status == 429 {
            break;
        }
    }
    problem(&last, 429, "too_fast");
    assert_eq!(last.header("retry-after"), "1");
    site.clock.advance(1_000);
    assert_eq!(program.get("/shows").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_books_for_its_customers_and_sees_nobody_elses() {
    let site = Site::open().await;
    let at = site.postman().await;
    let organiser = organiser(&site, at).await;
    let partner = Program::new(at, &key(&organiser, "north", &["sell", "read"]).await);
    let other = Program::new(at, &key(&organiser, "south", &["sell"]).await);

    let hold = partner.hold("c-1", &["F6-1-1", "F6-1-2"]).await;
    assert_eq!(hold.status, 201, "{hold:?}");
    let path = format!("/holds/{}", hold.json()["hold_id"].as_str().unwrap());
    assert_eq!(partner.get(&path).await.json(), hold.json());
    problem(&other.get(&path).await, 404, "not_found");
    let taken = other.hold("c-1", &["F6-1-2"]).await;
    problem(&taken, 409, "seat_taken");
    assert_eq!(taken.json()["seats"], json!(["F6-1-2"]));
    problem(&other.book(&hold, "k").await, 404, "not_found");

    let booked = partner.book(&hold, "k").await;
    assert_eq!(booked.status, 201, "{booked:?}");
    let again = partner.book(&hold, "k").await;
    assert_eq!((again.status, again.json()), (200, booked.json()));
    let no = booked.json()["booking_no"].as_str().unwrap().to_owned();
    let path = format!("/bookings/{no}");
    assert_eq!(partner.get(&path).await.json(), booked.json());
    problem(&other.get(&path).await, 404, "not_found");
    assert_eq!(partner.get(&format!("{path}/tickets")).await.json()["tickets"].as_array().unwrap().len(), 2);

    // One customer has the limit of one person, whichever request; another has a limit of their own.
    assert_eq!(partner.hold("c-1", &["F6-2-1", "F6-2-2"]).await.status, 201);
    problem(&partner.hold("c-1", &["F6-3-1"]).await, 409, "limit_reached");
    let second = partner.hold("c-2", &["F6-3-1"]).await;
    assert_eq!(partner.book(&second, "k").await.status, 201, "a key counts for one customer");

    let list = partner.get("/bookings?limit=1").await.json();
    assert_eq!(list["items"][0]["customer_reference"], "c-2");
    let next = list["next_cursor"].as_str().unwrap();
    let list = partner.get(&format!("/bookings?limit=1&cursor={next}")).await.json();
    assert_eq!((&list["items"][0], &list["next_cursor"]), (&booked.json(), &Value::Null));
    assert_eq!(other.get("/bookings").await.json()["items"], json!([]));

    let terms = partner.get(&format!("{path}/cancellation")).await.json();
    let agreed = json!({ "fee_won": terms["fee_won"] });
    problem(&other.send("POST", &format!("{path}/cancellation"), &[], &agreed).await, 404, "not_found");
    for _ in 0..2 {
        let done = partner.send("POST", &format!("{path}/cancellation"), &[], &agreed).await;
        assert_eq!((done.status, &done.json()["state"]), (200, &json!("cancelled")), "{done:?}");
        assert_eq!(done.json()["cancellation"]["refund_won"], terms["refund_won"]);
    }
    let sales = partner.get(&format!("/performances/{ARENA}/sales")).await.json();
    assert_eq!((&sales["sold"], &sales["cancelled"]), (&json!(1), &json!(1)));
    // No letter goes to somebody whose address we do not have.
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.outbox o JOIN ticketing.api_customers c ON c.account_id = o.account_id WHERE o.kind = 'confirm'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_has_is_not_sent_again_until_it_changes() {
    let site = Site::open().await;
    let at = site.postman().await;
    let organiser = organiser(&site, at).await;
    let partner = Program::new(at, &key(&organiser, "north", &["sell"]).await);
    for path in
        ["/shows".to_owned(), format!("/performances/{ARENA}"), format!("/performances/{ARENA}/availability")]
    {
        let first = partner.get(&path).await;
        let tag = first.header("etag").to_owned();
        let again = partner.send("GET", &path, &[("if-none-match", &tag)], &Value::Null).await;
        assert_eq!(
            (again.status, again.text.as_str(), again.header("etag")),
            (304, "", tag.as_str()),
            "{path}"
        );
    }
    let path = format!("/performances/{ARENA}/availability");
    let before = partner.get(&path).await;
    let free = |answer: &Answer| answer.json()["free"].as_u64().unwrap();
    let sections: u64 =
        before.json()["sections"].as_array().unwrap().iter().map(|s| s["free"].as_u64().unwrap()).sum();
    assert_eq!(free(&before), sections);
    assert_eq!(partner.hold("c", &["F6-1-1"]).await.status, 201);
    site.clock.advance(1_000);
    let after = partner.send("GET", &path, &[("if-none-match", before.header("etag"))], &Value::Null).await;
    assert_eq!((after.status, free(&after)), (200, free(&before) - 1));
    let mut pages = Vec::new();
    let mut path = "/performances?limit=7".to_owned();
    loop {
        let page = partner.get(&path).await.json();
        pages.extend(page["items"].as_array().unwrap().iter().map(|p| p["id"].as_u64().unwrap()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("/performances?limit=7&cursor={next}");
    }
    let all = site.number("SELECT COUNT(*) FROM ticketing.performances").await;
    pages.dedup();
    assert_eq!(u64::try_from(pages.len()).unwrap(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_program_lets_each_ticket_in_once() {
    let site = Site::open().await;
    let at = site.postman().await;
    let organiser = organiser(&site, at).await;
    let partner = Program::new(at, &key(&organiser, "north", &["sell"]).await);
    let door = Program::new(at, &key(&organiser, "gate", &["door"]).await);
    let booked = partner.book(&partner.hold("c-1", &["F6-1-1", "F6-1-2"]).await, "k").await.json();
    let tickets = format!("/bookings/{}/tickets", booked["booking_no"].as_str().unwrap());
    let ticket = partner.get(&tickets).await.json()["tickets"][0]["ticket"].clone();
    let scan = async |device: &str, ticket: &Value| {
        let scans = json!([{ "ticket": ticket, "number": 1, "at_ms": site.clock.now_ms() }]);
        let body = json!({ "device": device, "scans": scans });
        let answer = door.send("POST", &format!("/performances/{ARENA}/check-ins"), &[], &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["verdicts"][0].clone()
    };
    assert_eq!(scan("north", &ticket).await, json!({ "verdict": "enter", "seat": "F6-1-1" }));
    assert_eq!(scan("south", &ticket).await["verdict"], "again");
    assert_eq!(scan("south", &json!("GL1.x.y")).await["verdict"], "forged");
    let list = door.get(&format!("/performances/{ARENA}/door-list")).await.json();
    assert_eq!(list["items"][0]["name"], "문해준");
    assert!(list["items"][0]["entered_at"].is_string() && list["items"][1]["entered_at"].is_null(), "{list}");
    assert!(
        organiser.get("/organiser/staff").await.text.contains("of gate"),
        "names were read: it is written down"
    );
}
