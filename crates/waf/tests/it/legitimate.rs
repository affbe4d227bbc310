//! Requests that honest visitors, apps and scripts send: templates with at most twenty variations each.

use waf::Outcome;

use crate::harness::{Request, example, why};

const VARIATIONS: usize = 20;

/// Words, sentences and numbers that vary; each list is walked with a step of its own.
struct Mix {
    n: usize,
    state: u64,
}

impl Mix {
    fn new(template: usize, n: usize) -> Self {
        Self { n, state: 0x9e37_79b9_7f4a_7c15 ^ (template as u64) << 32 ^ n as u64 }
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let at = (self.n + (self.random() % 7) as usize) % list.len();
        list[at]
    }

    fn number(&mut self, below: u64) -> u64 {
        self.random() % below
    }

    fn token(&mut self, length: usize, letters: &[u8]) -> String {
        (0..length).map(|_| char::from(letters[(self.random() % letters.len() as u64) as usize])).collect()
    }

    fn base64url(&mut self, length: usize) -> String {
        self.token(length, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    }

    fn base64(&mut self, length: usize) -> String {
        self.token(length, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    }

    fn hex(&mut self, length: usize) -> String {
        self.token(length, b"0123456789abcdef")
    }

    fn uuid(&mut self) -> String {
        format!("{}-{}-4{}-a{}-{}", self.hex(8), self.hex(4), self.hex(3), self.hex(3), self.hex(12))
    }
}

const SHOWS: &[&str] = &[
    "오페라의 유령", "레미제라블", "시카고", "위키드", "지킬앤하이드", "아이유 콘서트 <The Golden Hour>", "BTS WORLD TOUR", "뮤지컬 '영웅'", "KBO 한국시리즈 7차전",
    "연극 \"햄릿\"", "R&B 나이트", "싸이 흠뻑쇼 2026", "조용필 & 위대한탄생", "Rock'n'Roll Seoul", "피아노 협주곡 No.2 (라흐마니노프)",
];
const NAMES: &[&str] = &[
    "김민준", "이서연", "박지훈", "최수빈", "정하늘", "강 다니엘", "O'Brien", "D'Angelo Russell", "Jean-Luc", "María José", "남궁 민", "Müller", "Nguyễn Văn A", "Siobhán O'Neill", "Drop Szabo", "Robert Tables",
];
const SENTENCES: &[&str] = &[
    "좌석이 정말 좋았어요! 다음에도 또 예매할게요 :)",
    "공연 시작 30분 전에 도착했는데, 입장이 조금 늦었습니다.",
    "It's the best show I've ever seen -- 10/10, would go again!",
    "Please select one or more seats from the list, and then press \"Next\".",
    "환불 규정이 어떻게 되나요? (취소 수수료 10%인가요?)",
    "I'd like to update my order; can you delete the second ticket & refund me?",
    "Union station exit 3, then walk 5 minutes. Tickets are at the where-to-buy desk.",
    "가격: 150,000원 → 120,000원 (20% 할인!)",
    "Does 1 + 1 = 2? Yes; and 2 > 1.",
    "Let's meet at 7:30 pm @ Blue Square, or 8 if you can't make it...",
    "문의: help@example.kr / 02-1234-5678 (평일 9~18시)",
    "The script was great. On load, the page said \"sold out\" = sad.",
    "Order by phone or online; group discounts having 10+ people.",
    "ㅋㅋㅋㅋ 대박!!! ^^* <3 최고에요~~~",
    "My cat sat on the ticket; more or less ruined. Time to sleep (zzz).",
    "배우 A씨가 'and then...'라고 말하는 장면 ★★★★★",
    "5/10: sound was so-so, view from seat R-12 was blocked.",
    "Either the system (v2) or the app is broken: error #404; please check.",
    "She said, \"I don't know\" -- and left.",
    "C# or Java? I'd say: it depends on where you work and what you like.",
];
const QUERIES: &[&str] = &[
    "musical", "뮤지컬 할인", "rock & roll", "best seats under 50,000", "it's a wonderful life", "c++ tutorial", "\"hamlet\"", "select comfort mattress", "union square events",
    "drop off location", "how to update my profile", "where is my ticket", "3/4 time signature", "AT&T", "50% off", "a-ha concert 2026-11-22", "세종문화회관 주차", "python tutorial for kids",
    "order by price", "cats & dogs", "who's next; live", "script writing class",
];
const PATHS: &[&str] = &[
    "/", "/performances", "/performances/1024", "/api/v1/seats", "/static/app.3f2a9c.js", "/images/poster%20(1).jpg", "/ko/%EA%B3%B5%EC%97%B0", "/account/orders/2026-11", "/admin/dashboard", "/help/faq.html",
    "/feed.xml", "/manifest.json", "/.well-known/security.txt", "/robots.txt", "/sitemap.xml", "/api/v2/users/me", "/assets/css/main.css", "/download/ticket-20261122.pdf", "/search", "/blog/2026/11/how-we-select-shows",
];
const EMAILS: &[&str] = &[
    "minjun.kim@example.kr", "seo+tickets@example.com", "o'brien@example.ie", "jean-luc@example.fr", "a.b.c@sub.example.co.kr", "user_01@example.org", "no-reply@example.net", "이메일@example.kr",
];
const CODE: &[&str] = &[
    "for (let i = 0; i < n; i++) { total += prices[i]; }",
    "def add(a, b):\n    return a + b\n",
    "const seats = rows.filter(r => r.free && r.price <= max);",
    "if (x > 0 && y < 10) { return x * y; }",
    "class Ticket { constructor(id) { this.id = id; } }",
    "fn main() { let x: Option<u32> = None; }",
    "# Title\n\n- item 1\n- item 2\n\n```js\nconst a = 1;\n```",
    "body { color: #333; margin: 0 auto; }",
    "git commit -m \"fix: typo\"",
    "SELECT is a keyword; so is FROM.",
    "<p>Hello <b>world</b>, see <a href=\"https://example.com/a?b=1&c=2\">this</a>.</p>",
    "[link](https://example.com/docs/intro.html) and `inline code`",
    "x = [i**2 for i in range(10)]",
    "struct Seat { row: u8, number: u16 }",
    "return items.map((item) => ({ ...item, price: item.price * 1.1 }));",
    "$ cargo build --release",
    "@media (max-width: 600px) { .menu { display: none } }",
    "E = mc^2; a^2 + b^2 = c^2",
    "<ul><li>하나</li><li>둘</li></ul>",
    "https://github.com/example/project/blob/main/src/lib.rs#L10-L20",
];

fn enc(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// As browsers encode a form: blanks become plus.
fn form(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(k, v)| format!("{}={}", enc(k), enc(v).replace("%20", "+"))).collect::<Vec<_>>().join("&")
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

type Template = fn(&mut Mix) -> Request;

fn get(target: String) -> Request {
    Request::new("GET", &target)
}

fn post_form(path: &str, pairs: &[(&str, &str)]) -> Request {
    Request::new("POST", path).body(FORM, form(pairs))
}

fn post_json(path: &str, value: &serde_json::Value) -> Request {
    Request::new("POST", path).body(JSON, value.to_string())
}

fn multipart(parts: &[(&str, Option<(&str, &str)>, &[u8])]) -> Request {
    let boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW";
    let mut body = Vec::new();
    for (name, file, content) in parts {
        body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes());
        if let Some((file, kind)) = file {
            body.extend_from_slice(format!("; filename=\"{file}\"\r\nContent-Type: {kind}").as_bytes());
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Request::new("POST", "/upload").body(&format!("multipart/form-data; boundary={boundary}"), body)
}

fn cookies(m: &mut Mix) -> String {
    format!(
        "_ga=GA1.2.{}.{}; session={}; csrftoken={}; lang=ko-KR; theme=dark; cart=%5B{}%2C{}%5D",
        m.number(1 << 31),
        1_700_000_000 + m.number(50_000_000),
        m.base64url(43),
        m.base64url(32),
        m.number(5000),
        m.number(5000)
    )
}

const TEMPLATES: &[Template] = &[
    // Pages and searches.
    |m| get(m.pick(PATHS).into()),
    |m| get(format!("{}?utm_source=naver&utm_medium=cpc&utm_campaign=%EC%97%B0%EB%A7%90_{}", m.pick(PATHS), m.number(100))),
    |m| get(format!("/search?q={}", enc(m.pick(QUERIES)))),
    |m| get(format!("/search?q={}&sort=price&order=desc&page={}", enc(m.pick(SHOWS)), m.number(30))),
    |m| get(format!("/search?query={}&from=2026-11-0{}&to=2026-12-31", enc(m.pick(QUERIES)).replace("%20", "+"), 1 + m.number(9))),
    |m| get(format!("/performances/{}/seats?zone=R&row={}&n=1-20", m.number(9000), m.number(40))),
    |m| get(format!("/redirect?url={}", enc(&format!("https://www.example.co.kr{}?a=1", m.pick(PATHS))))),
    |m| get(format!("/login?next={}", enc(m.pick(PATHS)))),
    |m| get(format!("/oauth/callback?code={}&state={}", m.base64url(43), m.base64url(22))),
    |m| get(format!("/verify?token=eyJhbGciOiJIUzI1NiJ9.{}.{}", m.base64url(120), m.base64url(43))),
    |m| get(format!("/img/resize?w=640&h=480&src=posters/{}.jpg&fit=crop", m.number(10_000))),
    |m| get(format!("/api/v1/events?filter[genre]=musical&filter[city]=seoul&page[size]=20&page[number]={}", m.number(9))),
    |m| get(format!("/map?lat=37.{}&lng=127.{}&z=15", m.number(99_999), m.number(99_999))),
    |m| get(format!("/calendar?month=2026-{:02}&tz=Asia%2FSeoul", 1 + m.number(12))),
    |m| get(format!("/track?e=click&t={}&x={}&y={}&ref=%2F", 1_700_000_000_000 + m.number(99_999_999), m.number(1920), m.number(1080))),
    |m| get(format!("/t/{}", m.base64url(22))),
    |m| get(format!("/file/{}.pdf?sig={}&expires={}", m.uuid(), enc(&m.base64(44)), 1_700_000_000 + m.number(9999))),
    |m| get(format!("/users/{}", enc(m.pick(NAMES)))),
    |m| get(format!("/tag/{}", enc(m.pick(SHOWS)))),
    |m| get(format!("/autocomplete?term={}&limit=10&callback=jQuery{}_{}", enc(m.pick(QUERIES)), m.number(1 << 40), m.number(1 << 40))),
    // Cookies and headers.
    |m| {
        let c = cookies(m);
        get(m.pick(PATHS).into()).header("Cookie", c)
    },
    |m| {
        let token = format!("Bearer eyJhbGciOiJSUzI1NiJ9.{}.{}", m.base64url(300), m.base64url(342));
        get("/api/v2/orders".into()).header("Authorization", token)
    },
    |m| {
        let referer = format!("https://www.google.com/search?q={}&oq={}", enc(m.pick(QUERIES)), enc(m.pick(SHOWS)));
        get(m.pick(PATHS).into()).header("Referer", referer)
    },
    |m| {
        let etag = format!("W/\"{}\"", m.hex(32));
        get(m.pick(PATHS).into()).header("If-None-Match", etag).header("Accept-Language", "ko-KR,ko;q=0.9,en-US;q=0.8")
    },
    |m| {
        let agents = [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Linux; Android 14; SM-S928N) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36 NAVER(inapp; search; 1000; 12.6.0)",
            "KAKAOTALK 10.8.5", "okhttp/4.12.0", "curl/8.5.0", "python-requests/2.32.3", "Go-http-client/2.0", "Amazon-Route53-Health-Check-Service (ref 1a2b3c; report http://amzn.to/1vsZADi)",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Mozilla/5.0 (compatible; Yeti/1.1; +https://naver.me/spd)", "Prometheus/2.53.0", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "ELB-HealthChecker/2.0", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0", "kube-probe/1.29",
        ];
        let agent = m.pick(&agents);
        get(m.pick(PATHS).into()).header("User-Agent", agent)
    },
    |m| {
        let baggage = format!("sentry-trace_id={},sentry-environment=production,sentry-release=web%40{}.2.0", m.hex(32), m.number(9));
        get("/api/v1/me".into()).header("baggage", baggage).header("X-Request-Id", m.uuid())
    },
    |m| {
        let c = format!("OptanonConsent=isGpcEnabled=0&datestamp=Sun+Nov+{:02}+2026+10%3A00%3A00+GMT%2B0900&version=202403.1.0&groups=C0001%3A1%2CC0002%3A0; prefs=%7B%22a%22%3A{}%7D", 1 + m.number(28), m.number(9));
        get("/".into()).header("Cookie", c)
    },
    |m| {
        let forwarded = format!("203.0.113.{}, 10.0.0.{}", m.number(255), m.number(255));
        get(m.pick(PATHS).into()).header("X-Forwarded-For", forwarded).header("X-Forwarded-Proto", "https")
    },
    // Forms.
    |m| post_form("/login", &[("email", m.pick(EMAILS)), ("password", &m.token(14, b"aB3$!@#%^&*()_+-=[]{};':,./?xYz9")), ("remember", "on")]),
    |m| post_form("/signup", &[("name", m.pick(NAMES)), ("email", m.pick(EMAILS)), ("phone", "+82 10-1234-5678"), ("agree", "true")]),
    |m| post_form("/reviews", &[("title", m.pick(SHOWS)), ("text", m.pick(SENTENCES)), ("stars", &(1 + m.number(5)).to_string())]),
    |m| post_form("/contact", &[("name", m.pick(NAMES)), ("message", &format!("{}\r\n\r\n{}", m.pick(SENTENCES), m.pick(SENTENCES)))]),
    |m| post_form("/address", &[("zip", "04524"), ("address1", "서울특별시 중구 세종대로 110 (태평로1가)"), ("address2", &format!("{}동 {}호", m.number(200), m.number(2000)))]),
    |m| post_form("/orders", &[("performance", &m.uuid()), ("seat[]", "R-12"), ("seat[]", "R-13"), ("coupon", &m.token(12, b"ABCDEFGHJKMNPQRSTUVWXYZ23456789"))]),
    |m| post_form("/comments", &[("body", m.pick(CODE)), ("parent", "0")]),
    |m| post_form("/account/password", &[("old", &m.token(20, b"abc'\"XYZ019!?*+-#%&=~ ")), ("new", &m.token(20, b"abcdefXYZ019!?*+-#%&=~."))]),
    |m| post_form("/newsletter", &[("email", m.pick(EMAILS)), ("lists", "musical,concert,sports")]),
    |m| post_form("/search", &[("q", m.pick(QUERIES)), ("genre", "all"), ("min", "0"), ("max", "200000")]),
    |m| post_form("/saml/acs", &[("SAMLResponse", &format!("PHNhbWxwOlJlc3BvbnNl{}==", m.base64(900))), ("RelayState", m.pick(PATHS))]),
    |m| post_form("/payments/return", &[("tid", &m.hex(30)), ("resultMsg", "정상 처리되었습니다."), ("authToken", &m.base64(340)), ("mac", &m.hex(64)), ("authUrl", "https://fcstdpay.inicis.com/api/payAuth")]),
    |m| post_form("/profile", &[("bio", m.pick(SENTENCES)), ("site", "https://blog.naver.com/example"), ("birthday", "1990-02-28"), ("nick", m.pick(NAMES))]),
    |m| post_form("/csp", &[("long", &m.pick(SENTENCES).repeat(12))]),
    // JSON.
    |m| post_json("/api/v1/login", &serde_json::json!({"email": m.pick(EMAILS), "password": m.token(16, b"aB3$!@#^&*()_+xYz9'\"<>")})),
    |m| post_json("/api/v1/reviews", &serde_json::json!({"text": m.pick(SENTENCES), "tags": ["뮤지컬", m.pick(QUERIES)], "stars": m.number(5)})),
    |m| post_json("/api/v1/orders", &serde_json::json!({"id": m.uuid(), "seats": [{"zone": "R", "row": 3, "number": m.number(40)}], "total": 1_500_00, "note": m.pick(SENTENCES)})),
    |m| post_json("/api/v1/events", &serde_json::json!({"events": [{"type": "page_view", "ts": 1_700_000_000_000u64 + m.number(99999), "url": format!("https://shop.example.kr{}?q={}", m.pick(PATHS), enc(m.pick(QUERIES))), "ref": ""}]})),
    |m| post_json("/api/v1/graph", &serde_json::json!({"name": "Chart", "points": [[1.5, -2.25], [3e-4, 1e10]], "unit": "°C"})),
    |m| post_json("/graphql", &serde_json::json!({"operationName": "Seats", "query": "query Seats($id: ID!) { performance(id: $id) { id title seats { row number free } } }", "variables": {"id": m.number(9999)}})),
    |m| post_json("/graphql", &serde_json::json!({"query": "mutation { addReview(input: {stars: 5, text: \"좋아요\"}) { id } }", "variables": null, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": m.hex(64)}}})),
    |m| post_json("/api/v1/notes", &serde_json::json!({"markdown": m.pick(CODE), "title": m.pick(SHOWS)})),
    |m| post_json("/api/v1/editor", &serde_json::json!({"html": format!("<h2>{}</h2><p>{}</p><p><img src=\"https://cdn.example.kr/p/{}.jpg\" alt=\"poster\"></p>", m.pick(NAMES), m.pick(&["안녕하세요", "Hello, world", "다음 주에 만나요"]), m.hex(12))})),
    |m| post_json("/api/v1/push", &serde_json::json!({"endpoint": format!("https://fcm.googleapis.com/fcm/send/{}:{}", m.base64url(11), m.base64url(134)), "keys": {"p256dh": m.base64url(87), "auth": m.base64url(22)}})),
    |m| post_json("/api/v1/settings", &serde_json::json!({"theme": "dark", "$schema": "https://example.kr/schema/settings.json", "limits": {"min": 0, "max": 100}, "locale": "ko_KR.UTF-8"})),
    |m| post_json("/api/v1/avatar", &serde_json::json!({"image": format!("data:image/png;base64,iVBORw0KGgo{}", m.base64(1200))})),
    |m| post_json("/api/v1/batch", &serde_json::json!({"requests": [{"method": "GET", "path": m.pick(PATHS)}, {"method": "POST", "path": "/orders", "body": {"n": m.number(5)}}]})),
    |m| post_json("/api/v1/webhook", &serde_json::json!({"ref": "refs/heads/main", "before": m.hex(40), "after": m.hex(40), "commits": [{"message": m.pick(SENTENCES), "author": {"name": m.pick(NAMES), "email": m.pick(EMAILS)}}]})),
    |m| post_json("/api/v1/search", &serde_json::json!({"query": {"bool": {"must": [{"match": {"title": m.pick(SHOWS)}}], "filter": [{"range": {"price": {"gte": 10000, "lte": 200000}}}]}}, "size": 20})),
    |m| post_json("/api/v1/chat", &serde_json::json!({"messages": [{"role": "user", "content": m.pick(SENTENCES)}, {"role": "assistant", "content": m.pick(SENTENCES)}], "stream": true})),
    |m| post_json("/api/v1/log", &serde_json::json!({"level": "error", "message": "TypeError: Cannot read properties of undefined (reading 'seat')", "stack": format!("at Seat.render (https://shop.example.kr/static/app.{}.js:1:{})", m.hex(6), m.number(90_000))})),
    |m| Request::new("PUT", &format!("/api/v1/users/{}", m.number(9999))).body(JSON, serde_json::json!({"name": m.pick(NAMES), "email": m.pick(EMAILS), "marketing": false}).to_string()),
    |m| Request::new("PATCH", &format!("/api/v1/orders/{}", m.uuid())).body("application/merge-patch+json", serde_json::json!({"memo": m.pick(SENTENCES)}).to_string()),
    |m| Request::new("DELETE", &format!("/api/v1/orders/{}?reason={}", m.uuid(), enc(m.pick(SENTENCES)))),
    // Uploads.
    |m| {
        let photo: Vec<u8> = (0..1500).map(|_| m.number(256) as u8).collect();
        multipart(&[("title", None, m.pick(SENTENCES).as_bytes()), ("photo", Some(("IMG_2026 (1).jpg", "image/jpeg")), &photo)])
    },
    |m| {
        let name = m.pick(&["이력서.pdf", "Document - Copy (2).pdf", "report.final.v2.docx", "사진 2026-11-22 오후 3.00.00.png", "photo'21.heic", "data.csv", "O'Neill.xlsx", "budget 50%.pdf", "a+b.zip", "notes.txt"]);
        let content: Vec<u8> = (0..900).map(|_| m.number(256) as u8).collect();
        multipart(&[("file", Some((name, "application/octet-stream")), &content), ("memo", None, m.pick(NAMES).as_bytes())])
    },
    |m| multipart(&[("csv", Some(("seats.csv", "text/csv")), format!("row,number,price\nR,{},150000\nS,2,\"120,000\"\n", m.number(40)).as_bytes()), ("note", None, m.pick(SENTENCES).as_bytes())]),
    |m| multipart(&[("name", None, m.pick(NAMES).as_bytes()), ("email", None, m.pick(EMAILS).as_bytes()), ("text", None, m.pick(CODE).as_bytes())]),
    |m| {
        let content: Vec<u8> = (0..2000).map(|_| m.number(256) as u8).collect();
        Request::new("PUT", &format!("/upload/{}.bin", m.uuid())).body("application/octet-stream", content)
    },
    // XML, text, other.
    |m| Request::new("POST", "/soap").body("text/xml; charset=utf-8", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><GetSeats xmlns=\"http://example.kr/tickets\"><Id>{}</Id><Name>{}</Name></GetSeats></soap:Body></soap:Envelope>", m.number(9999), m.pick(NAMES).replace('&', "&amp;"))),
    |m| Request::new("POST", "/rss").body("application/xml", format!("<feed><entry id=\"{}\"><title>공연 소식 {}</title><link href=\"https://example.kr/p/1\"/></entry></feed>", m.uuid(), m.number(99))),
    |m| Request::new("POST", "/paste").body("text/plain; charset=utf-8", m.pick(SENTENCES)),
    |m| Request::new("POST", "/beacon").body("text/plain;charset=UTF-8", serde_json::json!({"id": m.uuid(), "t": m.number(99999), "vitals": {"lcp": 1234.5, "cls": 0.01}}).to_string()),
    |m| Request::new("POST", "/pkg.Service/Method").body("application/grpc", (0..300).map(|_| m.number(256) as u8).collect::<Vec<_>>()),
    |m| Request::new("OPTIONS", m.pick(PATHS)).header("Origin", "https://app.example.kr").header("Access-Control-Request-Method", "POST"),
    |m| Request::new("HEAD", m.pick(PATHS)),
    |m| get(format!("/api/v1/geo?bbox=126.{},37.4,127.2,37.7&format=geojson", m.number(99))),
    |m| get(format!("/api/items?ids={},{},{}&fields=id,name,price&expand=seats.zone", m.number(99), m.number(999), m.number(9999))),
    |m| get(format!("/p?d={}", m.base64(64).replace('+', "%2B").replace('/', "%2F") + "%3D%3D")),
    |m| get(format!("/share?title={}&text={}&url=https%3A%2F%2Fshop.example.kr%2Fp%2F{}", enc(m.pick(SHOWS)), enc(m.pick(SENTENCES)), m.number(999))),
    |m| get(format!("/q?name={}&email={}", enc(m.pick(NAMES)), enc(m.pick(EMAILS)))),
    |m| get(format!("/color?bg=%23{}&fg=%23fff&font=Noto+Sans+KR%3A400%2C700", m.hex(6))),
    |m| get(format!("/math?expr={}", enc(m.pick(&["1+2*3", "a=b", "x^2+y^2", "3>2", "(1+2)/3", "10%", "5-3", "2*(3+4)", "n!", "sin x"])))),
    |m| get(format!("/time?start=2026-11-{:02}T10:00:00%2B09:00&dur=PT{}H", 1 + m.number(28), m.number(9))),
    |m| get(format!("/fonts.css?family=Noto+Sans:wght@400;700&display=swap&v={}", m.number(99))),
    |m| get(format!("/wiki/{}", m.pick(&["Hamlet_(play)", "Rock_%26_Roll", "AC/DC", "C%2B%2B", "O%27Reilly", "What%3F", "%EC%84%9C%EC%9A%B8", "List_of_musicals:_A_to_L", "100%25_Wolf", "Les_Mis%C3%A9rables"]))),
    |m| post_form("/board/write", &[("subject", m.pick(SHOWS)), ("content", &format!("<p>{}</p><p>&nbsp;</p>", m.pick(NAMES))), ("_token", &m.base64url(40))]),
    |m| post_form("/qna", &[("q", m.pick(SENTENCES)), ("category", "환불/취소"), ("private", "Y")]),
    |m| post_form("/form", &[("__VIEWSTATE", &m.base64(400)), ("__EVENTVALIDATION", &m.base64(120)), ("ctl00$main$name", m.pick(NAMES))]),
    |m| post_form("/jira", &[("summary", m.pick(SENTENCES)), ("description", &format!("h2. Steps\n# open {}\n# click \"Buy\"\n{{code}}\n{}\n{{code}}", m.pick(PATHS), "let a = 1")), ("priority", "Major")]),
    |m| post_json("/api/v1/translate", &serde_json::json!({"source": "ko", "target": "en", "text": m.pick(SENTENCES)})),
    |m| post_json("/api/v1/import", &serde_json::json!({"rows": [["이름", "전화", "메모"], [m.pick(NAMES), "010-1234-5678", m.pick(SENTENCES)]]})),
    |m| post_json("/api/v1/rules", &serde_json::json!({"if": {"price": {"gt": 1000}}, "then": "discount", "else": null, "when": "always"})),
    |m| post_json("/api/v1/device", &serde_json::json!({"ua": "Mozilla/5.0", "screen": "1920x1080", "tz": "Asia/Seoul", "id": m.uuid(), "path": "C_drive", "ip": format!("192.168.0.{}", m.number(255))})),
    |m| post_json("/api/v1/email", &serde_json::json!({"to": [m.pick(EMAILS)], "subject": format!("Re: {}", m.pick(SHOWS)), "text": format!("Hi {},\n\n{}\n\n-- \nBest regards,\n{}", m.pick(NAMES), m.pick(SENTENCES), m.pick(NAMES))})),
    |m| post_json("/api/v1/email/template", &serde_json::json!({"subject": "Hello {{name}}", "body": format!("Dear {{{{customer.first_name}}}}, your order {} is ready.", m.number(9999))})),
    |m| post_form("/sms", &[("to", "01012345678"), ("msg", &format!("[예매완료] {} / {}석 / 인증번호 {}", m.pick(SHOWS), m.number(9), m.number(999_999)))]),
    |m| get(format!("/captcha?ts={}&sig={}", m.number(1 << 40), m.hex(64))),
    |m| get(format!("/ws?transport=websocket&EIO=4&sid={}", m.base64url(20))).header("Upgrade", "websocket").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    |m| get(format!("/cdn-cgi/trace?{}", m.number(9999))),
    |m| get(format!("/api/price?currency=KRW&amount={}.{:02}&qty=-1", m.number(99_999), m.number(99))),
    |m| get(format!("/static/chunks/pages/%5Bid%5D-{}.js", m.hex(16))),
    |m| get(format!("/_next/data/{}/ko/performances.json?slug=a&slug=b", m.base64url(21))),
    |m| get(format!("/_next/image?url=%2Fposters%2F{}.png&w=1080&q=75", m.number(999))),
    |m| post_json("/api/v1/diff", &serde_json::json!({"old": "a, b and c", "new": "a; b or c", "n": m.number(9), "by": m.pick(NAMES)})),
    |m| post_json("/api/v1/recipe", &serde_json::json!({"steps": ["Cut the onion; more salt & pepper", "Sort, then set aside for 5 min.", m.pick(SENTENCES)]})),
    |m| post_form("/story", &[("t", &format!("{} \"{}\" - {} (2026)", m.pick(NAMES), m.pick(&["Yes!", "No; never.", "Select one", "Where? When?", "Who's there"]), m.pick(SHOWS)))]),
];

#[test]
fn honest_requests_pass() {
    let engine = example();
    let (mut total, mut passed) = (0, 0);
    for (template, make) in TEMPLATES.iter().enumerate() {
        for n in 0..VARIATIONS {
            let request = make(&mut Mix::new(template, n));
            let verdict = request.judge(engine);
            total += 1;
            if verdict.outcome == Outcome::Allow {
                passed += 1;
            } else {
                println!(
                    "refused: {} {} {} | {}",
                    request.method,
                    String::from_utf8_lossy(&request.target),
                    String::from_utf8_lossy(&request.body[..request.body.len().min(200)]),
                    why(&verdict)
                );
            }
        }
    }
    let share = 100.0 * f64::from(passed) / f64::from(total);
    println!("honest requests: {passed} of {total} pass ({share:.2} %)");
    assert!(total >= 2_000, "{total}");
    assert!(share >= 99.5, "{share:.2} %");
}
