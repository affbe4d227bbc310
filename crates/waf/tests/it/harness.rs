//! Requests and engines for the tests.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use waf::{
    Bundle, Effort, Engine, Explained, Header, Nowhere, RequestView, Verdict,
    log::{self, LogSource, Redaction, Samples},
};

/// A request of its own.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) ip: IpAddr,
    pub(crate) now_ms: u64,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.into(),
            target: target.as_bytes().to_vec(),
            headers: vec![
                ("Host".into(), b"shop.example.kr".to_vec()),
                ("User-Agent".into(), b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36".to_vec()),
                ("Accept".into(), b"text/html,application/json;q=0.9,*/*;q=0.8".to_vec()),
            ],
            body: Vec::new(),
            ip: IpAddr::from([203, 0, 113, 7]),
            now_ms: 1_700_000_000_000,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self.header("Content-Type", content_type)
    }

    pub(crate) fn judge(&self, engine: &Engine) -> Verdict {
        self.with_view(engine, |view| engine.evaluate(view, &Nowhere))
    }

    pub(crate) fn effort(&self, engine: &Engine) -> Effort {
        self.with_view(engine, |view| engine.effort(view, &Nowhere).1)
    }

    /// The line that a log would have of it.
    pub(crate) fn line(&self, engine: &Engine, redaction: &Redaction) -> serde_json::Value {
        let source = LogSource { name: "GHOSTLIGHT".into(), id: "test".into() };
        self.with_view(engine, |view| {
            let verdict = engine.evaluate(view, &Nowhere);
            log::line(engine, &source, view, &verdict, redaction)
        })
    }

    /// Takes it as a sample.
    pub(crate) fn sample(&self, engine: &Engine, samples: &mut Samples) {
        self.with_view(engine, |view| samples.take(view, &engine.evaluate(view, &Nowhere)));
    }

    pub(crate) fn explain(&self, engine: &Engine) -> Vec<Explained> {
        self.with_view(engine, |view| engine.explain(view, &Nowhere))
    }

    fn with_view<T>(&self, engine: &Engine, ask: impl FnOnce(&RequestView<'_>) -> T) -> T {
        let headers: Vec<Header<'_>> =
            self.headers.iter().map(|(name, value)| Header { name, value }).collect();
        let target = self.target.split(|&b| b == b'#').next().unwrap_or_default();
        let at = target.iter().position(|&b| b == b'?');
        let (path, query) = at.map_or((target, &[] as &[u8]), |at| (&target[..at], &target[at + 1..]));
        let view = RequestView {
            method: &self.method,
            path,
            query,
            fragment: b"",
            version: "HTTP/1.1",
            headers: &headers,
            body: &self.body[..self.body.len().min(engine.body_limit() + 1)],
            client_ip: self.ip,
            ja3: None,
            ja4: None,
            request_id: "test",
            now_ms: self.now_ms,
        };
        ask(&view)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The engine of the example ACL that the README names.
pub(crate) fn example() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let text = std::fs::read_to_string(root().join("examples/waf/web-acl.json")).unwrap();
        Engine::new(Bundle::parse(&text).unwrap(), b"key").unwrap()
    })
}

/// Public corpora, which are no part of the repository; `None`, with the reason said, where there are none. In CI their
/// absence is a failure.
pub(crate) fn corpus() -> Option<PathBuf> {
    let path =
        std::env::var_os("GHOSTLIGHT_WAF_CORPUS").map_or_else(|| root().join("../shared/waf"), PathBuf::from);
    if path.join("crs-level-1.txt").is_file() {
        return Some(path);
    }
    let reason = format!("no corpus in {}; set GHOSTLIGHT_WAF_CORPUS", path.display());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
    eprintln!("skipped: {reason}");
    None
}

/// The rule that ended it, for a person.
pub(crate) fn why(verdict: &Verdict) -> String {
    let t = &verdict.terminating;
    format!("{}/{} {:?}", t.rule, t.within.as_deref().unwrap_or("-"), t.details)
}
