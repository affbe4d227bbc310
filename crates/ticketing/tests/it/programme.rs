//! An organiser puts something of their own on sale: a hall from a spreadsheet, a show, a performance, guests' seats.

use ticketing::calendar::korea;

use crate::{
    organiser::organiser,
    site::{Site, Visitor, until},
};

const CSV: &str = "section,name_ko,name_en,grade,row,seats,wheelchair,sight,note_ko,note_en\n\
    A1,왼쪽,Left,R,1,8,,1,기둥이 있어요,A pillar\nA1,,,,2,10,9-10,,,\nA2,가운데,Centre,VIP,1,12,,,,\n";

/// As a form's field has it, in Korean time.
fn field(at_ms: u64) -> String {
    let c = korea(at_ms);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}", c.year, c.month, c.day, c.hour, c.minute)
}

/// The number of an option in a page's form, by the beginning of its text.
fn option(page: &str, text: &str) -> String {
    let before = page.split(&format!(">{text}")).next().unwrap();
    assert_ne!(before, page, "{text}");
    before.rsplit("value=\"").next().unwrap().split('"').next().unwrap().to_owned()
}

/// Puts a hall of one's own, a show of VIP and R, and a performance of it in so many days on sale since an hour ago.
pub(crate) async fn puts_on_sale(site: &Site, organiser: &Visitor, csv: &str, limit: u8, days: u64) -> u32 {
    let page = organiser.get("/organiser/halls").await;
    let hall = [("name_ko", "작은 극장"), ("name_en", "Small"), ("csv", csv)];
    assert_eq!(organiser.form(&page, "/organiser/halls", &hall).await.status, 303);
    let texts =
        ["title", "tagline", "about", "cast"].map(|name| [format!("{name}_ko"), format!("{name}_en")]);
    let mut show: Vec<(&str, &str)> = texts.iter().flatten().map(|name| (name.as_str(), "한밤")).collect();
    show.extend([("category", "musical"), ("slug", "midnight"), ("runtime_min", "90"), ("age_min", "0")]);
    show.extend([("price_VIP", "60000"), ("price_R", "40000")]);
    let made = organiser.form(&page, "/organiser/shows", &show).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let page = organiser.get("/organiser/programme").await;
    let (show, hall) = (option(&page.text, "한밤"), option(&page.text, "작은 극장"));
    let now_ms = site.clock.now_ms();
    let (starts, opens) = (field(now_ms + days * 86_400_000), field(now_ms - 3_600_000));
    let limit = limit.to_string();
    let fields = [
        ("show", show.as_str()),
        ("hall", &hall),
        ("starts", &starts),
        ("sale_opens", &opens),
        ("limit", &limit),
    ];
    let made = organiser.form(&page, "/organiser/performances", &fields).await;
    assert_eq!(made.status, 303, "{}", made.text);
    made.header("location").split_once("made=").unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hall_a_show_and_a_performance_are_sold_like_any_other() {
    let site = Site::open().await;
    let at = site.postman().await;
    let organiser = organiser(&site, at).await;
    let elsewhere = Visitor { at: site.ready_instance().await, ..organiser.clone() };
    let visitor = Visitor::signed_up(at).await;
    for path in ["/organiser/halls", "/organiser/programme"] {
        assert_eq!(visitor.get(path).await.status, 403, "{path}");
    }

    // A hall: its faults by line and column, then its seats.
    let page = organiser.get("/organiser/halls").await;
    let name = [("name_ko", "작은 등대"), ("name_en", "Little Lighthouse")];
    let with = |csv: &'static str| [name.as_slice(), &[("csv", csv)]].concat();
    let faulty = organiser.form(&page, "/organiser/halls", &with("section,grade\nA1,gold")).await;
    assert_eq!(faulty.status, 400);
    assert!(faulty.text.contains("1번째 줄 · <code>name_ko</code>"), "{}", faulty.text);
    assert!(
        faulty.text.contains("작은 등대") && faulty.text.contains("A1,gold"),
        "what was written is still there"
    );
    let foreign = organiser
        .send(
            "POST",
            "/organiser/halls",
            &[("content-type", "application/x-www-form-urlencoded")],
            "csv=x".into(),
        )
        .await;
    assert_eq!(foreign.status, 403);
    let taken = organiser.form(&page, "/organiser/halls", &with(CSV)).await;
    assert_eq!(taken.status, 303, "{}", taken.text);

    // A show, and what is wrong with one.
    let page = organiser.get("/organiser/programme").await;
    let show = |slug: &'static str, price: &'static str| {
        [
            ("category", "musical"),
            ("title_ko", "바다의 밤"),
            ("title_en", "Night Sea"),
            ("tagline_ko", "한 줄"),
            ("tagline_en", "One line"),
            ("about_ko", "소개"),
            ("about_en", "About"),
            ("cast_ko", "누구"),
            ("cast_en", "Who"),
            ("slug", slug),
            ("runtime_min", "100"),
            ("age_min", "8"),
            ("price_VIP", price),
            ("price_R", "40000"),
        ]
    };
    for (slug, price) in [("Night Sea", "60000"), ("night-sea", "60005"), ("lighthouse-winter", "60000")] {
        let no = organiser.form(&page, "/organiser/shows", &show(slug, price)).await;
        assert_eq!((no.status, no.text.contains("role=\"alert\"")), (400, true), "{slug} {price}");
    }
    assert_eq!(organiser.form(&page, "/organiser/shows", &show("night-sea", "60,000")).await.status, 303);

    // A performance of it in that hall.
    let page = organiser.get("/organiser/programme").await;
    let (show, hall) = (option(&page.text, "바다의 밤"), option(&page.text, "작은 등대"));
    let now_ms = site.clock.now_ms();
    let (starts, opens) = (field(now_ms + 20 * 86_400_000), field(now_ms - 3_600_000));
    let late = field(now_ms + 21 * 86_400_000);
    let performance = |starts: &str, opens: &str, limit: &str| {
        [("show", &show), ("hall", &hall)]
            .map(|(k, v)| (k, v.clone()))
            .into_iter()
            .chain([
                ("starts", starts.to_owned()),
                ("sale_opens", opens.to_owned()),
                ("limit", limit.to_owned()),
            ])
            .collect::<Vec<_>>()
    };
    let post = async |fields: Vec<(&str, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
        organiser.form(&page, "/organiser/performances", &fields).await
    };
    for odd in [
        performance(&starts, &late, "4"),
        performance(&opens, &opens, "4"),
        performance(&starts, &opens, "9"),
        performance("tomorrow", &opens, "4"),
    ] {
        assert_eq!(post(odd.clone()).await.status, 400, "{odd:?}");
    }
    let made = post(performance(&starts, &opens, "3")).await;
    assert_eq!(made.status, 303, "{}", made.text);
    assert_eq!(post(performance(&starts, &opens, "3")).await.status, 400, "the hall is taken then");
    let id: u32 = made.header("location").split_once("made=").unwrap().1.parse().unwrap();

    // Guests' seats: all or none; nobody else gets them; given free, they are sold.
    let guests = format!("/organiser/performances/{id}/guests");
    let page = organiser.get(&guests).await;
    let keep = |seats: &'static str| [("seats", seats), ("note", "출연진 가족")];
    assert_eq!(organiser.form(&page, &guests, &keep("A1-1-1 A1-1-9")).await.status, 400, "no such seat");
    assert_eq!(organiser.form(&page, &guests, &keep("A1-1-1, A1-1-2")).await.status, 303);
    assert_eq!(visitor.hold(id, "", &["A1-1-2"]).await.status, 409);
    let hold = visitor.hold(id, "", &["A1-1-3", "A2-1-1"]).await;
    assert_eq!(hold.status, 201, "{hold:?}");
    assert_eq!(hold.json()["amount_won"], 100_000);
    let taken = organiser.form(&page, &guests, &keep("A1-1-3 A1-1-4")).await;
    assert!(taken.status == 400 && taken.text.contains("A1-1-3"), "{}", taken.text);
    assert_eq!(visitor.hold(id, "", &["A1-1-4"]).await.status, 201, "none of them was kept back");
    let limit = visitor.hold(id, "", &["A1-1-5"]).await;
    assert_eq!(limit.json()["error"], "limit_reached");
    let free = [("seats", "A1-1-2"), ("free", "yes")];
    assert_eq!(organiser.form(&page, &guests, &free).await.status, 303);
    assert_eq!(organiser.get(&guests).await.text.matches("출연진 가족").count(), 1);
    let other = Visitor::signed_up(at).await;
    assert_eq!(other.hold(id, "", &["A1-1-2"]).await.status, 201);
    assert_eq!(visitor.pay(&hold.json(), "k").await.status, 201);

    // The seat map draws it, at the other instance within seconds, and the log knows who did what.
    until("the other instance sells it, too", || async {
        elsewhere.get(&format!("/api/performances/{id}")).await.status == 200
    })
    .await;
    let map = elsewhere.get(&format!("/performances/{id}?section=A1")).await;
    assert!(
        map.status == 200 && map.text.contains("data-seat=\"A1-2-10\"") && map.text.contains("기둥이 있어요")
    );
    assert_eq!(elsewhere.get("/shows/night-sea").await.status, 200);
    let log = organiser.get("/organiser/staff").await.text;
    for what in ["hall_added", "show_added", "performance_added", "seats_kept_back", "seats_given_free"] {
        assert!(log.contains(what), "{what}");
    }
}
