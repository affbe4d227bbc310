//! The security-test target in a lab: an attack reaches the page that is vulnerable on purpose, and not past the web ACL.
//! Slow (a minute): it starts two clouds.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lab::{
    dvwa::SecurityTest,
    lab::{Lab, LabOptions},
    layout::Cloud,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::up::programs;

const PATIENCE: Duration = Duration::from_secs(60);
const SCRIPT: &str = "<script>alert(document.cookie);</script>";
const SQL: &str = "' OR '1'='1";

fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02x}")).collect()
}

/// The payload in query, form, multipart form, JSON and cookie.
fn everywhere(key: &str, payload: &str) -> Vec<String> {
    let get = |target: &str, header: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: shop.example.kr\r\nUser-Agent: t\r\nConnection: close\r\n{header}\r\n"
        )
    };
    let post = |kind: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /DVWA/ HTTP/1.1\r\nHost: shop.example.kr\r\nUser-Agent: t\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let part = format!("--x\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n{payload}\r\n--x--\r\n");
    let pair = format!("{key}={}", encoded(payload));
    vec![
        get(&format!("/DVWA/?{pair}"), ""),
        post("application/x-www-form-urlencoded", &pair),
        post("multipart/form-data; boundary=x", &part),
        post("application/json", &serde_json::json!({ key: payload }).to_string()),
        get("/DVWA/", &format!("Cookie: {pair}\r\n")),
    ]
}

async fn ask(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// What a lab with this web ACL answers: statuses, and whether the page was vulnerable each time.
async fn answers(name: &str, acl: bool) -> Vec<(String, bool)> {
    let folder = std::path::PathBuf::from(format!("/var/tmp/ghostlight-test-{}-{name}", std::process::id()));
    let mut options = LabOptions::new(&folder);
    options.programs = Some(programs());
    options.security_test = Some(SecurityTest::BuiltIn);
    // The page writes nothing, so nothing waits for the other site.
    options.gate = false;
    options.web_acl =
        acl.then(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/waf/web-acl.json").into());
    let lab = Box::pin(Lab::start(options, &|what| eprintln!("lab: {what}"))).await.unwrap();
    let gateway = lab.addresses().gateway(Cloud::Nhn);
    let honest = "GET /DVWA/ HTTP/1.1\r\nHost: shop.example.kr\r\nUser-Agent: t\r\nConnection: close\r\n\r\n";
    let began = Instant::now();
    while !ask(gateway, honest).await.starts_with("HTTP/1.1 200") {
        assert!(began.elapsed() < PATIENCE, "the page is never reached");
        tokio::time::sleep(Duration::from_millis(50)).await; // until the gateway has found its target healthy
    }
    let mut said = Vec::new();
    for (key, payload, harm) in [("name", SCRIPT, SCRIPT), ("id", SQL, "admin, gordonb, pablo")] {
        for request in everywhere(key, payload) {
            let answer = ask(gateway, &request).await;
            let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
            said.push((status, answer.contains(harm)));
        }
    }
    lab.stop().await;
    std::fs::remove_dir_all(&folder).unwrap();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_reaches_the_vulnerable_page_and_not_past_the_web_acl() {
    assert_eq!(answers("open", false).await, vec![("200".to_owned(), true); 10]);
    assert_eq!(answers("guarded", true).await, vec![("403".to_owned(), false); 10]);
}
