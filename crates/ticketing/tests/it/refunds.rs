//! An organiser gives bookings back, with a reason that the visitor reads.

use crate::{
    accounts::member,
    organiser::{books, organiser},
    site::{ARENA, Site, Visitor, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_says_why_and_costs_nothing_where_the_house_is_at_fault() {
    let site = Site::open().await;
    let at = site.postman().await;
    organiser(&site, at).await;
    let visitor = member(at, "buyer@example.com").await;
    let [cast, asked, gone] = [["F6-1-1", "F6-1-2"].as_slice(), &["F6-2-1"], &["F6-3-1"]]
        .map(|seats| books(&visitor, ARENA, seats));
    let (cast, asked, gone) = (cast.await, asked.await, gone.await);
    let path = |no: &str| format!("/organiser/bookings/{no}/refund");
    for somebody in [&visitor, &Visitor::signed_up(at).await] {
        assert_eq!(somebody.get(&path(&cast)).await.status, 403);
        let page = somebody.get("/my/profile").await;
        let form = [("reason", "seat"), ("fee", "none")];
        assert_eq!(somebody.form(&page, &path(&cast), &form).await.status, 403);
    }
    // The free day after booking is over, so that the policy keeps something, or would.
    site.clock.advance(2 * 86_400_000);
    // So are the sessions.
    let (organiser, visitor) =
        (member(at, "organiser@example.com").await, member(at, "buyer@example.com").await);
    let page = organiser.get(&path(&cast)).await;
    assert!(page.status == 200 && page.text.contains("출연진이 바뀌었어요"), "{}", page.text);
    let bare = [("reason", "unfair"), ("fee", "none"), ("note", " ")];
    assert_eq!(organiser.form(&page, &path(&cast), &bare).await.status, 400, "an accusation needs words");
    let endless = "가".repeat(201);
    let long = [("reason", "seat"), ("fee", "none"), ("note", endless.as_str())];
    assert_eq!(organiser.form(&page, &path(&cast), &long).await.status, 400);
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.cancellations").await, 0);

    // The policy's fee is not kept of what the house caused, whatever the form says.
    let ours = [("reason", "cast_changed"), ("fee", "policy"), ("note", "문해준 배우가 다쳤어요.")];
    for _ in 0..2 {
        assert_eq!(organiser.form(&page, &path(&cast), &ours).await.status, 303);
    }
    let told = visitor.get("/api/bookings").await.json();
    let mine = told.as_array().unwrap().iter().find(|b| b["booking_no"] == cast.as_str()).unwrap().clone();
    assert_eq!(mine["cancelled"]["fee_won"], 0);
    assert_eq!(mine["cancelled"]["refund_won"], mine["amount_won"]);
    let seen = visitor.get(&format!("/bookings/{cast}")).await.text;
    assert!(seen.contains("출연진이 바뀌었어요") && seen.contains("문해준 배우가 다쳤어요."), "{seen}");
    let letter = site.letter("cancelled", "buyer@example.com").await;
    assert!(
        letter.contains("The cast has changed") && letter.contains("문해준 배우가 다쳤어요."),
        "{letter}"
    );

    // At the visitor's wish it costs what it would have cost them.
    let fee = visitor.get(&format!("/api/bookings/{asked}/cancel")).await.json()["fee_won"].as_u64().unwrap();
    let wish = [("reason", "asked"), ("fee", "policy"), ("note", "")];
    assert_eq!(organiser.form(&page, &path(&asked), &wish).await.status, 303);
    let kept = site.number("SELECT CAST(SUM(fee_won) AS UNSIGNED) FROM ticketing.cancellations").await;
    assert_eq!(kept, fee);

    // Nobody is sold a seat of what does not take place; others come back as they always do.
    let off = [("reason", "show_cancelled"), ("fee", "none"), ("note", "")];
    assert_eq!(organiser.form(&page, &path(&gone), &off).await.status, 303);
    site.clock.advance(12 * 60_000);
    let other = Visitor::signed_up(at).await;
    assert_eq!(other.hold(ARENA, "", &["F6-3-1"]).await.status, 409);
    assert_eq!(other.hold(ARENA, "", &["F6-1-1"]).await.status, 201);
    until("all the money is back", || async {
        site.number("SELECT COUNT(*) FROM ticketing.cancellations WHERE state = 'refunded'").await == 3
    })
    .await;
    let log = organiser.get("/organiser/staff").await.text;
    assert_eq!(log.matches("booking_refunded").count(), 3, "once each");
    let report = organiser.get(&format!("/organiser/performances/{ARENA}")).await.text;
    assert!(report.contains(&path(&cast)));
}
