//! The web ACL's phase: what a visitor asks is judged before any rule of ours sees it.
//!
//! Owns the ACL as compiled (`waf::Engine`), swapped in whole when its file changes; what it inserts for the application
//! (`x-amzn-waf-*`, which no visitor may say himself); and the log and counters of its verdicts. What the other site's
//! gateway passes on was judged there, and is not counted twice against a visitor's rate.
//!
//! A body is read up to what the ACL inspects and one byte more, so that the ACL knows whether there is more; what was read
//! goes on to the application as it came. Streams of gRPC are not waited for: their bodies are not inspected, as AWS does.
//! Nor is any body, if the ACL has no rule about bodies.

mod lines;
mod tally;

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use runtime::{clock::Wall, process::Shutdown, secret::Secret};
use waf::{
    Bundle, Engine, Header, Outcome, Places, RequestView, Verdict,
    log::{LogFilter, LogSource, Redaction, Samples},
};

use self::{lines::Lines, tally::Tally};
use crate::{
    body::{AnswerBody, Upload, VisitorBody},
    headers,
    keys::Keys,
    listen::Edge,
    refusal::Refusal,
    tls::stamp,
};

/// How often the ACL's file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What the ACL tells the application begins with this; nobody else may say it.
const INSERTED: &str = "x-amzn-waf-";

/// What a web ACL and its log are made of.
pub struct Settings {
    /// The ACL: AWS's JSON, alone or with what it refers to.
    pub acl: PathBuf,
    /// Where log lines are appended; none: nowhere.
    pub log: Option<PathBuf>,
    /// `RedactedFields` and `LoggingFilter` of AWS's logging configuration, JSON. Without it what was simply allowed is
    /// not logged.
    pub logging: Option<PathBuf>,
    /// Where the countries of addresses were read from, if anywhere.
    pub mmdb: Option<PathBuf>,
    /// Where addresses are.
    pub places: Box<dyn Places + Send + Sync>,
    /// The token of all admin APIs: tokens of challenges are signed with a key derived from it.
    pub admin_token: Secret,
    /// Which gateway keeps the log.
    pub id: String,
}

/// An ACL cannot be used: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The file cannot be read.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The file is no ACL, or not one that we can enforce.
    #[error("{path}: {why}")]
    Acl {
        /// The file.
        path: String,
        /// What is wrong, with the JSON path.
        why: waf::AclError,
    },
}

/// The web ACL of a gateway, shared by its threads.
pub struct Guard {
    acl: PathBuf,
    /// The other files that it was made of: they are read once.
    files: [Option<PathBuf>; 3],
    key: Vec<u8>,
    places: Box<dyn Places + Send + Sync>,
    enforced: ArcSwap<Enforced>,
    source: LogSource,
    redaction: Redaction,
    filter: Option<LogFilter>,
    lines: Option<Lines>,
    samples: Mutex<Samples>,
    tally: Tally,
}

/// The ACL as compiled, and the counter of what it simply allows.
struct Enforced {
    engine: Engine,
    allowed: Counter,
}

impl Enforced {
    fn new(engine: Engine, tally: &Tally) -> Enforced {
        Enforced { allowed: tally.allowed(&engine), engine }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("acl", &self.acl).finish_non_exhaustive()
    }
}

impl Guard {
    /// Reads and compiles the ACL.
    pub fn read(settings: Settings) -> Result<Arc<Guard>, GuardError> {
        let Settings { acl, log, logging, mmdb, places, admin_token, id } = settings;
        let key = Keys::challenge(&admin_token);
        let tally = Tally::default();
        let enforced = ArcSwap::from_pointee(Enforced::new(compile(&acl, &key)?, &tally));
        let (redaction, filter) =
            logging.as_deref().map_or(Ok((Redaction::default(), None)), read_logging)?;
        Ok(Arc::new(Guard {
            acl,
            files: [log.clone(), logging, mmdb],
            key,
            places,
            enforced,
            source: LogSource { name: "GHOSTLIGHT".into(), id },
            redaction,
            filter,
            lines: log.map(Lines::new),
            samples: Mutex::default(),
            tally,
        }))
    }

    /// Reads the ACL again whenever its file has changed, and writes the log, until `shutdown`.
    pub(crate) async fn follow(self: Arc<Self>, shutdown: Shutdown) {
        let mut seen = stamp(&self.acl);
        let look = async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await; // a file tells nobody that it has changed
                let now = stamp(&self.acl);
                if now == seen {
                    continue;
                }
                seen = now;
                match compile(&self.acl, &self.key) {
                    Ok(engine) => {
                        self.enforced.store(Arc::new(Enforced::new(engine, &self.tally)));
                        tracing::info!(acl = %self.acl.display(), "the changed web ACL is enforced from now on");
                    }
                    // Looked at again when the file changes again.
                    Err(e) => tracing::warn!("the web ACL of before is enforced on: {e}"),
                }
            }
        };
        let write = async {
            match &self.lines {
                Some(lines) => lines.keep_writing().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = look => {}
            () = write => {}
            () = shutdown.cancelled() => {}
        }
        if let Some(lines) = &self.lines {
            lines.write();
        }
    }

    /// Whether both were made of the same files. What the ACL's file says may differ: it is followed.
    pub(crate) fn is_of_the_same_files(&self, other: &Guard) -> bool {
        (&self.acl, &self.files) == (&other.acl, &other.files)
    }

    /// Makes its counters visible.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.tally.register(registry);
    }

    /// The samples of a rule, the newest first, as `get-sampled-requests` gives them.
    pub(crate) fn samples(&self, rule: &str) -> Vec<serde_json::Value> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.of(rule).map(|s| s.json.clone()).collect()
    }

    /// What the ACL says of the request; counted, logged, sampled.
    fn judge(&self, enforced: &Enforced, view: &RequestView<'_>) -> Verdict {
        let engine = &enforced.engine;
        let verdict = engine.evaluate(view, self.places.as_ref());
        if Tally::is_simply_allowed(&verdict) {
            enforced.allowed.inc();
        } else {
            self.tally.count(engine, &verdict);
        }
        if let Some(lines) = &self.lines
            && self.is_logged(&verdict)
        {
            lines.add(&waf::log::line(engine, &self.source, view, &verdict, &self.redaction));
        }
        // What is simply allowed is nearly everything, and nobody looks for samples of it.
        if verdict.outcome != Outcome::Allow {
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).take(view, &verdict);
        }
        verdict
    }

    fn is_logged(&self, verdict: &Verdict) -> bool {
        match &self.filter {
            Some(filter) => filter.keeps(verdict),
            None => {
                let counted = |g: &waf::GroupVerdict| !g.others.is_empty();
                verdict.outcome != Outcome::Allow
                    || !verdict.others.is_empty()
                    || verdict.groups.iter().any(counted)
            }
        }
    }
}

/// The phase. `Some`: the answer to give instead of asking the application.
///
/// `source` is the visitor's own address; `forwarded`: the other site's gateway has judged it already.
pub(crate) async fn inspect(
    edge: &Edge,
    request: &mut Request<VisitorBody>,
    source: IpAddr,
    forwarded: bool,
) -> Result<Option<Response<AnswerBody>>, Refusal> {
    if forwarded {
        return Ok(None);
    }
    take_off_inserted(request.headers_mut());
    let Some(guard) = edge.settings().guard.clone() else { return Ok(None) };
    let enforced = guard.enforced.load_full();
    let engine = &enforced.engine;
    let body = if is_grpc(request.headers()) || !engine.reads_body() {
        bytes::Bytes::new()
    } else {
        let wanted = engine.body_limit() + 1;
        request.body_mut().peek(wanted).await.map_err(|how| match how {
            Upload::TooLarge => Refusal::TooLarge,
            Upload::Stalled => Refusal::Stalled,
            _ => Refusal::BadRequest("The body of the request is malformed."),
        })?
    };
    let seen: Vec<Header<'_>> =
        request.headers().iter().map(|(n, v)| Header { name: n.as_str(), value: v.as_bytes() }).collect();
    let id = request.headers().get(headers::REQUEST_ID).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let uri = request.uri();
    let view = RequestView {
        method: request.method().as_str(),
        path: uri.path().as_bytes(),
        query: uri.query().unwrap_or_default().as_bytes(),
        fragment: b"",
        version: "HTTP/1.1",
        headers: &seen,
        body: &body[..body.len().min(engine.body_limit() + 1)],
        client_ip: source,
        ja3: None,
        ja4: None,
        request_id: id,
        now_ms: Wall::now().as_ms(),
    };
    let verdict = guard.judge(&enforced, &view);
    if let Some(response) = verdict.response {
        return answer(response).map(Some);
    }
    for inserted in verdict.inserted {
        let name = HeaderName::try_from(inserted.name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(inserted.value)) {
            request.headers_mut().insert(name, value);
        }
    }
    Ok(None)
}

/// The answer that the verdict wants; a bare 403 is told in words.
fn answer(response: waf::Response) -> Result<Response<AnswerBody>, Refusal> {
    if response.status == 403 && response.body.is_none() && response.headers.is_empty() {
        return Err(Refusal::Blocked);
    }
    let (content_type, content) = match response.body {
        Some(body) => (Some(HeaderValue::from_static(body.content_type)), body.content),
        None => (None, String::new()),
    };
    let mut answer = Response::new(AnswerBody::from(bytes::Bytes::from(content)));
    *answer.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::FORBIDDEN);
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    for (name, value) in response.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    Ok(answer)
}

/// Off with what only a web ACL may say.
fn take_off_inserted(headers: &mut HeaderMap) {
    let said: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(INSERTED)).cloned().collect();
    for name in said {
        headers.remove(name);
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"))
}

fn text(path: &Path) -> Result<String, GuardError> {
    let file = |e: std::io::Error| GuardError::File { path: path.display().to_string(), why: e.to_string() };
    std::fs::read_to_string(path).map_err(file)
}

fn compile(path: &Path, key: &[u8]) -> Result<Engine, GuardError> {
    let acl = |why| GuardError::Acl { path: path.display().to_string(), why };
    Engine::new(Bundle::parse(&text(path)?).map_err(acl)?, key).map_err(acl)
}

/// AWS's `LoggingConfiguration`, as far as it says what a line shows and which lines are kept.
fn read_logging(path: &Path) -> Result<(Redaction, Option<LogFilter>), GuardError> {
    let file = |why: String| GuardError::File { path: path.display().to_string(), why };
    let acl = |why| GuardError::Acl { path: path.display().to_string(), why };
    let value: serde_json::Value =
        serde_json::from_str(&text(path)?).map_err(|e| file(format!("it is no JSON: {e}")))?;
    let Some(object) = value.as_object() else {
        return Err(file("it is no object; write {\"RedactedFields\": […], \"LoggingFilter\": {…}}".into()));
    };
    if let Some(other) = object.keys().find(|k| !["RedactedFields", "LoggingFilter"].contains(&k.as_str())) {
        return Err(file(format!("`{other}` is unknown; there are RedactedFields and LoggingFilter")));
    }
    let redaction = object.get("RedactedFields").map(Redaction::read).transpose().map_err(acl)?;
    let filter = object.get("LoggingFilter").map(LogFilter::read).transpose().map_err(acl)?;
    Ok((redaction.unwrap_or_default(), filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_acl_may_say_what_an_acl_inserts() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amzn-waf-verified", HeaderValue::from_static("yes"));
        headers.insert("x-amzn-trace-id", HeaderValue::from_static("1"));
        take_off_inserted(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-amzn-trace-id"]);
    }

    #[test]
    fn a_bare_403_is_told_in_words_and_another_answer_as_it_stands() {
        let bare = waf::Response { status: 403, headers: Vec::new(), body: None };
        assert_eq!(answer(bare).err(), Some(Refusal::Blocked));
        let header = ("Retry-After".to_owned(), "60".to_owned());
        let own = waf::Response { status: 429, headers: vec![header], body: None };
        let own = answer(own).ok().unwrap();
        assert_eq!(
            (own.status().as_u16(), &own.headers()["retry-after"]),
            (429, &HeaderValue::from_static("60"))
        );
    }
}
