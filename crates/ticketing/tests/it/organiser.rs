//! Organisers and doors over a real database: who may, how it sells, who came in.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{
    accounts::{link, member},
    site::{ARENA, MUSICAL, Site, Visitor},
};

/// Signs up with the organiser's address and confirms it.
pub(crate) async fn organiser(site: &Site, at: SocketAddr) -> Visitor {
    let visitor = member(at, "organiser@example.com").await;
    assert_eq!(visitor.get("/organiser").await.status, 403, "not before the address is confirmed");
    let path = link(&site.letter("confirm", "organiser@example.com").await);
    let page = visitor.get(&path).await;
    let token = path.split_once("t=").unwrap().1;
    assert_eq!(visitor.form(&page, "/confirm", &[("t", token)]).await.status, 200);
    visitor
}

/// Books seats and returns the booking's number.
pub(crate) async fn books(visitor: &Visitor, performance: u32, seats: &[&str]) -> String {
    let hold = visitor.hold(performance, "", seats).await.json();
    let paid = visitor.pay(&hold, seats[0]).await;
    assert_eq!(paid.status, 201, "{paid:?}");
    paid.json()["booking_no"].as_str().unwrap().to_owned()
}

async fn tickets(visitor: &Visitor, no: &str) -> Vec<String> {
    let list = visitor.get(&format!("/api/bookings/{no}/tickets")).await.json();
    list.as_array().unwrap().iter().map(|t| t["ticket"].as_str().unwrap().to_owned()).collect()
}

async fn cancels(visitor: &Visitor, no: &str) {
    let path = format!("/api/bookings/{no}/cancel");
    let fee = visitor.get(&path).await.json()["fee_won"].clone();
    assert_eq!(visitor.post(&path, "", &json!({ "fee_won": fee })).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_opens_what_it_is_for_and_nothing_else_until_it_is_taken() {
    let site = Site::open().await;
    let at = site.postman().await;
    let somebody = member(at, "somebody@example.com").await;
    let door = format!("/door/{ARENA}");
    let all = [
        "/organiser".to_owned(),
        "/organiser/staff".into(),
        format!("/organiser/performances/{ARENA}"),
        "/door".into(),
        door.clone(),
    ];
    for path in &all {
        assert_eq!(somebody.get(path).await.status, 403, "{path}");
        assert_eq!(Visitor::new(at).get(path).await.status, 303, "{path}");
    }
    assert_eq!(somebody.get(&format!("/api/door/{ARENA}")).await.status, 403);
    let organiser = organiser(&site, at).await;
    for path in &all {
        assert_eq!(organiser.get(path).await.status, 200, "{path}");
    }
    let page = organiser.get("/organiser/staff").await;
    let give = |has: &'static str| [("email", "somebody@example.com"), ("role", "door"), ("has", has)];
    assert_eq!(organiser.form(&page, "/organiser/staff", &give("yes")).await.status, 303);
    assert_eq!(somebody.get(&door).await.status, 200);
    assert_eq!(somebody.get("/organiser").await.status, 403);
    let nobody = [("email", "nobody@example.com"), ("role", "door"), ("has", "yes")];
    assert_eq!(organiser.form(&page, "/organiser/staff", &nobody).await.status, 404);
    assert_eq!(somebody.form(&page, "/organiser/staff", &give("yes")).await.status, 403);
    assert_eq!(organiser.form(&page, "/organiser/staff", &give("no")).await.status, 303);
    assert_eq!(somebody.get(&door).await.status, 403);
    let log = organiser.get("/organiser/staff").await.text;
    for what in ["role_given", "role_taken", "report_read"] {
        assert!(log.contains(what), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_what_was_sold_and_a_spreadsheet_gets_no_formula() {
    let site = Site::open().await;
    let at = site.postman().await;
    let organiser = organiser(&site, at).await;
    let visitor = member(at, "buyer@example.com").await;
    let page = visitor.get("/my/profile").await;
    assert_eq!(visitor.form(&page, "/my/profile", &[("name", "=1+1")]).await.status, 200);
    let kept = books(&visitor, ARENA, &["F6-1-1", "F6-1-2"]).await;
    let gone = books(&visitor, ARENA, &["F6-2-1"]).await;
    cancels(&visitor, &gone).await;

    let report = organiser.get(&format!("/organiser/performances/{ARENA}")).await.text;
    let number = |name: &str| {
        let after = report
            .split(&format!("<dt>{name}</dt><dd>"))
            .nth(1)
            .unwrap_or_else(|| panic!("{name}: {report}"));
        after.split('<').next().unwrap().to_owned()
    };
    assert_eq!((number("판매"), number("취소된 예매"), number("입장")), ("2".into(), "1".into(), "0".into()));
    let paid = site
        .number("SELECT CAST(SUM(price_won) AS UNSIGNED) FROM ticketing.seat_claims WHERE state = 'sold'")
        .await;
    assert_eq!(number("티켓 매출").replace(',', ""), format!("{paid}원"));

    let csv = organiser.get(&format!("/organiser/performances/{ARENA}/bookings.csv")).await;
    assert!(
        csv.header("content-type").starts_with("text/csv")
            && csv.header("content-disposition").contains("attachment")
    );
    let lines: Vec<&str> = csv.text.trim_start_matches('\u{feff}').trim_end().split("\r\n").collect();
    assert_eq!(lines.len(), 3, "{}", csv.text);
    let plain = |line: &str| line.replace('-', "");
    assert!(
        plain(lines[1]).starts_with(&format!("{kept},확정"))
            && lines[1].ends_with(",'=1+1,buyer@example.com"),
        "{}",
        lines[1]
    );
    assert!(plain(lines[2]).starts_with(&format!("{gone},취소")), "{}", lines[2]);
    let list = organiser.get(&format!("/organiser/performances/{ARENA}/door-list")).await.text;
    assert_eq!(list.matches('☐').count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_a_door_once_whichever_door_and_however_often_it_is_sent() {
    let site = Site::open().await;
    let at = site.postman().await;
    let door = organiser(&site, at).await;
    let visitor = member(at, "guest@example.com").await;
    let no = books(&visitor, ARENA, &["F6-1-1", "F6-1-2"]).await;
    let codes = tickets(&visitor, &no).await;
    let hall = visitor.get(&format!("/api/performances/{MUSICAL}/seats")).await.json();
    let seat = format!("{}-2-2", hall["sections"][0]["id"].as_str().unwrap());
    let other = books(&visitor, MUSICAL, &[&seat]).await;
    let other = tickets(&visitor, &other).await.remove(0);
    let gone = books(&visitor, ARENA, &["F6-2-1"]).await;
    let cancelled = tickets(&visitor, &gone).await.remove(0);
    cancels(&visitor, &gone).await;

    let path = format!("/api/door/{ARENA}/scans");
    let scan = async |device: &str, shown: &[(&str, u32, u64)]| -> Vec<Value> {
        let scans: Vec<Value> = shown
            .iter()
            .map(|(ticket, number, at_ms)| json!({ "ticket": ticket, "number": number, "at_ms": at_ms }))
            .collect();
        let answer = door.post(&path, "", &json!({ "device": device, "scans": scans })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json().as_array().unwrap().iter().map(|v| v["verdict"].clone()).collect()
    };
    let now = site.clock.now_ms();
    let first = [(codes[0].as_str(), 1, now)];
    assert_eq!(scan("north", &first).await, ["enter"]);
    assert_eq!(scan("north", &first).await, ["enter"], "the answer was lost, the scan sent again");
    assert_eq!(
        scan("south", &[(&codes[0], 1, now + 10), (&codes[1], 2, now + 20)]).await,
        ["again", "enter"]
    );
    let forged = codes[0].replacen("GL1.A", "GL1.B", 1);
    let odd = [(other.as_str(), 3, now), (&cancelled, 4, now), (&forged, 5, now)];
    assert_eq!(scan("south", &odd).await, ["elsewhere", "cancelled", "forged"]);
    // A door without a network had seen the second ticket first, and says so late: who was first follows from the times.
    assert_eq!(scan("east", &[(&codes[1], 1, now + 5)]).await, ["enter"]);
    assert_eq!(scan("south", &[(&codes[1], 2, now + 20)]).await, ["again"]);

    let kept = door.get(&format!("/api/door/{ARENA}")).await.json();
    assert_eq!(
        (kept["entered"].as_array().unwrap().len(), kept["cancelled"].as_array().unwrap().len()),
        (2, 1)
    );
    // A phone is dead: the door finds the booking by its number, and sees that both are in.
    let found = door.get(&format!("/door/{ARENA}?q={}", no.to_lowercase())).await.text;
    assert_eq!(found.matches("에 입장했어요").count(), 2, "{found}");
}
