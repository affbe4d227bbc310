//! The security-test target behind `/DVWA`: somebody's server (the real DVWA in a container), or a small page of our own
//! that is wrong on purpose.
//!
//! Never started unless asked for, and only on loopback addresses. It greets whoever it is told to, tags and all (reflected
//! script), and looks people up with a condition put together from text (SQL injection, over a table in memory: there is
//! no database behind it). It takes its input from the query, a form, a multipart form, JSON and cookies alike, so that a
//! test of the web ACL can send an attack everywhere.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, Uri, header},
    response::Html,
    routing::get,
};
use runtime::{
    listen::{self, ListenError},
    process::Shutdown,
};
use tokio::net::TcpListener;

/// What stands behind `/DVWA`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityTest {
    /// The page of our own.
    BuiltIn,
    /// Whatever answers there, for both sites.
    At(SocketAddr),
}

impl std::str::FromStr for SecurityTest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "built-in" => Ok(SecurityTest::BuiltIn),
            _ => text.parse().map(SecurityTest::At).map_err(|_| {
                "write `built-in`, or the address of a server, such as 127.0.0.1:4280".to_owned()
            }),
        }
    }
}

/// People that the page knows.
const PEOPLE: [(&str, &str); 3] = [("1", "admin"), ("2", "gordonb"), ("3", "pablo")];

/// Takes an address for the page; no other than a loopback one.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let loopback = SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port());
    let address = if address.ip().is_loopback() { address } else { loopback };
    listen::tcp("the vulnerable page", address).await
}

/// Serves the page until `shutdown`.
pub async fn run(listener: TcpListener, shutdown: Shutdown) {
    let routes = Router::new()
        .route("/DVWA/login.php", get(|| async { "Damn vulnerable, on purpose.\n" }))
        .fallback(page);
    let until = async move { shutdown.cancelled().await };
    if let Err(e) = axum::serve(listener, routes).with_graceful_shutdown(until).await {
        tracing::warn!("the vulnerable page ended: {e}");
    }
}

async fn page(uri: Uri, headers: HeaderMap, body: Bytes) -> Html<String> {
    let input = Input { uri: &uri, headers: &headers, body: &body };
    let name = input.get("name").unwrap_or_default();
    let id = input.get("id").unwrap_or_default();
    let condition = format!("id = '{id}'");
    let found: Vec<&str> =
        PEOPLE.iter().filter(|(id, _)| holds(&condition, id)).map(|(_, name)| *name).collect();
    // Not escaped: that is the point.
    Html(format!(
        "<!doctype html><title>Vulnerable on purpose</title><p>Hello {name}</p>\n<p>WHERE {condition}: {}</p>\n",
        found.join(", ")
    ))
}

/// Where a value may stand.
struct Input<'r> {
    uri: &'r Uri,
    headers: &'r HeaderMap,
    body: &'r [u8],
}

impl Input<'_> {
    fn get(&self, key: &str) -> Option<String> {
        let text = |name| self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let body = String::from_utf8_lossy(self.body);
        let kind = text(header::CONTENT_TYPE);
        let in_body = if kind.starts_with("application/json") {
            let json: Option<serde_json::Value> = serde_json::from_slice(self.body).ok();
            json.and_then(|v| v[key].as_str().map(str::to_owned))
        } else if kind.starts_with("multipart/") {
            part(&body, key)
        } else {
            pair(&body, '&', key)
        };
        pair(self.uri.query().unwrap_or_default(), '&', key)
            .or(in_body)
            .or_else(|| pair(text(header::COOKIE), ';', key))
    }
}

/// `key=value` among others, decoded.
fn pair(text: &str, between: char, key: &str) -> Option<String> {
    let mut pairs = text.split(between).filter_map(|p| p.trim().split_once('='));
    pairs.find(|(k, _)| *k == key).map(|(_, value)| decoded(value))
}

/// A field of a multipart form.
fn part(body: &str, key: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("name=\"{key}\""))?;
    let (_, rest) = rest.split_once("\r\n\r\n")?;
    Some(rest.split_once("\r\n--").map_or(rest, |(value, _)| value).to_owned())
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        let escaped = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                rest = &after[2..];
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether a condition of comparisons and ORs holds for a person.
fn holds(condition: &str, id: &str) -> bool {
    condition.split(" OR ").any(|comparison| {
        let value = |text: &str| match text.trim() {
            "id" => id.to_owned(),
            text => text.trim_matches('\'').to_owned(),
        };
        comparison.split_once('=').is_some_and(|(left, right)| value(left) == value(right))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "<script>alert(document.cookie);</script>";

    async fn told(uri: &str, headers: &[(header::HeaderName, &str)], body: &str) -> String {
        let headers = headers.iter().map(|(n, v)| (n.clone(), v.parse().unwrap())).collect();
        page(uri.parse().unwrap(), headers, Bytes::from(body.to_owned())).await.0
    }

    #[tokio::test]
    async fn it_is_vulnerable_wherever_the_input_stands() {
        let encoded: String = SCRIPT.bytes().map(|b| format!("%{b:02x}")).collect();
        let multipart =
            format!("--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\n{SCRIPT}\r\n--x--\r\n");
        let json = serde_json::json!({ "name": SCRIPT }).to_string();
        let kind = header::CONTENT_TYPE;
        for answer in [
            told(&format!("/DVWA/?name={encoded}"), &[], "").await,
            told(
                "/DVWA/",
                &[(kind.clone(), "application/x-www-form-urlencoded")],
                &format!("name={encoded}"),
            )
            .await,
            told("/DVWA/", &[(kind.clone(), "multipart/form-data; boundary=x")], &multipart).await,
            told("/DVWA/", &[(kind, "application/json")], &json).await,
            told("/DVWA/", &[(header::COOKIE, &format!("a=b; name={encoded}"))], "").await,
        ] {
            assert!(answer.contains(SCRIPT), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_condition_of_text_can_be_made_to_hold_for_everybody() {
        assert!(told("/DVWA/?id=2", &[], "").await.contains(": gordonb</p>"));
        let everybody = told("/DVWA/?id=%27%20OR%20%271%27=%271", &[], "").await;
        assert!(everybody.contains(": admin, gordonb, pablo</p>"), "{everybody}");
    }

    #[tokio::test]
    async fn it_listens_on_loopback_only() {
        let listener = listen("0.0.0.0:0".parse().unwrap()).await.unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
    }

    #[test]
    fn what_may_stand_behind_it() {
        assert_eq!("built-in".parse(), Ok(SecurityTest::BuiltIn));
        assert_eq!("127.0.0.1:4280".parse(), Ok(SecurityTest::At("127.0.0.1:4280".parse().unwrap())));
        assert!("dvwa".parse::<SecurityTest>().is_err());
    }
}
