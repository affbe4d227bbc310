//! Requests that honest visitors, apps and scripts send: templates with at most twenty variations each.

mod bodies;
mod pages;
mod words;

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
        let at = self.n + self.below(7);
        list[at % list.len()]
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.random() % limit as u64).unwrap_or(0)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.random().to_le_bytes()[3]).collect()
    }

    fn number(&mut self, below: u64) -> u64 {
        self.random() % below
    }

    fn token(&mut self, length: usize, letters: &[u8]) -> String {
        (0..length).map(|_| char::from(letters[self.below(letters.len())])).collect()
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

fn enc(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// As browsers encode a form: blanks become plus.
fn form(pairs: &[(&str, &str)]) -> String {
    pairs
        .iter()
        .map(|(k, v)| format!("{}={}", enc(k), enc(v).replace("%20", "+")))
        .collect::<Vec<_>>()
        .join("&")
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

/// A field's name, its file's name and type, its content.
type FormPart<'a> = (&'a str, Option<(&'a str, &'a str)>, &'a [u8]);

fn multipart(parts: &[FormPart<'_>]) -> Request {
    let boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW";
    let mut body = Vec::new();
    for (name, file, content) in parts {
        body.extend_from_slice(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes(),
        );
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

/// Each text as a form's field, in JSON and as an argument.
fn texts() -> impl Iterator<Item = (&'static str, Request)> {
    let lines = include_str!("legitimate/lines.txt").lines().filter(|l| !l.starts_with("# "));
    lines.flat_map(|line| {
        [
            (line, post_form("/qna", &[("text", line), ("page", "1")])),
            (line, post_json("/api/v1/answers", &serde_json::json!({"text": line, "tags": ["공연"]}))),
            (line, get(format!("/search?q={}", enc(line)))),
        ]
    })
}

#[test]
fn honest_requests_pass() {
    let engine = example();
    let (mut total, mut passed) = (0, 0);
    for (template, make) in pages::PAGES_AND_FORMS.iter().chain(bodies::BODIES).enumerate() {
        for n in 0..VARIATIONS {
            let request = make(&mut Mix::new(template, n));
            let verdict = request.judge(engine);
            total += 1;
            if verdict.outcome == Outcome::Allow {
                passed += 1;
            } else {
                println!(
                    "refused by template {template}: {} | {} {} {}",
                    why(&verdict),
                    request.method,
                    String::from_utf8_lossy(&request.target),
                    String::from_utf8_lossy(&request.body[..request.body.len().min(200)])
                );
            }
        }
    }
    for (line, request) in texts() {
        let verdict = request.judge(engine);
        total += 1;
        if verdict.outcome == Outcome::Allow {
            passed += 1;
        } else {
            println!("refused: {} | {line}", why(&verdict));
        }
    }
    let share = 100.0 * f64::from(passed) / f64::from(total);
    println!("honest requests: {passed} of {total} pass ({share:.2} %)");
    assert!(total >= 2_000, "{total}");
    assert!(share >= 99.5, "{share:.2} %");
}

/// Lines of text that nobody wrote as an attack, from a file of whoever looks for false alarms: each as a field of a form.
#[test]
fn lines_of_a_file_pass() {
    let Some(file) = std::env::var_os("GHOSTLIGHT_WAF_LINES") else {
        return eprintln!("skipped: GHOSTLIGHT_WAF_LINES names no file");
    };
    let (mut total, mut refused) = (0, Vec::new());
    for line in std::fs::read_to_string(file).unwrap().lines().filter(|l| !l.trim().is_empty()) {
        let text = percent_encoding::utf8_percent_encode(line, percent_encoding::NON_ALPHANUMERIC);
        let form = Request::new("POST", "/reviews")
            .body("application/x-www-form-urlencoded", format!("text={text}"));
        let verdict = form.judge(example());
        total += 1;
        if verdict.outcome != Outcome::Allow {
            refused.push(format!("{} | {line}", why(&verdict)));
        }
    }
    refused.iter().for_each(|line| println!("{line}"));
    println!("lines: {} of {total} are refused", refused.len());
}
