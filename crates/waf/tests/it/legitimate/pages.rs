//! Pages, searches, headers, forms.

use super::{Template, cookies, enc, get, post_form, words::*};

pub(super) const PAGES_AND_FORMS: &[Template] = &[
    // Pages and searches.
    |m| get(m.pick(PATHS).into()),
    |m| {
        get(format!(
            "{}?utm_source=naver&utm_medium=cpc&utm_campaign=%EC%97%B0%EB%A7%90_{}",
            m.pick(PATHS),
            m.number(100)
        ))
    },
    |m| get(format!("/search?q={}", enc(m.pick(QUERIES)))),
    |m| get(format!("/search?q={}&sort=price&order=desc&page={}", enc(m.pick(SHOWS)), m.number(30))),
    |m| {
        get(format!(
            "/search?query={}&from=2026-11-0{}&to=2026-12-31",
            enc(m.pick(QUERIES)).replace("%20", "+"),
            1 + m.number(9)
        ))
    },
    |m| get(format!("/performances/{}/seats?zone=R&row={}&n=1-20", m.number(9000), m.number(40))),
    |m| get(format!("/redirect?url={}", enc(&format!("https://www.example.co.kr{}?a=1", m.pick(PATHS))))),
    |m| get(format!("/login?next={}", enc(m.pick(PATHS)))),
    |m| get(format!("/oauth/callback?code={}&state={}", m.base64url(43), m.base64url(22))),
    |m| get(format!("/verify?token=eyJhbGciOiJIUzI1NiJ9.{}.{}", m.base64url(120), m.base64url(43))),
    |m| get(format!("/img/resize?w=640&h=480&src=posters/{}.jpg&fit=crop", m.number(10_000))),
    |m| {
        get(format!(
            "/api/v1/events?filter[genre]=musical&filter[city]=seoul&page[size]=20&page[number]={}",
            m.number(9)
        ))
    },
    |m| get(format!("/map?lat=37.{}&lng=127.{}&z=15", m.number(99_999), m.number(99_999))),
    |m| get(format!("/calendar?month=2026-{:02}&tz=Asia%2FSeoul", 1 + m.number(12))),
    |m| {
        get(format!(
            "/track?e=click&t={}&x={}&y={}&ref=%2F",
            1_700_000_000_000 + m.number(99_999_999),
            m.number(1920),
            m.number(1080)
        ))
    },
    |m| get(format!("/t/{}", m.base64url(22))),
    |m| {
        get(format!(
            "/file/{}.pdf?sig={}&expires={}",
            m.uuid(),
            enc(&m.base64(44)),
            1_700_000_000 + m.number(9999)
        ))
    },
    |m| get(format!("/users/{}", enc(m.pick(NAMES)))),
    |m| get(format!("/tag/{}", enc(m.pick(SHOWS)))),
    |m| {
        get(format!(
            "/autocomplete?term={}&limit=10&callback=jQuery{}_{}",
            enc(m.pick(QUERIES)),
            m.number(1 << 40),
            m.number(1 << 40)
        ))
    },
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
        let referer =
            format!("https://www.google.com/search?q={}&oq={}", enc(m.pick(QUERIES)), enc(m.pick(SHOWS)));
        get(m.pick(PATHS).into()).header("Referer", referer)
    },
    |m| {
        let etag = format!("W/\"{}\"", m.hex(32));
        get(m.pick(PATHS).into())
            .header("If-None-Match", etag)
            .header("Accept-Language", "ko-KR,ko;q=0.9,en-US;q=0.8")
    },
    |m| {
        let agents = [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Linux; Android 14; SM-S928N) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36 NAVER(inapp; search; 1000; 12.6.0)",
            "KAKAOTALK 10.8.5",
            "okhttp/4.12.0",
            "curl/8.5.0",
            "python-requests/2.32.3",
            "Go-http-client/2.0",
            "Amazon-Route53-Health-Check-Service (ref 1a2b3c; report http://amzn.to/1vsZADi)",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; Yeti/1.1; +https://naver.me/spd)",
            "Prometheus/2.53.0",
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "ELB-HealthChecker/2.0",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
            "kube-probe/1.29",
        ];
        let agent = m.pick(&agents);
        get(m.pick(PATHS).into()).header("User-Agent", agent)
    },
    |m| {
        let baggage = format!(
            "sentry-trace_id={},sentry-environment=production,sentry-release=web%40{}.2.0",
            m.hex(32),
            m.number(9)
        );
        get("/api/v1/me".into()).header("baggage", baggage).header("X-Request-Id", m.uuid())
    },
    |m| {
        let c = format!(
            "OptanonConsent=isGpcEnabled=0&datestamp=Sun+Nov+{:02}+2026+10%3A00%3A00+GMT%2B0900&version=202403.1.0&groups=C0001%3A1%2CC0002%3A0; prefs=%7B%22a%22%3A{}%7D",
            1 + m.number(28),
            m.number(9)
        );
        get("/".into()).header("Cookie", c)
    },
    |m| {
        let forwarded = format!("203.0.113.{}, 10.0.0.{}", m.number(255), m.number(255));
        get(m.pick(PATHS).into()).header("X-Forwarded-For", forwarded).header("X-Forwarded-Proto", "https")
    },
    // Forms.
    |m| {
        post_form(
            "/login",
            &[
                ("email", m.pick(EMAILS)),
                ("password", &m.token(14, b"aB3$!@#%^&*()_+-=[]{};':,./?xYz9")),
                ("remember", "on"),
            ],
        )
    },
    |m| {
        post_form(
            "/signup",
            &[
                ("name", m.pick(NAMES)),
                ("email", m.pick(EMAILS)),
                ("phone", "+82 10-1234-5678"),
                ("agree", "true"),
            ],
        )
    },
    |m| {
        post_form(
            "/reviews",
            &[
                ("title", m.pick(SHOWS)),
                ("text", m.pick(SENTENCES)),
                ("stars", &(1 + m.number(5)).to_string()),
            ],
        )
    },
    |m| {
        post_form(
            "/contact",
            &[
                ("name", m.pick(NAMES)),
                ("message", &format!("{}\r\n\r\n{}", m.pick(SENTENCES), m.pick(SENTENCES))),
            ],
        )
    },
    |m| {
        post_form(
            "/address",
            &[
                ("zip", "04524"),
                ("address1", "서울특별시 중구 세종대로 110 (태평로1가)"),
                ("address2", &format!("{}동 {}호", m.number(200), m.number(2000))),
            ],
        )
    },
    |m| {
        post_form(
            "/orders",
            &[
                ("performance", &m.uuid()),
                ("seat[]", "R-12"),
                ("seat[]", "R-13"),
                ("coupon", &m.token(12, b"ABCDEFGHJKMNPQRSTUVWXYZ23456789")),
            ],
        )
    },
    |m| post_form("/comments", &[("body", m.pick(CODE)), ("parent", "0")]),
    |m| {
        post_form(
            "/account/password",
            &[
                ("old", &m.token(20, b"abc'\"XYZ019!?*+-#%&=~ ")),
                ("new", &m.token(20, b"abcdefXYZ019!?*+-#%&=~.")),
            ],
        )
    },
    |m| post_form("/newsletter", &[("email", m.pick(EMAILS)), ("lists", "musical,concert,sports")]),
    |m| post_form("/search", &[("q", m.pick(QUERIES)), ("genre", "all"), ("min", "0"), ("max", "200000")]),
    |m| {
        post_form(
            "/saml/acs",
            &[
                ("SAMLResponse", &format!("PHNhbWxwOlJlc3BvbnNl{}==", m.base64(900))),
                ("RelayState", m.pick(PATHS)),
            ],
        )
    },
    |m| {
        post_form(
            "/payments/return",
            &[
                ("tid", &m.hex(30)),
                ("resultMsg", "정상 처리되었습니다."),
                ("authToken", &m.base64(340)),
                ("mac", &m.hex(64)),
                ("authUrl", "https://fcstdpay.inicis.com/api/payAuth"),
            ],
        )
    },
    |m| {
        post_form(
            "/profile",
            &[
                ("bio", m.pick(SENTENCES)),
                ("site", "https://blog.naver.com/example"),
                ("birthday", "1990-02-28"),
                ("nick", m.pick(NAMES)),
            ],
        )
    },
    |m| post_form("/csp", &[("long", &m.pick(SENTENCES).repeat(12))]),
];
