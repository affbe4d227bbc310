//! A whole request line through the example's web ACL: path, query, arguments and all rules about them.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use waf::{Bundle, Engine, Nowhere, RequestView};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let acl = include_str!("../../examples/waf/web-acl.json");
    Engine::new(Bundle::parse(acl).expect("the example is an ACL"), b"key").expect("it compiles")
});

fuzz_target!(|target: &[u8]| {
    let at = target.iter().position(|&b| b == b'?').unwrap_or(target.len());
    let (path, query) = (&target[..at], target.get(at + 1..).unwrap_or_default());
    let request = RequestView {
        method: "GET",
        path,
        query,
        fragment: b"",
        version: "HTTP/1.1",
        headers: &[],
        body: b"",
        client_ip: [192, 0, 2, 1].into(),
        ja3: None,
        ja4: None,
        request_id: "",
        now_ms: 0,
    };
    ENGINE.evaluate(&request, &Nowhere);
});
