//! JSON, uploads, XML, and what else is sent.

use super::{JSON, Template, enc, get, multipart, post_form, post_json, words::*};
use crate::harness::Request;

pub(super) const BODIES: &[Template] = &[
    // JSON.
    |m| {
        post_json(
            "/api/v1/login",
            &serde_json::json!({"email": m.pick(EMAILS), "password": m.token(16, b"aB3$!@#^&*()_+xYz9'\"<>")}),
        )
    },
    |m| {
        post_json(
            "/api/v1/reviews",
            &serde_json::json!({"text": m.pick(SENTENCES), "tags": ["뮤지컬", m.pick(QUERIES)], "stars": m.number(5)}),
        )
    },
    |m| {
        post_json(
            "/api/v1/orders",
            &serde_json::json!({"id": m.uuid(), "seats": [{"zone": "R", "row": 3, "number": m.number(40)}], "total": 150_000, "note": m.pick(SENTENCES)}),
        )
    },
    |m| {
        post_json(
            "/api/v1/events",
            &serde_json::json!({"events": [{"type": "page_view", "ts": 1_700_000_000_000u64 + m.number(99999), "url": format!("https://shop.example.kr{}?q={}", m.pick(PATHS), enc(m.pick(QUERIES))), "ref": ""}]}),
        )
    },
    |_| {
        post_json(
            "/api/v1/graph",
            &serde_json::json!({"name": "Chart", "points": [[1.5, -2.25], [3e-4, 1e10]], "unit": "°C"}),
        )
    },
    |m| {
        post_json(
            "/graphql",
            &serde_json::json!({"operationName": "Seats", "query": "query Seats($id: ID!) { performance(id: $id) { id title seats { row number free } } }", "variables": {"id": m.number(9999)}}),
        )
    },
    |m| {
        post_json(
            "/graphql",
            &serde_json::json!({"query": "mutation { addReview(input: {stars: 5, text: \"좋아요\"}) { id } }", "variables": null, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": m.hex(64)}}}),
        )
    },
    |m| post_json("/api/v1/notes", &serde_json::json!({"markdown": m.pick(CODE), "title": m.pick(SHOWS)})),
    |m| {
        post_json(
            "/api/v1/editor",
            &serde_json::json!({"html": format!("<h2>{}</h2><p>{}</p><p><img src=\"https://cdn.example.kr/p/{}.jpg\" alt=\"poster\"></p>", m.pick(NAMES), m.pick(&["안녕하세요", "Hello, world", "다음 주에 만나요"]), m.hex(12))}),
        )
    },
    |m| {
        post_json(
            "/api/v1/push",
            &serde_json::json!({"endpoint": format!("https://fcm.googleapis.com/fcm/send/{}:{}", m.base64url(11), m.base64url(134)), "keys": {"p256dh": m.base64url(87), "auth": m.base64url(22)}}),
        )
    },
    |_| {
        post_json(
            "/api/v1/settings",
            &serde_json::json!({"theme": "dark", "$schema": "https://example.kr/schema/settings.json", "limits": {"min": 0, "max": 100}, "locale": "ko_KR.UTF-8"}),
        )
    },
    |m| {
        post_json(
            "/api/v1/avatar",
            &serde_json::json!({"image": format!("data:image/png;base64,iVBORw0KGgo{}", m.base64(1200))}),
        )
    },
    |m| {
        post_json(
            "/api/v1/batch",
            &serde_json::json!({"requests": [{"method": "GET", "path": m.pick(PATHS)}, {"method": "POST", "path": "/orders", "body": {"n": m.number(5)}}]}),
        )
    },
    |m| {
        post_json(
            "/api/v1/webhook",
            &serde_json::json!({"ref": "refs/heads/main", "before": m.hex(40), "after": m.hex(40), "commits": [{"message": m.pick(SENTENCES), "author": {"name": m.pick(NAMES), "email": m.pick(EMAILS)}}]}),
        )
    },
    |m| {
        post_json(
            "/api/v1/search",
            &serde_json::json!({"query": {"bool": {"must": [{"match": {"title": m.pick(SHOWS)}}], "filter": [{"range": {"price": {"gte": 10000, "lte": 200000}}}]}}, "size": 20}),
        )
    },
    |m| {
        post_json(
            "/api/v1/chat",
            &serde_json::json!({"messages": [{"role": "user", "content": m.pick(SENTENCES)}, {"role": "assistant", "content": m.pick(SENTENCES)}], "stream": true}),
        )
    },
    |m| {
        post_json(
            "/api/v1/log",
            &serde_json::json!({"level": "error", "message": "TypeError: Cannot read properties of undefined (reading 'seat')", "stack": format!("at Seat.render (https://shop.example.kr/static/app.{}.js:1:{})", m.hex(6), m.number(90_000))}),
        )
    },
    |m| {
        Request::new("PUT", &format!("/api/v1/users/{}", m.number(9999))).body(
            JSON,
            serde_json::json!({"name": m.pick(NAMES), "email": m.pick(EMAILS), "marketing": false})
                .to_string(),
        )
    },
    |m| {
        Request::new("PATCH", &format!("/api/v1/orders/{}", m.uuid()))
            .body("application/merge-patch+json", serde_json::json!({"memo": m.pick(SENTENCES)}).to_string())
    },
    |m| Request::new("DELETE", &format!("/api/v1/orders/{}?reason={}", m.uuid(), enc(m.pick(SENTENCES)))),
    // Uploads.
    |m| {
        let photo = m.bytes(1500);
        multipart(&[
            ("title", None, m.pick(SENTENCES).as_bytes()),
            ("photo", Some(("IMG_2026 (1).jpg", "image/jpeg")), &photo),
        ])
    },
    |m| {
        let name = m.pick(&[
            "이력서.pdf",
            "Document - Copy (2).pdf",
            "report.final.v2.docx",
            "사진 2026-11-22 오후 3.00.00.png",
            "photo'21.heic",
            "data.csv",
            "O'Neill.xlsx",
            "budget 50%.pdf",
            "a+b.zip",
            "notes.txt",
        ]);
        let content = m.bytes(900);
        multipart(&[
            ("file", Some((name, "application/octet-stream")), &content),
            ("memo", None, m.pick(NAMES).as_bytes()),
        ])
    },
    |m| {
        multipart(&[
            (
                "csv",
                Some(("seats.csv", "text/csv")),
                format!("row,number,price\nR,{},150000\nS,2,\"120,000\"\n", m.number(40)).as_bytes(),
            ),
            ("note", None, m.pick(SENTENCES).as_bytes()),
        ])
    },
    |m| {
        multipart(&[
            ("name", None, m.pick(NAMES).as_bytes()),
            ("email", None, m.pick(EMAILS).as_bytes()),
            ("text", None, m.pick(CODE).as_bytes()),
        ])
    },
    |m| {
        let content = m.bytes(2000);
        Request::new("PUT", &format!("/upload/{}.bin", m.uuid())).body("application/octet-stream", content)
    },
    // XML, text, other.
    |m| {
        Request::new("POST", "/soap").body("text/xml; charset=utf-8", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><GetSeats xmlns=\"http://example.kr/tickets\"><Id>{}</Id><Name>{}</Name></GetSeats></soap:Body></soap:Envelope>", m.number(9999), m.pick(NAMES).replace('&', "&amp;")))
    },
    |m| {
        Request::new("POST", "/rss").body("application/xml", format!("<feed><entry id=\"{}\"><title>공연 소식 {}</title><link href=\"https://example.kr/p/1\"/></entry></feed>", m.uuid(), m.number(99)))
    },
    |m| Request::new("POST", "/paste").body("text/plain; charset=utf-8", m.pick(SENTENCES)),
    |m| {
        Request::new("POST", "/beacon").body(
            "text/plain;charset=UTF-8",
            serde_json::json!({"id": m.uuid(), "t": m.number(99999), "vitals": {"lcp": 1234.5, "cls": 0.01}})
                .to_string(),
        )
    },
    |m| Request::new("POST", "/pkg.Service/Method").body("application/grpc", m.bytes(300)),
    |m| {
        Request::new("OPTIONS", m.pick(PATHS))
            .header("Origin", "https://app.example.kr")
            .header("Access-Control-Request-Method", "POST")
    },
    |m| Request::new("HEAD", m.pick(PATHS)),
    |m| get(format!("/api/v1/geo?bbox=126.{},37.4,127.2,37.7&format=geojson", m.number(99))),
    |m| {
        get(format!(
            "/api/items?ids={},{},{}&fields=id,name,price&expand=seats.zone",
            m.number(99),
            m.number(999),
            m.number(9999)
        ))
    },
    |m| get(format!("/p?d={}", m.base64(64).replace('+', "%2B").replace('/', "%2F") + "%3D%3D")),
    |m| {
        get(format!(
            "/share?title={}&text={}&url=https%3A%2F%2Fshop.example.kr%2Fp%2F{}",
            enc(m.pick(SHOWS)),
            enc(m.pick(SENTENCES)),
            m.number(999)
        ))
    },
    |m| get(format!("/q?name={}&email={}", enc(m.pick(NAMES)), enc(m.pick(EMAILS)))),
    |m| get(format!("/color?bg=%23{}&fg=%23fff&font=Noto+Sans+KR%3A400%2C700", m.hex(6))),
    |m| {
        get(format!(
            "/math?expr={}",
            enc(m.pick(&[
                "1+2*3", "a=b", "x^2+y^2", "3>2", "(1+2)/3", "10%", "5-3", "2*(3+4)", "n!", "sin x"
            ]))
        ))
    },
    |m| get(format!("/time?start=2026-11-{:02}T10:00:00%2B09:00&dur=PT{}H", 1 + m.number(28), m.number(9))),
    |m| get(format!("/fonts.css?family=Noto+Sans:wght@400;700&display=swap&v={}", m.number(99))),
    |m| {
        get(format!(
            "/wiki/{}",
            m.pick(&[
                "Hamlet_(play)",
                "Rock_%26_Roll",
                "AC/DC",
                "C%2B%2B",
                "O%27Reilly",
                "What%3F",
                "%EC%84%9C%EC%9A%B8",
                "List_of_musicals:_A_to_L",
                "100%25_Wolf",
                "Les_Mis%C3%A9rables"
            ])
        ))
    },
    |m| {
        post_form(
            "/board/write",
            &[
                ("subject", m.pick(SHOWS)),
                ("content", &format!("<p>{}</p><p>&nbsp;</p>", m.pick(NAMES))),
                ("_token", &m.base64url(40)),
            ],
        )
    },
    |m| post_form("/qna", &[("q", m.pick(SENTENCES)), ("category", "환불/취소"), ("private", "Y")]),
    |m| {
        post_form(
            "/form",
            &[
                ("__VIEWSTATE", &m.base64(400)),
                ("__EVENTVALIDATION", &m.base64(120)),
                ("ctl00$main$name", m.pick(NAMES)),
            ],
        )
    },
    |m| {
        post_form(
            "/jira",
            &[
                ("summary", m.pick(SENTENCES)),
                (
                    "description",
                    &format!(
                        "h2. Steps\n# open {}\n# click \"Buy\"\n{{code}}\n{}\n{{code}}",
                        m.pick(PATHS),
                        "let a = 1"
                    ),
                ),
                ("priority", "Major"),
            ],
        )
    },
    |m| {
        post_json(
            "/api/v1/translate",
            &serde_json::json!({"source": "ko", "target": "en", "text": m.pick(SENTENCES)}),
        )
    },
    |m| {
        post_json(
            "/api/v1/import",
            &serde_json::json!({"rows": [["이름", "전화", "메모"], [m.pick(NAMES), "010-1234-5678", m.pick(SENTENCES)]]}),
        )
    },
    |_| {
        post_json(
            "/api/v1/rules",
            &serde_json::json!({"if": {"price": {"gt": 1000}}, "then": "discount", "else": null, "when": "always"}),
        )
    },
    |m| {
        post_json(
            "/api/v1/device",
            &serde_json::json!({"ua": "Mozilla/5.0", "screen": "1920x1080", "tz": "Asia/Seoul", "id": m.uuid(), "path": "C_drive", "ip": format!("192.168.0.{}", m.number(255))}),
        )
    },
    |m| {
        post_json(
            "/api/v1/email",
            &serde_json::json!({"to": [m.pick(EMAILS)], "subject": format!("Re: {}", m.pick(SHOWS)), "text": format!("Hi {},\n\n{}\n\n-- \nBest regards,\n{}", m.pick(NAMES), m.pick(SENTENCES), m.pick(NAMES))}),
        )
    },
    |m| {
        post_json(
            "/api/v1/email/template",
            &serde_json::json!({"subject": "Hello {{name}}", "body": format!("Dear {{{{customer.first_name}}}}, your order {} is ready.", m.number(9999))}),
        )
    },
    |m| {
        post_form(
            "/sms",
            &[
                ("to", "01012345678"),
                (
                    "msg",
                    &format!(
                        "[예매완료] {} / {}석 / 인증번호 {}",
                        m.pick(SHOWS),
                        m.number(9),
                        m.number(999_999)
                    ),
                ),
            ],
        )
    },
    |m| get(format!("/captcha?ts={}&sig={}", m.number(1 << 40), m.hex(64))),
    |m| {
        get(format!("/ws?transport=websocket&EIO=4&sid={}", m.base64url(20)))
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    },
    |m| get(format!("/cdn-cgi/trace?{}", m.number(9999))),
    |m| get(format!("/api/price?currency=KRW&amount={}.{:02}&qty=-1", m.number(99_999), m.number(99))),
    |m| get(format!("/static/chunks/pages/%5Bid%5D-{}.js", m.hex(16))),
    |m| get(format!("/_next/data/{}/ko/performances.json?slug=a&slug=b", m.base64url(21))),
    |m| get(format!("/_next/image?url=%2Fposters%2F{}.png&w=1080&q=75", m.number(999))),
    |m| {
        post_json(
            "/api/v1/diff",
            &serde_json::json!({"old": "a, b and c", "new": "a; b or c", "n": m.number(9), "by": m.pick(NAMES)}),
        )
    },
    |m| {
        post_json(
            "/api/v1/recipe",
            &serde_json::json!({"steps": ["Cut the onion; more salt & pepper", "Sort, then set aside for 5 min.", m.pick(SENTENCES)]}),
        )
    },
    |m| {
        post_form(
            "/story",
            &[(
                "t",
                &format!(
                    "{} \"{}\" - {} (2026)",
                    m.pick(NAMES),
                    m.pick(&["Yes!", "No; never.", "Select one", "Where? When?", "Who's there"]),
                    m.pick(SHOWS)
                ),
            )],
        )
    },
];
