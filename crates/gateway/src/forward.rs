//! Phases 5 and 6: where a request goes, a connection there, and sending it, once.
//!
//! When something fails on the way, what may be done depends on what has been sent:
//!
//! | what happened | what is done |
//! |---|---|
//! | no target accepts | others are tried, again and again, for `accept_ms` |
//! | the connection had ended before a byte was sent | another connection, within `accept_ms` |
//! | it broke after a byte was sent, before an answer | never again: 503 `unknown`. Where a group says `retry_reads`, a read is sent once more |
//! | no answer in time, or none that can be read | never again: 503 `unknown` |
//!
//! A *read* here is a GET or HEAD without a body whose answer is not held, in a group of which no read was ever held; it is
//! sent once more only in the same epoch, to a target of this site, and within the group's budget. See
//! `docs/decisions/0012`.
//!
//! Always true here: a request of which a byte was sent is never sent again, unless its group's owner has said that its reads
//! may be; a write never is.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use hyper::{
    Method, Request,
    header::{self, HeaderValue},
};
use model::Epoch;
use runtime::clock::Boot;
use tokio::time::Instant;

use crate::{
    access::Trace,
    balance::{Group, Share, Shares, select},
    body::{Upload, VisitorBody},
    headers,
    listen::Edge,
    peer,
    refusal::{NotSent, Refusal, Unknown, WhyUnknown},
    request::{Answered, Asked, Route},
    route::{Began, Destination},
    upstream::{self, Failed, Patience, Spoken},
};

/// After all fit targets have refused a connection.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(50);

/// A connection, the cookie that binds the visitor to its target, where the request begins if it leads to a target here, and
/// how long an answer may take.
type Connected = (upstream::Connection, Option<HeaderValue>, Option<Began>, Duration);

/// Chooses, connects, sends.
///
/// While a connection is being made nothing is sent; if the agent says something new meanwhile, the choice is made
/// again. So a request that waits for a dead peer is served here the moment this site is promoted.
pub(crate) async fn forward(
    edge: &Rc<Edge>,
    asked: Asked,
    route: Route,
    trace: &Trace,
) -> Result<Answered, Refusal> {
    let Asked { mut request, source, forwarded, writes, held, takes_trailers, .. } = asked;
    let settings = edge.settings();
    let limits = &settings.limits;
    if held && edge.gate.held() >= limits.held_max {
        return Err(Refusal::NotSent(NotSent::Full));
    }
    let may_repeat = route.repeats_reads() && !held && !writes && is_repeatable(&request);
    let mut copy = may_repeat.then(|| copy_of(&request));
    // The target that broke it off, and where that began.
    let mut broken: Option<(SocketAddr, Began)> = None;
    let mut give_up = None;
    loop {
        let (connection, cookie, began, within) =
            connect(edge, &route, &request, source, forwarded, broken.as_ref().map(|(at, _)| *at)).await?;
        // It was sent in an epoch or a stream that is over: nobody sends it in the next one.
        if let Some((_, sent_in)) = &broken
            && began.as_ref() != Some(sent_in)
        {
            return Err(broke_off(sent_in.epoch, WhyUnknown::Upstream, writes));
        }
        if began.is_none() {
            edge.metrics.forwarded.inc();
            edge.stamp.put(request.headers_mut(), source);
        }
        connection.protocol().suit(&mut request, takes_trailers);
        let address = connection.address();
        trace.sent_to(address);
        let upload = request.body().progress();
        let patience = Patience { head: within, idle: Duration::from_millis(limits.answer_idle_ms) };
        let why = match connection.exchange(request, patience).await {
            Ok(mut response) => {
                if let Some(cookie) = cookie {
                    response.headers_mut().append(header::SET_COOKIE, cookie);
                }
                if !writes && headers::wants_hold(response.headers()) {
                    route.holds_reads();
                }
                return Ok(Answered { response, began });
            }
            // The pooled connection had ended, unnoticed until now. Nothing was sent.
            Err(Failed::Returned(again)) => {
                let now = Instant::now();
                if now >= *give_up.get_or_insert_with(|| now + Duration::from_millis(limits.accept_ms)) {
                    return Err(Refusal::NotSent(NotSent::NoTarget));
                }
                request = *again;
                peer::Stamp::take_off(request.headers_mut());
                continue;
            }
            Err(Failed::Broke(why)) => {
                // The peer's gateway has its own epoch and its own rules.
                if let Some((again, sent_in)) = copy.take().zip(began.clone())
                    && edge.destination(forwarded) == Destination::Local(sent_in.clone())
                    && route.may_retry()
                {
                    tracing::debug!(%address, "a read is sent once more: {why}");
                    edge.metrics.retried.inc();
                    (request, broken) = (again, Some((address, sent_in)));
                    continue;
                }
                why
            }
            Err(Failed::Late(why)) => why,
        };
        tracing::debug!(%address, "no answer from upstream: {why}");
        return Err(match upload.get() {
            Upload::TooLarge => Refusal::TooLarge,
            Upload::Stalled => Refusal::Stalled,
            Upload::Broken => Refusal::BadRequest("The body of the request is malformed."),
            _ => {
                let epoch = began.map_or_else(|| edge.epoch(), |began| began.epoch);
                broke_off(epoch, WhyUnknown::Upstream, writes)
            }
        });
    }
}

/// Something was sent, and what became of it is not known.
pub(crate) fn broke_off(epoch: Epoch, why: WhyUnknown, writes: bool) -> Refusal {
    Refusal::Unknown(Unknown { why, epoch, position: None, marks_client: writes })
}

/// Nothing of it is consumed by sending it.
fn is_repeatable(request: &Request<VisitorBody>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && request.body().progress().get() == Upload::Complete
        && !request.headers().contains_key(header::UPGRADE)
}

fn copy_of(request: &Request<VisitorBody>) -> Request<VisitorBody> {
    let mut copy = Request::new(request.body().ended());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

impl Route {
    fn chosen(&self) -> Option<(&Group, &Share)> {
        self.group.and_then(|place| self.shares.at(place))
    }

    /// Whether the group's reads may be sent once more. This request counts for the share of them that may be.
    fn repeats_reads(&self) -> bool {
        self.chosen().filter(|(group, _)| group.config.retry_reads).is_some_and(|(group, share)| {
            share.retries.asked(group.config.retry_percent_max);
            group.config.retry_percent_max > 0 && !share.retries.holds_reads.get()
        })
    }

    /// A read's answer is to be held: what this group reads may change something, and is never sent again from now on.
    fn holds_reads(&self) {
        if let Some((_, share)) = self.chosen() {
            share.retries.holds_reads.set(true);
        }
    }

    /// Takes one repetition from the group's budget, if there is one left.
    fn may_retry(&self) -> bool {
        self.chosen().is_some_and(|(_, share)| share.retries.take())
    }
}

/// A connection to where the request goes now.
async fn connect(
    edge: &Rc<Edge>,
    route: &Route,
    request: &Request<VisitorBody>,
    source: IpAddr,
    forwarded: bool,
    broken: Option<SocketAddr>,
) -> Result<Connected, Refusal> {
    let answer_within = Duration::from_millis(edge.settings().limits.answer_ms);
    loop {
        let changed = edge.changed.notified();
        let destination = edge.destination(forwarded);
        let connecting = async {
            match &destination {
                Destination::Nowhere => Err(Refusal::NotSent(NotSent::Loop)),
                Destination::Local(began) => {
                    let (connection, cookie) = connect_local(edge, route, request, source, broken).await?;
                    Ok((connection, cookie, Some(began.clone()), answer_within))
                }
                Destination::Peer => {
                    let within = peer::answer_within(answer_within, edge.settings().hold_max_ms);
                    Box::pin(connect_peer(edge)).await.map(|c| (c, None, None, within))
                }
            }
        };
        let connected = tokio::select! {
            biased;
            connected = connecting => Some(connected),
            () = changed => None,
        };
        // Something new is known: what was chosen, or what failed, may be out of date.
        if edge.destination(forwarded) != destination {
            continue;
        }
        if let Some(connected) = connected {
            return connected;
        }
    }
}

/// A connection to a fit target of the group that accepts one, and the cookie that binds the visitor to it. Round after
/// round for `accept_ms`, because an instance that is being restarted or is busy for a moment is no reason to turn a
/// visitor away. `broken`: the target that broke off this request a moment ago is asked last.
async fn connect_local(
    edge: &Edge,
    route: &Route,
    request: &Request<VisitorBody>,
    source: IpAddr,
    broken: Option<SocketAddr>,
) -> Result<(upstream::Connection, Option<HeaderValue>), Refusal> {
    let settings = edge.settings();
    let limits = &settings.limits;
    let mut give_up_ms = None;
    let mut avoid = broken;
    loop {
        // Targets may have come and gone meanwhile, and the group may stand at another place.
        let shares = edge.shares();
        let Some((group, share)) = route.place_in(&shares).and_then(|place| shares.at(place)) else {
            return Err(Refusal::NotSent(NotSent::NoTarget));
        };
        let (headers, path) = (request.headers(), request.uri().path());
        let now_ms = Boot::now().as_ms();
        let give_up_ms = *give_up_ms.get_or_insert(now_ms.saturating_add(limits.accept_ms));
        let asking = select::Asking { headers, path, source, now_ms };
        let avoided = avoid.take().and_then(|at| group.fit.iter().position(|t| t.address == at));
        let mut tried = Vec::from_iter(avoided);
        while let Some(at) = share.choose(group, &asking, &tried) {
            let (Some(slot), Some(target)) = (share.slots.get(at), group.fit.get(at)) else { break };
            let in_flight = slot.begin();
            let within = Duration::from_millis(limits.connect_ms);
            match edge.pool.connection(slot.address(), group.config.protocol.into(), within).await {
                Ok(connection) => {
                    let cookie = target.identity.set_cookie.as_ref();
                    let cookie = cookie.filter(|_| !select::is_bound_to(group, at, headers)).cloned();
                    return Ok((connection.counted(in_flight), cookie));
                }
                Err(e) => {
                    in_flight.failed();
                    tried.push(at);
                    edge.metrics.connect_failures.inc();
                    tracing::debug!(address = %slot.address(), "target does not accept: {e}");
                }
            }
        }
        if avoided.is_some() && tried.len() == 1 {
            // There is no other, or none has room: it is asked after all.
            continue;
        }
        if tried.is_empty() && !group.fit.is_empty() {
            return Err(Refusal::NotSent(NotSent::Full));
        }
        if Boot::now().as_ms() >= give_up_ms {
            return Err(Refusal::NotSent(NotSent::NoTarget));
        }
        tokio::time::sleep(BETWEEN_ROUNDS).await;
    }
}

impl Route {
    /// The group's place in `shares`, which may be newer than those in which it was chosen.
    fn place_in(&self, shares: &Rc<Shares>) -> Option<usize> {
        if Rc::ptr_eq(shares, &self.shares) {
            return self.group;
        }
        let (group, _) = self.shares.at(self.group?)?;
        shares.place(&group.config.name)
    }
}

async fn connect_peer(edge: &Edge) -> Result<upstream::Connection, Refusal> {
    edge.pool.connection(edge.settings().peer, Spoken::Http1, peer::CONNECT_WITHIN).await.map_err(|e| {
        edge.metrics.connect_failures.inc();
        tracing::debug!("the peer's gateway does not accept: {e}");
        Refusal::NotSent(NotSent::NoPeer)
    })
}
