//! Accounts over a real database and a real mailbox: letters, new passwords, lock-outs, the end.

use serde_json::json;

use crate::site::{ARENA, Answer, Site, Visitor};

const OLD: &str = "correct horse";
const NEW: &str = "battery staple";

/// Somebody signed up under this address.
pub(crate) async fn member(at: std::net::SocketAddr, email: &str) -> Visitor {
    let mut visitor = Visitor::new(at);
    let body = json!({ "email": email, "name": "해준", "password": OLD, "terms": true });
    let answer = visitor.post("/api/signup", "", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    visitor.keep(&answer);
    visitor
}

/// A browser that has seen a page, so that forms on it can be sent.
async fn stranger(at: std::net::SocketAddr) -> Visitor {
    let mut visitor = Visitor::new(at);
    let page = visitor.get("/forgot").await;
    visitor.keep(&page);
    visitor
}

async fn login(at: std::net::SocketAddr, email: &str, password: &str) -> Answer {
    Visitor::new(at).post("/api/login", "", &json!({ "email": email, "password": password })).await
}

/// The path of the link in a letter.
pub(crate) fn link(letter: &str) -> String {
    let from = letter.find("http://tickets.test/").unwrap_or_else(|| panic!("no link: {letter}"));
    letter[from + "http://tickets.test".len()..].split_whitespace().next().unwrap().to_owned()
}

/// Asks for a letter and chooses a new password by its link.
async fn reset(
    site: &Site,
    at: std::net::SocketAddr,
    email: &str,
    password: &str,
) -> (Visitor, String, Answer) {
    let visitor = stranger(at).await;
    let page = visitor.get("/forgot").await;
    assert_eq!(visitor.form(&page, "/forgot", &[("email", email)]).await.status, 200);
    let path = link(&site.letter("reset", email).await);
    let page = visitor.get(&path).await;
    assert_eq!(page.status, 200, "{page:?}");
    let token = path.split_once("t=").unwrap().1.to_owned();
    let done = visitor.form(&page, "/reset", &[("t", &token), ("password", password)]).await;
    (visitor, token, done)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_confirms_the_address_that_the_letter_went_to() {
    let site = Site::open().await;
    let at = site.postman().await;
    let visitor = member(at, "haejun@example.com").await;
    assert!(visitor.get("/my/profile").await.text.contains("아직 확인하지 않은 주소예요"));

    let path = link(&site.letter("confirm", "haejun@example.com").await);
    let page = visitor.get(&path).await;
    assert!(
        visitor.get("/my/profile").await.text.contains("아직 확인하지"),
        "opening a link confirms nothing"
    );
    let token = path.split_once("t=").unwrap().1;
    let forged = token.replacen(char::is_numeric, "9", 1);
    for bad in ["", "1.2.3", &forged] {
        let refused = visitor.form(&page, "/confirm", &[("t", bad)]).await;
        assert_eq!(refused.status, 410, "{bad}: {refused:?}");
    }
    assert_eq!(visitor.form(&page, "/confirm", &[("t", token)]).await.status, 200);
    assert!(visitor.get("/my/profile").await.text.contains("확인한 주소예요"));
    site.clock.advance(86_400_000);
    let late = stranger(at).await;
    let page = late.get("/forgot").await;
    assert_eq!(late.form(&page, "/confirm", &[("t", token)]).await.status, 410, "a day later");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_replaced_once_and_every_session_ends() {
    let site = Site::open().await;
    let (at, elsewhere) = (site.postman().await, site.ready_instance().await);
    let mut visitor = member(at, "irang@example.com").await;
    assert_eq!(visitor.get("/my").await.status, 200);

    // Whether anybody has an address, nobody learns.
    let anybody = stranger(at).await;
    let page = anybody.get("/forgot").await;
    let known = anybody.form(&page, "/forgot", &[("email", "irang@example.com")]).await;
    let unknown = anybody.form(&page, "/forgot", &[("email", "nobody@example.com")]).await;
    let body = |answer: &Answer| answer.text.split("<main").nth(1).unwrap().to_owned();
    assert_eq!((known.status, body(&known)), (unknown.status, body(&unknown)));

    let (_, token, done) = reset(&site, at, "irang@example.com", NEW).await;
    assert_eq!((done.status, done.header("location")), (303, "/login"), "{done:?}");
    assert_eq!(login(at, "irang@example.com", OLD).await.status, 401);
    assert_eq!(login(at, "irang@example.com", NEW).await.status, 200);
    let mut back = Visitor::new(at);
    let answer = login(at, "irang@example.com", NEW).await;
    back.keep(&answer);
    assert_eq!(back.get("/my").await.status, 200, "a session begun right after counts");
    site.letter("password", "irang@example.com").await;

    // Once, here and elsewhere.
    let again = stranger(elsewhere).await;
    let page = again.get("/forgot").await;
    let twice = again.form(&page, "/reset", &[("t", &token), ("password", "third password")]).await;
    assert_eq!(twice.status, 410, "{twice:?}");
    assert_eq!(visitor.get("/my").await.header("location"), "/login?next=/my", "the old session, here");
    visitor.at = elsewhere;
    crate::site::until("the old session ends elsewhere", || async { visitor.get("/my").await.status == 303 })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_wrong_passwords_pause_an_address_whoever_has_it_and_a_letter_opens_it() {
    let site = Site::open().await;
    let (at, elsewhere) = (site.postman().await, site.ready_instance().await);
    member(at, "dogyeom@example.com").await;
    for email in ["dogyeom@example.com", "nobody@example.com"] {
        for n in 0..10 {
            let at = if n % 2 == 0 { at } else { elsewhere };
            assert_eq!(login(at, email, "wrong password").await.status, 401, "{n}");
        }
        let paused = login(elsewhere, email, OLD).await;
        assert_eq!((paused.status, &paused.json()["error"]), (429, &json!("too_many_tries")));
    }
    let (_, _, done) = reset(&site, at, "dogyeom@example.com", NEW).await;
    assert_eq!(done.status, 303, "{done:?}");
    assert_eq!(login(elsewhere, "dogyeom@example.com", NEW).await.status, 200);
    assert_eq!(login(elsewhere, "nobody@example.com", OLD).await.status, 429);
    site.clock.advance(15 * 60_000);
    assert_eq!(login(elsewhere, "nobody@example.com", OLD).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_changed_by_whoever_knows_the_password() {
    let site = Site::open().await;
    let at = site.postman().await;
    let mut visitor = member(at, "gaon@example.com").await;
    let other = {
        let mut other = Visitor::new(at);
        let answer = login(at, "gaon@example.com", OLD).await;
        other.keep(&answer);
        other
    };
    let page = visitor.get("/my/profile").await;
    let named = visitor.form(&page, "/my/profile", &[("name", "Yoon Gaon")]).await;
    assert!(named.text.contains("이름을 바꿨어요") && named.text.contains("Yoon Gaon"), "{named:?}");
    assert_eq!(visitor.form(&page, "/my/profile", &[("name", " ")]).await.status, 400);

    let wrong = visitor.form(&page, "/my/password", &[("current", "not this one"), ("password", NEW)]).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    let short = visitor.form(&page, "/my/password", &[("current", OLD), ("password", "short")]).await;
    assert_eq!(short.status, 400, "{short:?}");
    let changed = visitor.form(&page, "/my/password", &[("current", OLD), ("password", NEW)]).await;
    assert_eq!(changed.status, 303, "{changed:?}");
    visitor.keep(&changed);
    assert_eq!(visitor.get("/my").await.status, 200, "this browser goes on");
    assert_eq!(other.get("/my").await.status, 303, "others do not");
}

#[tokio::test(flavor = "multi_thread")]
async fn bookings_are_told_by_letter_once_however_many_send() {
    let site = Site::open().await;
    let at = site.postman().await;
    site.postman().await;
    let visitor = member(at, "haejun@example.com").await;
    let hold = visitor.hold(ARENA, "", &["F6-1-1", "F6-1-2"]).await.json();
    let booking = visitor.pay(&hold, "k").await.json();
    let no = booking["booking_no"].as_str().unwrap().to_owned();
    site.clock.advance(11_000);
    let letter = site.letter("booked", "haejun@example.com").await;
    assert!(letter.contains(&format!("http://tickets.test/bookings/{no}")), "{letter}");

    let page = visitor.get(&format!("/bookings/{no}")).await;
    let fee = page.text.split("name=\"fee_won\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let path = format!("/bookings/{no}/cancel");
    assert_eq!(visitor.form(&page, &path, &[("fee_won", fee)]).await.status, 303);
    let letter = site.letter("cancelled", "haejun@example.com").await;
    assert!(letter.contains("돌려드리는 금액"), "{letter}");
    let sent = "SELECT COUNT(*) FROM ticketing.outbox WHERE sent_at IS NOT NULL";
    crate::site::until("every letter is sent", || async { site.number(sent).await == 3 }).await;
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.outbox").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_leaves_its_bookings_and_no_person() {
    let site = Site::open().await;
    let at = site.postman().await;
    let visitor = member(at, "farewell@example.com").await;
    let hold = visitor.hold(ARENA, "", &["F6-2-1"]).await.json();
    let no = visitor.pay(&hold, "k").await.json()["booking_no"].as_str().unwrap().to_owned();

    let page = visitor.get("/my/profile").await;
    let kept = visitor.form(&page, "/my/close", &[("current", OLD)]).await;
    assert_eq!(kept.status, 409, "tickets are left: {kept:?}");
    let terms = visitor.get(&format!("/api/bookings/{no}/cancel")).await.json();
    let fee = json!({ "fee_won": terms["fee_won"] });
    assert_eq!(visitor.post(&format!("/api/bookings/{no}/cancel"), "", &fee).await.status, 204);
    assert_eq!(visitor.form(&page, "/my/close", &[("current", "wrong one")]).await.status, 422);
    let closed = visitor.form(&page, "/my/close", &[("current", OLD)]).await;
    assert_eq!((closed.status, closed.header("location")), (303, "/"), "{closed:?}");

    assert_eq!(visitor.get("/my").await.status, 303);
    assert_eq!(login(at, "farewell@example.com", OLD).await.status, 401);
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.bookings").await, 1);
    // Nothing that names a person is left, whatever table it stood in.
    let mut admin = site.admin().await;
    let columns: Vec<(String, String)> = mysql_async::prelude::Queryable::query(
        &mut admin,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'ticketing' \
         AND data_type IN ('char', 'varchar', 'text', 'longtext', 'json')",
    )
    .await
    .unwrap();
    assert!(columns.len() > 10);
    for (table, column) in columns {
        let sql = format!(
            "SELECT COUNT(*) FROM (SELECT CONVERT(`{column}` USING utf8mb4) AS said FROM ticketing.`{table}`) x \
             WHERE said = '해준' OR said LIKE '%farewell%'"
        );
        assert_eq!(site.number(&sql).await, 0, "{table}.{column} still names them");
    }
    // The address is free for somebody new.
    member(at, "farewell@example.com").await;
}
