//! The pages as a browser without scripts walks through them.

use crate::site::{ARENA, Site, Visitor};

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_without_scripts_books_a_seat_and_finds_it_at_another_instance() {
    let site = Site::open().await;
    let (one, two) = (site.ready_instance().await, site.ready_instance().await);
    let mut visitor = Visitor::new(one);

    let home = visitor.get("/").await;
    assert!(home.text.contains("<html lang=\"ko\"") && home.text.contains("다음 예매 오픈"), "{}", home.text);
    assert!(home.header("content-security-policy").contains("script-src 'self'"));
    assert!(!home.text.contains("<script>") && !home.text.contains(" style="));

    // Chooses first, signs up second, and the seats are still chosen.
    let map = visitor.get(&format!("/performances/{ARENA}?section=F3")).await;
    visitor.keep(&map);
    let hold_path = format!("/performances/{ARENA}/hold");
    let seats = [("section", "F3"), ("seats", "F3-4-5"), ("seats", "F3-4-6")];
    let away = visitor.form(&map, &hold_path, &seats).await;
    assert_eq!(away.status, 303);
    let login = away.header("location").to_owned();
    assert!(login.starts_with("/login?next="), "{login}");
    let form = visitor.get(&login.replace("/login", "/signup")).await;
    let next = form.text.split("name=\"next\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let next = next.replace("&amp;", "&");
    let fields = [
        ("email", "haejun@example.com"),
        ("name", "Haejun"),
        ("password", "correct horse"),
        ("terms", "yes"),
    ];
    let signed = visitor.form(&form, "/signup", &fields).await;
    assert_eq!(signed.status, 303, "{}", signed.text);
    visitor.keep(&signed);
    let map = visitor.get(&next).await;
    assert!(map.text.contains("value=\"F3-4-5\" data-name=\"플로어 3구역 4열 5번\" checked"), "{next}");

    let held = visitor.form(&map, &hold_path, &seats).await;
    let checkout_path = held.header("location").to_owned();
    assert!(checkout_path.starts_with("/checkout/"), "{held:?}");
    let checkout = visitor.get(&checkout_path).await;
    assert!(checkout.text.contains("352,000원 결제하기"), "{}", checkout.text);
    let paid = visitor.form(&checkout, &format!("{checkout_path}/pay"), &[("method", "test")]).await;
    let done_path = paid.header("location").to_owned();
    assert!(done_path.starts_with("/bookings/"), "{paid:?}");
    // Pressed twice: the same booking.
    let again = visitor.form(&checkout, &format!("{checkout_path}/pay"), &[("method", "test")]).await;
    assert_eq!(again.header("location"), done_path);

    visitor.at = two;
    let mine = visitor.get("/my").await;
    assert!(mine.text.contains("Haejun님의 티켓") && mine.text.contains(&done_path), "{}", mine.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_seat_is_answered_kindly_in_both_languages() {
    let site = Site::open().await;
    let at = site.ready_instance().await;
    let first = Visitor::signed_up(at).await;
    let hold = first.hold(ARENA, "", &["F2-7-7"]).await.json();
    assert_eq!(first.pay(&hold, "k").await.status, 201);

    let mut second = Visitor::signed_up(at).await;
    for (lang, sentence) in [
        ("ko", "방금 다른 분이 먼저 선택했어요. 가까운 자리를 찾아볼까요?"),
        ("en", "Somebody else was a moment faster. Shall we look for a seat nearby?"),
    ] {
        let chosen = second.get(&format!("/{lang}/performances/{ARENA}?section=F2")).await;
        second.keep(&chosen);
        let map = second.get(chosen.header("location")).await;
        assert!(map.text.contains(&format!("<html lang=\"{lang}\"")));
        let fields = [("section", "F2"), ("seats", "F2-7-7")];
        let answer = second.form(&map, &format!("/performances/{ARENA}/hold"), &fields).await;
        assert_eq!(answer.status, 409);
        assert!(answer.text.contains(sentence), "{}", answer.text);
        assert_eq!(second.hold(ARENA, "", &["F2-7-7"]).await.json()["message"], sentence);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_site_is_refused_and_nobody_learns_who_has_an_account() {
    let site = Site::open().await;
    let at = site.ready_instance().await;
    let known = Visitor::signed_up(at).await;
    let page = known.get("/my").await;

    let foreign = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "cross-site")];
    let token = page.text.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(known.send("POST", "/logout", &foreign, format!("token={token}")).await.status, 403);
    assert_eq!(known.send("POST", "/logout", &foreign[..1], "token=guess".into()).await.status, 403);
    let path = format!("/api/performances/{ARENA}/holds");
    assert_eq!(known.send("POST", &path, &[("content-type", "text/plain")], "{}".into()).await.status, 415);

    let ask = |email: &str| {
        let body = serde_json::json!({ "email": email, "password": "wrong horse" });
        let known = known.clone();
        async move { known.post("/api/login", "", &body).await }
    };
    let (a, b) = (ask("visitor0@example.com").await, ask("nobody@example.com").await);
    assert_eq!((a.status, &a.text), (401, &b.text));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_small_and_assets_are_kept() {
    let site = Site::open().await;
    let at = site.ready_instance().await;
    let visitor = Visitor::new(at);
    let zip = [("accept-encoding", "gzip")];
    let home = visitor.send("GET", "/", &zip, String::new()).await;
    assert_eq!(home.header("content-encoding"), "gzip");
    let mut bytes: usize = home.header("content-length").parse().unwrap();
    let plain = visitor.get("/").await.text;
    let mut addresses: Vec<&str> =
        plain.split('"').filter(|s| s.starts_with("/assets/") || s.starts_with("/posters/")).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert!(addresses.len() > 10);
    for address in addresses {
        let file = visitor.send("GET", address, &zip, String::new()).await;
        assert_eq!(file.status, 200, "{address}");
        assert!(file.header("cache-control").contains("immutable"), "{address}");
        bytes += file.header("content-length").parse::<usize>().unwrap();
        let etag = file.header("etag").to_owned();
        assert_eq!(
            visitor.send("GET", address, &[("if-none-match", &etag)], String::new()).await.status,
            304
        );
    }
    assert!(bytes < 60_000, "the first page weighs {bytes} bytes with all that it loads");
}
