//! Which rule takes a request, and what it says. Pure: the request's head in, the action out.
//!
//! Always true here: rules are tried by priority; the first whose conditions all hold decides; what no rule takes goes to
//! the group `default`. The path is compared as it was sent: an application that decodes `%44VWA` to `DVWA` gets it from
//! the rule of `/%44VWA`, so rules route and do not protect.

mod pattern;
mod redirect;

use std::net::IpAddr;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{HeaderName, HeaderValue},
};
use model::topology::edge::{Cidr, DEFAULT_GROUP, FixedResponse, Routing, Rule};

use self::pattern::Pattern;
pub(crate) use self::redirect::{Asking, Redirect};

/// The head of a request, as far as rules look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// As the visitor wrote it; a port is not looked at.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// The visitor's own address.
    pub(crate) source: IpAddr,
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Forward to one of these groups.
    Forward(Shared),
    /// Send the visitor elsewhere.
    Redirect(Redirect),
    /// Answer at once.
    Fixed(Fixed),
}

/// Groups by their place in the snapshot, with how often each is taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shared {
    groups: Vec<(usize, u32)>,
    total: u64,
}

/// An answer that is always the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fixed {
    pub(crate) status: StatusCode,
    pub(crate) content_type: HeaderValue,
    pub(crate) body: Bytes,
}

/// All rules, in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Table {
    rules: Vec<Compiled>,
    fallback: Action,
}

#[derive(Debug)]
struct Compiled {
    priority: u32,
    host: Vec<Pattern>,
    path: Vec<Pattern>,
    method: Vec<String>,
    header: Vec<(HeaderName, Vec<Pattern>)>,
    query: Vec<(Option<Pattern>, Pattern)>,
    source: Vec<Cidr>,
    action: Action,
}

impl Table {
    /// Of a routing without faults. What is at fault nevertheless takes no request: it never takes one wrongly.
    pub(crate) fn new(routing: &Routing) -> Table {
        let place = |name: &str| routing.groups.iter().position(|g| g.name == name);
        let mut rules: Vec<_> = routing.rules.iter().filter_map(|r| Compiled::new(r, &place)).collect();
        rules.sort_by_key(|r| r.priority);
        let default = place(DEFAULT_GROUP).map(|group| (group, 1));
        Table { rules, fallback: Action::Forward(Shared::new(default.into_iter().collect())) }
    }

    /// The rule that takes this request, by its place in the table, and what it says. `None`: no rule took it.
    pub(crate) fn choose(&self, asked: &View<'_>) -> (Option<usize>, &Action) {
        let taken = self.rules.iter().enumerate().find(|(_, rule)| rule.takes(asked));
        taken.map_or((None, &self.fallback), |(place, rule)| (Some(place), &rule.action))
    }

    /// The priorities, in the table's order: the rules' names in metrics and logs.
    pub(crate) fn priorities(&self) -> impl Iterator<Item = u32> {
        self.rules.iter().map(|r| r.priority)
    }

    /// Whether some rule, or what no rule takes, is forwarded to this group.
    pub(crate) fn uses(&self, group: usize) -> bool {
        let actions = self.rules.iter().map(|r| &r.action).chain([&self.fallback]);
        actions
            .into_iter()
            .any(|a| matches!(a, Action::Forward(f) if f.groups.iter().any(|(g, _)| *g == group)))
    }
}

impl Compiled {
    fn new(rule: &Rule, place: &dyn Fn(&str) -> Option<usize>) -> Option<Compiled> {
        let action = match (&rule.forward, &rule.redirect, &rule.fixed_response) {
            (Some(to), _, _) => {
                let to = to.iter().filter(|f| f.weight > 0);
                Action::Forward(Shared::new(
                    to.filter_map(|f| Some((place(&f.target_group)?, f.weight))).collect(),
                ))
            }
            (None, Some(redirect), _) => Action::Redirect(Redirect::new(redirect)?),
            (None, None, Some(fixed)) => Action::Fixed(Fixed::new(fixed)?),
            (None, None, None) => return None,
        };
        let folded = |values: &[String]| values.iter().map(|v| Pattern::folded(v)).collect::<Vec<_>>();
        let header = rule.header.iter().map(|(name, values)| Some((name.parse().ok()?, folded(values))));
        let query =
            rule.query.iter().map(|q| (q.key.as_deref().map(Pattern::folded), Pattern::folded(&q.value)));
        Some(Compiled {
            priority: rule.priority,
            host: folded(&rule.host),
            path: rule.path.iter().map(|p| Pattern::exact(p)).collect(),
            method: rule.method.clone(),
            header: header.collect::<Option<_>>()?,
            query: query.collect(),
            source: rule.source_ip.clone(),
            action,
        })
    }

    fn takes(&self, asked: &View<'_>) -> bool {
        let any = |patterns: &[Pattern], text: &str| {
            patterns.is_empty() || patterns.iter().any(|p| p.matches(text))
        };
        any(&self.path, asked.path)
            && (self.host.is_empty() || any(&self.host, without_port(asked.host)))
            && (self.method.is_empty() || self.method.iter().any(|m| m == asked.method.as_str()))
            && (self.source.is_empty() || self.source.iter().any(|range| range.contains(asked.source)))
            && self.header.iter().all(|(name, patterns)| {
                let mut lines = asked.headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
                lines.any(|line| patterns.iter().any(|p| p.matches(line)))
            })
            && (self.query.is_empty() || asked.query.is_some_and(|q| self.query_holds(q)))
    }

    fn query_holds(&self, query: &str) -> bool {
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.any(|(key, value)| {
            let holds = |(k, v): &(Option<Pattern>, Pattern)| {
                k.as_ref().is_none_or(|k| k.matches(key)) && v.matches(value)
            };
            self.query.iter().any(holds)
        })
    }
}

impl Shared {
    fn new(groups: Vec<(usize, u32)>) -> Shared {
        let total = groups.iter().map(|(_, weight)| u64::from(*weight)).sum();
        Shared { groups, total }
    }

    /// The group that `lot`, any number, falls on.
    pub(crate) fn pick(&self, lot: impl FnOnce() -> u64) -> Option<usize> {
        match self.groups.as_slice() {
            [] => None,
            [(only, _)] => Some(*only),
            many => {
                let mut left = lot() % self.total.max(1);
                many.iter().find_map(|(group, weight)| match left.checked_sub((*weight).into()) {
                    Some(rest) => {
                        left = rest;
                        None
                    }
                    None => Some(*group),
                })
            }
        }
    }
}

impl Fixed {
    fn new(fixed: &FixedResponse) -> Option<Fixed> {
        Some(Fixed {
            status: StatusCode::from_u16(fixed.status).ok()?,
            content_type: HeaderValue::try_from(&fixed.content_type).ok()?,
            body: Bytes::from(fixed.body.clone()),
        })
    }
}

/// `[::1]:80` → `[::1]`, `a:80` → `a`.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests;
