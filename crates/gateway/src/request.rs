//! A request's way through the gateway. [`answer`] is the list; each phase is a function below it.
//!
//! ```text
//!   visitor ─▶ 0 admit       too many connections, too little memory ─▶ 503 not-sent, `Retry-After`
//!              1 identify    who asks: a visitor, or the other gateway with its token? is it well formed?
//!              2 strip       hop-by-hop and `Ghostlight-*` headers off; origin and request id on
//!              ·  inspect    the web ACL, before any rule, for every visitor alike: its answer ─▶ visitor │ else on
//!              3 rule        redirect or fixed answer ─▶ visitor │ else a target group
//!              4 held?       every method but GET/HEAD/OPTIONS; the reads of a client that was told `unknown`
//!              ·  park       while a switchover is under way: wait, not forwarded │ too long, too many ─▶ 503 not-sent
//!              5 route       open here ─▶ local target │ else ─▶ peer's gateway │ nowhere ─▶ 503 not-sent
//!              ·  choose     one of the group's fit targets │ all full ─▶ 503 not-sent
//!              6 forward     the epoch is known before; what was sent, in part or whole, is not sent again
//!                │             └─ broke off after a byte ─▶ 503 unknown
//!                │             └─ the application switches to WebSocket ─▶ bytes both ways
//!              7 keep        held answers completely: memory, or a nameless file │ others stream
//!              8 barrier     wait for the commit gate
//!                │             └─ epoch changed, too long ─▶ 503 unknown, the client is marked by a cookie
//!   visitor ◀─ 9 release     looking at the lease's clock once more
//! ```
//!
//! Always true here: between phases 6 and 9 nothing of a held answer goes out. An answer of the peer's gateway is
//! not held again: its own gate has let it out.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode, Uri, Version,
    body::{Body, Incoming},
    header::{self, HeaderValue},
    http::uri::PathAndQuery,
    upgrade::OnUpgrade,
};
use model::Epoch;
use runtime::clock::Boot;

use crate::{
    access::{Counted, Trace},
    agent::Outcome,
    balance::Shares,
    body::{AnswerBody, Pace, VisitorBody},
    doubt,
    forward::{broke_off, forward},
    framing::HeadWatch,
    guard, headers,
    keys::Keys,
    listen::Edge,
    origin::{self, Hop},
    parking::Passage,
    refusal::{NotSent, Prefers, Refusal, Unknown, WhyUnknown},
    route::Began,
    rules,
    spill::{Buffer, Held},
    traceparent, upgrade, upstream,
};

/// The path on the visitors' port that tells whether this site serves; for health-checked DNS.
const SERVING_PATH: &str = "/ghostlight/serving";
/// So many headers a request gets on its way: room is made for them once.
const HEADERS_ADDED: usize = 8;
/// The agent's last words tell whether this site serves for so long.
const SERVING_STALE: Duration = Duration::from_millis(3_000);

/// The visitor's connection.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) address: SocketAddr,
    pub(crate) heads: HeadWatch,
    /// It speaks TLS.
    pub(crate) secure: bool,
    /// There are too many: whatever it asks, it is told to come again.
    pub(crate) turned_away: bool,
}

impl Visitor {
    fn protocol(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// A request that is ready to be forwarded, and what must be remembered of it.
pub(crate) struct Asked {
    pub(crate) request: Request<VisitorBody>,
    /// The visitor's own address.
    pub(crate) source: IpAddr,
    /// Came through the other site's gateway.
    pub(crate) forwarded: bool,
    /// It asks for a WebSocket.
    upgrade: Option<OnUpgrade>,
    /// May change something.
    pub(crate) writes: bool,
    /// The answer is held whatever it says.
    pub(crate) held: bool,
    /// Its client carries our cookie.
    marked: bool,
    /// It wants trailers, as gRPC does.
    pub(crate) takes_trailers: bool,
}

/// The target group that a rule chose.
pub(crate) struct Route {
    pub(crate) shares: Rc<Shares>,
    /// Its place in these shares. None: the routing leads nowhere, and the visitor is told so.
    pub(crate) group: Option<usize>,
}

/// What a rule says.
enum Ruled {
    /// Answer this.
    Answer(Box<Response<AnswerBody>>),
    /// Forward.
    To(Route),
}

/// An answer's head, its body still under way.
pub(crate) struct Answered {
    pub(crate) response: Response<upstream::Answer>,
    /// Where it began; none if the peer answered.
    pub(crate) began: Option<Began>,
}

/// Answers one request of a visitor.
pub(crate) async fn handle(
    edge: Rc<Edge>,
    visitor: Visitor,
    request: Request<Incoming>,
) -> Result<Response<Counted>, Infallible> {
    let (mut parts, body) = request.into_parts();
    let prefers = Prefers::of(&parts.headers);
    let reload = parts.method == Method::GET;
    parts.headers.reserve(HEADERS_ADDED);
    let id = headers::request_id(&mut parts.headers);
    let request = Request::from_parts(parts, body);
    let trace = if edge.access.is_some() { Trace::on() } else { Trace::off() };
    let from = visitor.address.ip();
    let entry = edge.access.as_ref().map(|log| log.begin(&request, from, &id, trace.clone()));
    let result = answer(&edge, &visitor, &trace, request).await;
    let mut response = result.unwrap_or_else(|refusal| refuse(&edge, &refusal, &prefers, reload));
    response.headers_mut().insert(headers::REQUEST_ID, id);
    let is_unread = !visitor.heads.is_read() && !matches!(response.body(), AnswerBody::Streamed(_));
    let is_last = visitor.turned_away || edge.ending.is_passed_on();
    if is_unread || is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // What is left of an unread request must not be taken for the next one.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    edge.metrics.answered(response.status().as_u16());
    Ok(Counted::answer(response, entry))
}

/// The phases.
async fn answer(
    edge: &Rc<Edge>,
    visitor: &Visitor,
    trace: &Trace,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Refusal> {
    if request.uri().path() == SERVING_PATH {
        visitor.heads.next_head();
        return Ok(serving_page(edge));
    }
    if visitor.turned_away || edge.pressure.is_high() {
        edge.metrics.shed.inc();
        return Err(Refusal::NotSent(NotSent::Shed));
    }
    let mut asked = identify(edge, visitor, request)?;
    strip(edge, visitor, &mut asked);
    if let Some(answer) = to_https(edge, visitor, &asked) {
        return Ok(answer);
    }
    if let Some(answer) = guard::inspect(edge, &mut asked.request, asked.source, asked.forwarded).await? {
        return Ok(answer);
    }
    let route = match rule(edge, visitor, &asked, trace) {
        Ruled::Answer(answer) => return Ok(*answer),
        Ruled::To(route) => route,
    };
    is_held(edge, &mut asked);
    let asks_upgrade = asked.upgrade.is_some();
    let upgrade = asked.upgrade.take().filter(|_| !asked.held || !edge.settings().gate);
    if asks_upgrade && upgrade.is_none() {
        headers::strip_hop_by_hop(asked.request.headers_mut());
    }
    let (writes, held, marked) = (asked.writes, asked.held, asked.marked);
    // Counts as under way from here until its answer is out, its hold included.
    let passage = edge.parking.enter(asked.forwarded).await?;
    edge.knows(passage.heard).await;
    let answered = forward(edge, asked, route, trace).await?;
    if answered.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match upgrade {
            Some(visitor) => Ok(upgrade::through(visitor, answered.response, passage)),
            // Nobody had asked it to: what it says next is no answer.
            None => Err(broke_off(edge.epoch(), WhyUnknown::Upstream, writes)),
        };
    }
    let (answered, began) = match answered {
        Answered { response, began: Some(began) }
            if edge.settings().gate && (held || headers::wants_hold(response.headers())) =>
        {
            (response, began)
        }
        Answered { response, began } => return Ok(pass(response, began.is_none(), passage)),
    };
    // Boxed: a request under way whose answer is not held would keep room for it, too.
    let (kept, ()) = Box::pin(async {
        let kept = keep(edge, answered, began.epoch, writes).await?;
        Ok((kept, barrier(edge, &began, writes).await?))
    })
    .await?;
    Ok(release(kept, marked))
}

/// Phase 1: who asks, and is it a request that can mean only one thing?
fn identify(edge: &Edge, visitor: &Visitor, request: Request<Incoming>) -> Result<Asked, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::MethodNotAllowed);
    }
    if let Some(doubt) = doubt::about(&request, visitor.heads.had_length()) {
        return Err(Refusal::BadRequest(doubt));
    }
    let headers = request.headers();
    // The answer of a client that was told `unknown` waits for a barrier: no stream can.
    let upgrades = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && headers.contains_key(header::UPGRADE)
        && upgrade::is_asked(headers);
    let forwarded = headers::forwarded_by(headers, &edge.keys).is_some();
    if request.body().size_hint().lower() > edge.settings().limits.body_bytes_max {
        return Err(Refusal::TooLarge);
    }
    if headers.get(header::EXPECT).is_some_and(|e| !e.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::ExpectationFailed);
    }
    let pace = Pace::of(&edge.settings().limits);
    let mut request = request.map(|body| VisitorBody::new(body, pace, visitor.heads.clone()));
    let upgrade = upgrades.then(|| hyper::upgrade::on(&mut request));
    let hop = visitor.address.ip();
    let settings = edge.settings();
    let trusted = &settings.trusted_proxies;
    let source = if forwarded { headers::source(request.headers()) } else { None };
    let source = source.unwrap_or_else(|| origin::source(request.headers(), hop, trusted));
    let (writes, held, marked, takes_trailers) = (false, false, false, false);
    Ok(Asked { request, source, forwarded, upgrade, writes, held, marked, takes_trailers })
}

/// Phase 2: off with what is the connection's or pretends to be ours; on with where it comes from.
fn strip(edge: &Edge, visitor: &Visitor, asked: &mut Asked) {
    let request = &mut asked.request;
    if let Some(authority) = request.uri().authority().map(|a| a.as_str().to_owned()) {
        if let Ok(host) = HeaderValue::try_from(authority) {
            request.headers_mut().insert(header::HOST, host);
        }
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    } else if !request.headers().contains_key(header::HOST)
        && let Ok(host) = HeaderValue::try_from(edge.settings().listen.to_string())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    // The one word of `TE` that a gRPC server must hear. It says that trailers may be sent, and so they may: we pass them on.
    asked.takes_trailers =
        headers.get(header::TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    headers::strip_request(headers);
    if asked.upgrade.is_some() {
        upgrade::ask(headers);
    }
    headers::join_cookies(headers);
    let hop = Hop { address: visitor.address.ip(), protocol: visitor.protocol() };
    // The other site's gateway has said it all already.
    if !asked.forwarded {
        origin::say(headers, &hop, &edge.settings().trusted_proxies);
    }
    traceparent::ensure(headers);
}

/// Before the rules: visitors without TLS are sent to it, where that is wanted. What the other gateway passes on came over
/// the link.
fn to_https(edge: &Edge, visitor: &Visitor, asked: &Asked) -> Option<Response<AnswerBody>> {
    let port = edge.settings().redirect_to_https.filter(|_| !visitor.secure && !asked.forwarded)?;
    let request = &asked.request;
    let host = rules::without_port(request.headers().get(header::HOST)?.to_str().ok()?);
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let location = HeaderValue::try_from(format!("https://{host}{port}{path}")).ok()?;
    let mut answer = Response::new(AnswerBody::Empty);
    // 308 keeps the method; browsers have asked for 301 for longer.
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    *answer.status_mut() = if reads { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
    answer.headers_mut().insert(header::LOCATION, location);
    Some(answer)
}

/// Phase 3: what the rules say.
fn rule(edge: &Edge, visitor: &Visitor, asked: &Asked, trace: &Trace) -> Ruled {
    let shares = edge.shares();
    let request = &asked.request;
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let (path, query) = (request.uri().path(), request.uri().query());
    let view = rules::View {
        host,
        path,
        query,
        method: request.method(),
        headers: request.headers(),
        source: asked.source,
    };
    let (place, action) = shares.snapshot.table.choose(&view);
    shares.count_rule(place);
    if asked.source != visitor.address.ip() {
        trace.comes_from(asked.source);
    }
    let group = match action {
        rules::Action::Forward(groups) => groups.pick(rand::random),
        _ => None,
    };
    trace.ruled(&shares, place, group);
    match action {
        rules::Action::Forward(_) => Ruled::To(Route { shares, group }),
        rules::Action::Redirect(redirect) => {
            let asking = rules::Asking { protocol: visitor.protocol(), host, path, query };
            let mut answer = Response::new(AnswerBody::Empty);
            match redirect.location(&asking) {
                Some(location) => {
                    *answer.status_mut() = redirect.status;
                    answer.headers_mut().insert(header::LOCATION, location);
                }
                None => *answer.status_mut() = StatusCode::BAD_REQUEST,
            }
            Ruled::Answer(Box::new(answer))
        }
        rules::Action::Fixed(fixed) => {
            let mut answer = Response::new(AnswerBody::from(fixed.body.clone()));
            *answer.status_mut() = fixed.status;
            answer.headers_mut().insert(header::CONTENT_TYPE, fixed.content_type.clone());
            Ruled::Answer(Box::new(answer))
        }
    }
}

/// Phase 4: must the answer wait, whatever it says?
fn is_held(edge: &Edge, asked: &mut Asked) {
    let reads = matches!(*asked.request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    asked.marked = asked.request.headers().contains_key(header::COOKIE)
        && edge.keys.marked(asked.request.headers()).is_some();
    asked.writes = !reads;
    asked.held = asked.writes || asked.marked;
}

/// An answer that is not held: its body streams.
fn pass(
    mut response: Response<upstream::Answer>,
    from_peer: bool,
    mut passage: Passage,
) -> Response<AnswerBody> {
    passage.streams();
    response.body_mut().keep(passage);
    let headers = response.headers_mut();
    headers::strip_answer(headers, from_peer.then_some(&headers::OUTCOME));
    response.map(AnswerBody::Streamed)
}

/// Phase 7: keep the whole answer; only after its last byte does a barrier prove anything about it.
async fn keep(
    edge: &Edge,
    response: Response<upstream::Answer>,
    epoch: Epoch,
    writes: bool,
) -> Result<Response<AnswerBody>, Refusal> {
    let (mut parts, mut body) = response.into_parts();
    headers::strip_answer(&mut parts.headers, None);
    let mut buffer = Buffer::new(edge.settings().spill.clone());
    let mut trailers = None;
    let read_all = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| (WhyUnknown::Upstream, e.to_string()))?;
            match frame.into_data() {
                Ok(piece) => buffer.push(piece).await.map_err(|e| (WhyUnknown::Keeping, e.to_string()))?,
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        buffer.finish().await.map_err(|e| (WhyUnknown::Keeping, e.to_string()))
    };
    let within = Duration::from_millis(edge.settings().limits.answer_ms);
    let result = tokio::time::timeout(within, read_all).await;
    drop(body);
    let held = match result {
        Ok(Ok(held)) => held,
        Ok(Err((why, words))) => {
            tracing::warn!("a held answer could not be kept: {words}");
            return Err(broke_off(epoch, why, writes));
        }
        Err(_) => return Err(broke_off(epoch, WhyUnknown::Upstream, writes)),
    };
    let body = match held {
        Held::Whole(bytes) => AnswerBody::from(bytes),
        Held::Spilled(reader) => {
            edge.metrics.spilled.inc();
            AnswerBody::Spilled(reader)
        }
    };
    if trailers.is_some() {
        // A length and trailers exclude each other over HTTP/1.1; gRPC sends none.
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    Ok(Response::from_parts(parts, body.trailed(trailers)))
}

/// Phases 8 and 9's clock: wait for the gate, and look at the lease once more before the answer goes.
async fn barrier(edge: &Rc<Edge>, began: &Began, writes: bool) -> Result<(), Refusal> {
    let since_ms = Boot::now().as_ms();
    loop {
        match edge.gate.wait(began, since_ms).await {
            Outcome::Release { before_ms } if before_ms.is_none_or(|before| Boot::now().as_ms() < before) => {
                let held_ms = Boot::now().as_ms().saturating_sub(since_ms);
                edge.metrics.released.inc();
                edge.metrics.held_s.observe(Duration::from_millis(held_ms).as_secs_f64());
                return Ok(());
            }
            // The lease ended between the gate's word and now.
            Outcome::Release { .. } => {}
            Outcome::Unknown { why, position } => {
                let epoch = began.epoch;
                let unknown = Unknown { why: WhyUnknown::Gate(why), epoch, position, marks_client: writes };
                return Err(Refusal::Unknown(unknown));
            }
        }
    }
}

/// Phase 9: out it goes. The barrier covers whatever the client was in doubt about, so its mark goes too.
fn release(mut kept: Response<AnswerBody>, marked: bool) -> Response<AnswerBody> {
    if marked {
        kept.headers_mut().append(header::SET_COOKIE, HeaderValue::from_static(Keys::unmark()));
    }
    kept
}

fn refuse(edge: &Edge, refusal: &Refusal, prefers: &Prefers, reload: bool) -> Response<AnswerBody> {
    let mut response = refusal.answer(prefers, reload);
    match refusal {
        Refusal::NotSent(_) => {
            edge.metrics.not_sent.inc();
        }
        Refusal::Stalled => {
            edge.metrics.too_slow.inc();
        }
        Refusal::Unknown(unknown) => {
            edge.metrics.unknown.inc();
            tracing::info!(epoch = %unknown.epoch, why = ?unknown.why, "a visitor was told `unknown`");
            let cookie = edge.keys.mark(unknown.epoch, unknown.position.as_ref());
            if edge.settings().gate
                && unknown.marks_client
                && let Ok(cookie) = HeaderValue::try_from(cookie)
            {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
        }
        _ => {}
    }
    response
}

/// 200 only where this site is primary and open, by words of the agent that are not old.
fn serving_page(edge: &Edge) -> Response<AnswerBody> {
    let open = edge.is_open_since(SERVING_STALE);
    let (status, text) =
        if open { (StatusCode::OK, "serving\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not serving\n") };
    let mut response = Response::new(AnswerBody::from(bytes::Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
