//! What can be wrong with rules and groups that parse.

use std::collections::{HashMap, HashSet};

use super::{DEFAULT_GROUP, HashOn, Rule, TargetGroup};
use crate::topology::{Fault, Topology};

const METHODS_EXAMPLE: &str = "write a method in capitals, e.g. method = [\"GET\", \"HEAD\"]";

impl Topology {
    /// Every fault of the groups and the rules, and of a site that they leave without a target.
    pub(in crate::topology) fn edge_faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        let mut names = HashSet::new();
        for (n, group) in self.target_groups.iter().enumerate() {
            let at = |key: &str| format!("target_group.{n}.{key}");
            if !names.insert(group.name.as_str()) {
                faults.add(
                    at("name"),
                    format!("there is another group `{}`", group.name),
                    "give each group a name of its own",
                );
            }
            group_faults(&mut faults, group, &at);
            for (m, target) in group.targets.iter().enumerate() {
                if !self.sites.contains_key(&target.site) {
                    let what = format!(
                        "{} stands at site `{}`, which is not in this file",
                        target.address, target.site
                    );
                    faults.add(
                        at(&format!("target.{m}")),
                        what,
                        &format!("write one of: {}", self.site_names()),
                    );
                }
            }
        }
        let mut priorities = HashMap::new();
        for (n, rule) in self.rules.iter().enumerate() {
            let at = |key: &str| format!("rule.{n}.{key}");
            if let Some(first) = priorities.insert(rule.priority, n) {
                let what = format!("{} is also the priority of rule {first} (counted from 0)", rule.priority);
                faults.add(
                    at("priority"),
                    what,
                    "give each rule a priority of its own; the smallest is tried first",
                );
            }
            rule_faults(&mut faults, rule, &at);
            for forward in rule.forward.iter().flatten() {
                let group = forward.target_group.as_str();
                if !names.contains(group) && group != DEFAULT_GROUP {
                    faults.add(at("forward"), format!("there is no group `{group}`"), &self.group_names());
                }
            }
        }
        self.reached_groups(&mut faults);
        faults.0
    }

    /// A group that requests are sent to needs a target at each site: after a failover nobody would answer.
    fn reached_groups(&self, faults: &mut Faults) {
        let falls_through = !self.rules.iter().any(Rule::has_no_condition);
        for site in self.sites.keys() {
            let routing = self.routing(site);
            let is_empty =
                |name: &str| routing.groups.iter().find(|g| g.name == name).is_none_or(TargetGroup::is_empty);
            if falls_through && is_empty(DEFAULT_GROUP) {
                faults.add(
                    format!("sites.{site}.gateway.targets"),
                    "no instance of the application is named, and some requests are taken by no rule".into(),
                    "list at least one address, e.g. targets = [\"127.10.0.11:9000\"]; or name targets of this site in a [[target_group]] called `default`",
                );
            }
            let forwards =
                || self.rules.iter().flat_map(|r| r.forward.iter().flatten()).filter(|f| f.weight > 0);
            for (n, group) in self.target_groups.iter().enumerate() {
                let name = group.name.as_str();
                if forwards().any(|f| f.target_group == name) && is_empty(name) {
                    faults.add(
                            format!("target_group.{n}.target"),
                            format!("the group `{name}` has no target at site `{site}`, and a rule forwards to it"),
                            &format!("add one: target = [{{ site = \"{site}\", address = \"…\" }}]; without it nobody answers there after a failover"),
                        );
                }
            }
        }
    }

    fn group_names(&self) -> String {
        let names: Vec<_> = self.target_groups.iter().map(|g| g.name.as_str()).collect();
        match names.as_slice() {
            [] => "write a [[target_group]] with that name".into(),
            _ => format!("write one of: {}; or add a [[target_group]] with that name", names.join(", ")),
        }
    }
}

impl Rule {
    /// It takes every request.
    pub fn has_no_condition(&self) -> bool {
        self.host.is_empty()
            && self.path.is_empty()
            && self.method.is_empty()
            && self.header.is_empty()
            && self.query.is_empty()
            && self.source_ip.is_empty()
    }
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, key: String, what: String, fix: &str) {
        self.0.push(Fault { key, what, fix: fix.to_owned() });
    }
}

fn group_faults(faults: &mut Faults, group: &TargetGroup, at: &dyn Fn(&str) -> String) {
    if group.name.is_empty() || !group.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        let what = format!("`{}` is not a name that can stand in a cookie and in metrics", group.name);
        faults.add(at("name"), what, "use letters, digits and `-`");
    }
    let check = &group.health_check;
    if !check.path.starts_with('/') {
        faults.add(
            at("health_check"),
            format!("`{}` is not a path", check.path),
            "write a path that begins with `/`",
        );
    }
    for (name, value, least) in [
        ("interval_ms", check.interval_ms, 50),
        ("timeout_ms", check.timeout_ms, 10),
        ("healthy_after", check.healthy_after.into(), 1),
        ("unhealthy_after", check.unhealthy_after.into(), 1),
    ] {
        if value < least {
            faults.add(
                at("health_check"),
                format!("{name} = {value} is too small"),
                &format!("write {name} = {least} or more"),
            );
        }
    }
    if group.circuit_breaker.failures > 0 && group.circuit_breaker.for_ms == 0 {
        faults.add(
            at("circuit_breaker"),
            "for_ms = 0 leaves nothing out".into(),
            "write for_ms = 1000, or failures = 0 to turn it off",
        );
    }
    if group.retry_percent_max > 100 {
        faults.add(
            at("retry_percent_max"),
            format!("{} of a hundred requests cannot be repetitions", group.retry_percent_max),
            "write 0 to 100",
        );
    }
    for (m, dns) in group.dns.iter().enumerate() {
        if dns.name.is_empty() || dns.port == 0 {
            let what = format!("`{}`, port {}, leads nowhere", dns.name, dns.port);
            faults.add(
                at(&format!("dns.{m}")),
                what,
                "write the whole name, and the port that its targets listen on",
            );
        }
    }
    let mut seen = HashSet::new();
    for (m, target) in group.targets.iter().enumerate() {
        if !seen.insert((&target.site, target.address)) {
            faults.add(
                at(&format!("target.{m}")),
                format!("{} is named twice", target.address),
                "name each address once, with a larger `weight`",
            );
        }
    }
    if let HashOn::Header(name) = &group.hash_on
        && !is_token(name)
    {
        faults.add(
            at("hash_on"),
            format!("`{name}` is not a header's name"),
            "write e.g. hash_on = { header = \"x-user\" }",
        );
    }
    let cookie = group.stickiness.as_ref().and_then(|s| s.cookie.as_deref());
    if let Some(name) = cookie.filter(|name| !is_token(name)) {
        faults.add(
            at("stickiness"),
            format!("`{name}` is not a cookie's name"),
            "use letters, digits, `-` and `_`",
        );
    }
}

fn rule_faults(faults: &mut Faults, rule: &Rule, at: &dyn Fn(&str) -> String) {
    let actions = [rule.forward.is_some(), rule.redirect.is_some(), rule.fixed_response.is_some()];
    let actions = actions.into_iter().filter(|a| *a).count();
    if actions != 1 {
        faults.add(
            at("priority"),
            format!("the rule has {actions} actions"),
            "write exactly one of: forward, redirect, fixed_response",
        );
    }
    for method in rule.method.iter().filter(|m| !is_token(m) || m.bytes().any(|b| b.is_ascii_lowercase())) {
        faults.add(at("method"), format!("`{method}` is not a method"), METHODS_EXAMPLE);
    }
    for path in rule.path.iter().filter(|p| !p.starts_with(['/', '*', '?'])) {
        faults.add(at("path"), format!("no path looks like `{path}`"), "begin it with `/` or `*`");
    }
    for name in rule.header.keys().filter(|n| !is_token(n)) {
        faults.add(
            at("header"),
            format!("`{name}` is not a header's name"),
            "write e.g. header = { user-agent = [\"*Mobile*\"] }",
        );
    }
    if let Some(to) = &rule.forward
        && to.iter().all(|f| f.weight == 0)
    {
        faults.add(
            at("forward"),
            "no group has a weight, so nothing is forwarded".into(),
            "give one a weight of 1 or more",
        );
    }
    if let Some(redirect) = &rule.redirect {
        if ![301, 302, 303, 307, 308].contains(&redirect.status) {
            faults.add(
                at("redirect"),
                format!("{} does not send anybody elsewhere", redirect.status),
                "write status = 301, 302, 303, 307 or 308",
            );
        }
        if !["http", "https", "#{protocol}"].contains(&redirect.protocol.as_str()) {
            faults.add(
                at("redirect"),
                format!("`{}` is no protocol", redirect.protocol),
                "write `http`, `https` or `#{protocol}`",
            );
        }
        if *redirect == (super::Redirect { status: redirect.status, ..super::Redirect::default() }) {
            faults.add(
                at("redirect"),
                "it leads to where the visitor is already".into(),
                "change protocol, host, port, path or query",
            );
        }
    }
    if let Some(fixed) = &rule.fixed_response {
        if !(200..=599).contains(&fixed.status) {
            faults.add(
                at("fixed_response"),
                format!("{} is no status of an answer", fixed.status),
                "write 200 to 599",
            );
        }
        if fixed.content_type.bytes().any(|b| !(b' '..=b'~').contains(&b)) {
            faults.add(
                at("fixed_response"),
                "content_type cannot stand in a header".into(),
                "write e.g. text/plain",
            );
        }
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
