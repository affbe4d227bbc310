//! Runs the plan over a request: rules by priority, the first that ends it ends it.

mod address;
mod limit;
mod probe;

use std::sync::Arc;

use crate::{
    acl::{Action, Bundle, CustomResponse},
    effort::Effort,
    engine::Engine,
    inspect::Inspector,
    plan::{Node, PlannedGroup, PlannedRule, RuleBody},
    request::{Places, RequestView},
    token,
    verdict::{
        Detail, Explained, GroupVerdict, Matched, Outcome, Response, RuleKind, Terminating, TokenState,
        Verdict,
    },
};

/// One evaluation.
pub(crate) struct Evaluation<'r, 'e> {
    pub(crate) engine: &'e Engine,
    pub(crate) request: &'r RequestView<'r>,
    pub(crate) places: &'e dyn Places,
    pub(crate) inspector: Inspector<'r, 'e>,
    pub(crate) verdict: Verdict,
    /// What the rule at hand found, so far.
    pub(crate) details: Vec<Detail>,
    /// Exclusions of the rule at hand that hold on this path.
    pub(crate) excluded: Vec<usize>,
    /// Of each rate-based rule, whether this request was over it: counted once.
    pub(crate) counted: Vec<Option<bool>>,
}

/// Whether the request's evaluation goes on.
enum Flow {
    On,
    End,
}

impl<'r, 'e> Evaluation<'r, 'e> {
    pub(crate) fn new(engine: &'e Engine, request: &'r RequestView<'r>, places: &'e dyn Places) -> Self {
        let asn = if engine.plan.asn { places.asn(request.client_ip) } else { None };
        Self {
            engine,
            request,
            places,
            inspector: Inspector::new(request, &engine.plan, &engine.memo, engine.bundle.acl.body_limit),
            verdict: Verdict {
                outcome: Outcome::Allow,
                response: None,
                inserted: Vec::new(),
                labels: Vec::new(),
                terminating: Terminating {
                    rule: "Default_Action".into(),
                    kind: RuleKind::Regular,
                    within: None,
                    details: Vec::new(),
                },
                others: Vec::new(),
                groups: Vec::new(),
                rates: Vec::new(),
                oversize: Vec::new(),
                country: None,
                asn,
                token: None,
                sampled: engine.bundle.acl.visibility.sampled,
            },
            details: Vec::new(),
            excluded: Vec::new(),
            counted: vec![None; engine.plan.rates.len()],
        }
    }

    pub(crate) fn run(self) -> Verdict {
        self.run_measured().0
    }

    pub(crate) fn run_measured(mut self) -> (Verdict, Effort) {
        let mut ended = false;
        for rule in &self.engine.plan.rules {
            let flow = match &rule.body {
                RuleBody::Plain { node, action } => self.plain(rule, node, action),
                RuleBody::Group(group) => self.group(rule, group),
            };
            if matches!(flow, Flow::End) {
                ended = true;
                break;
            }
        }
        if !ended {
            let action = &self.engine.bundle.acl.default_action;
            self.act(action);
        }
        if self.verdict.outcome == Outcome::Allow {
            self.inspector.remember();
        }
        self.verdict.oversize = std::mem::take(&mut self.inspector.oversize);
        (self.verdict, self.inspector.effort)
    }

    /// Every rule by itself, in order, whatever ends a real evaluation; labels are added on the way.
    pub(crate) fn explain(mut self) -> Vec<Explained> {
        let mut out = Vec::new();
        for rule in &self.engine.plan.rules {
            match &rule.body {
                RuleBody::Plain { node, action } => {
                    let matches = self.matches(rule, node);
                    out.push(self.explained(&rule.name, None, matches, action));
                }
                RuleBody::Group(group) => {
                    self.excluded.clear();
                    let in_scope = match &group.scope_down {
                        Some(scope) => self.node(scope, &rule.name),
                        None => true,
                    };
                    for inner in &group.rules {
                        let RuleBody::Plain { node, action } = &inner.rule.body else { continue };
                        let matches = in_scope && self.matches(&inner.rule, node);
                        let count = Action::Count(Vec::new());
                        let action = if group.count_only { &count } else { action };
                        out.push(self.explained(&rule.name, Some(&inner.rule.name), matches, action));
                    }
                }
            }
        }
        out
    }

    fn explained(&mut self, rule: &str, within: Option<&str>, matches: bool, action: &Action) -> Explained {
        let details = std::mem::take(&mut self.details);
        Explained {
            rule: rule.to_owned(),
            within: within.map(str::to_owned),
            matches,
            action: action.name(),
            details: if matches { details } else { Vec::new() },
        }
    }

    /// Whether the rule matches; its labels are added if it does, and what it found stands in `details`.
    fn matches(&mut self, rule: &PlannedRule, node: &'e Node) -> bool {
        self.details.clear();
        self.excluded.clear();
        if !rule.gates.is_empty()
            && rule.gates.iter().all(|&(look, asked)| self.inspector.has_nothing(look, asked))
        {
            return false;
        }
        for &number in &rule.exclusions {
            let exclusion = &self.engine.bundle.exclusions[number];
            if exclusion.on_path(self.request.path) {
                if exclusion.parameter.is_none() {
                    return false;
                }
                self.excluded.push(number);
            }
        }
        if !self.node(node, &rule.name) {
            return false;
        }
        for label in &rule.labels {
            self.label(label);
        }
        true
    }

    pub(crate) fn label(&mut self, label: &Arc<str>) {
        if !self.verdict.labels.contains(label) {
            self.verdict.labels.push(Arc::clone(label));
        }
    }

    fn plain(&mut self, rule: &'e PlannedRule, node: &'e Node, action: &'e Action) -> Flow {
        if !self.matches(rule, node) {
            return Flow::On;
        }
        let details = std::mem::take(&mut self.details);
        if self.ends(action, rule) {
            let kind = if matches!(node, Node::Rate(_)) { RuleKind::RateBased } else { RuleKind::Regular };
            self.verdict.terminating = Terminating { rule: rule.name.clone(), kind, within: None, details };
            self.verdict.sampled = rule.sampled;
            self.act(action);
            return Flow::End;
        }
        self.insert_headers(action);
        self.verdict.others.push(Matched {
            rule: rule.name.clone(),
            action: action.name(),
            overridden: None,
            details,
            excluded: false,
        });
        Flow::On
    }

    fn group(&mut self, rule: &'e PlannedRule, group: &'e PlannedGroup) -> Flow {
        self.excluded.clear();
        if let Some(scope) = &group.scope_down
            && !self.node(scope, &rule.name)
        {
            return Flow::On;
        }
        let (mut terminating, mut others) = (None, Vec::new());
        let mut flow = Flow::On;
        for inner in &group.rules {
            let RuleBody::Plain { node, action } = &inner.rule.body else { continue };
            if !self.matches(&inner.rule, node) {
                continue;
            }
            let details = std::mem::take(&mut self.details);
            let mut matched = Matched {
                rule: inner.rule.name.clone(),
                action: action.name(),
                overridden: inner.overridden.as_ref().map(Action::name),
                details,
                excluded: inner.excluded,
            };
            if !self.ends(action, &inner.rule) {
                self.insert_headers(action);
                others.push(matched);
                continue;
            }
            if group.count_only {
                // The group's evaluation ends as it would have, and counts.
                matched.overridden = Some(action.name());
                matched.action = "COUNT";
                self.verdict.others.push(Matched { rule: rule.name.clone(), ..matched.clone() });
            } else {
                let kind = if group.managed { RuleKind::ManagedRuleGroup } else { RuleKind::Group };
                self.verdict.terminating = Terminating {
                    rule: rule.name.clone(),
                    kind,
                    within: Some(inner.rule.name.clone()),
                    details: matched.details.clone(),
                };
                self.verdict.sampled = rule.sampled;
                self.act(action);
                flow = Flow::End;
            }
            terminating = Some(matched);
            break;
        }
        if terminating.is_some() || !others.is_empty() {
            self.verdict.groups.push(GroupVerdict { id: group.id.clone(), terminating, others });
        }
        if matches!(flow, Flow::On) {
            for label in &rule.labels {
                if self.verdict.groups.last().is_some_and(|g| g.id == group.id) {
                    self.label(label);
                }
            }
        }
        flow
    }

    /// Whether this action ends the evaluation: CAPTCHA and challenge do not with a valid token.
    fn ends(&mut self, action: &Action, rule: &PlannedRule) -> bool {
        let acl = &self.engine.bundle.acl;
        let immunity_s = match action {
            Action::Allow(_) | Action::Block(_) => return true,
            Action::Count(_) => return false,
            Action::Captcha(_) => rule.captcha_immunity_s.unwrap_or(acl.captcha_immunity_s),
            Action::Challenge(_) => rule.challenge_immunity_s.unwrap_or(acl.challenge_immunity_s),
        };
        let state = token::check(&self.engine.key, self.request, immunity_s);
        self.verdict.token = Some(state);
        state != TokenState::Valid
    }

    fn insert_headers(&mut self, action: &Action) {
        if let Action::Allow(headers)
        | Action::Count(headers)
        | Action::Captcha(headers)
        | Action::Challenge(headers) = action
        {
            self.verdict.inserted.extend(headers.iter().cloned());
        }
    }

    /// The evaluation ends in this.
    fn act(&mut self, action: &Action) {
        let bundle: &Bundle = &self.engine.bundle;
        (self.verdict.outcome, self.verdict.response) = match action {
            Action::Allow(_) | Action::Count(_) => (Outcome::Allow, None),
            Action::Block(custom) => (Outcome::Block, Some(blocked(custom.as_ref(), bundle))),
            Action::Captcha(_) => {
                let headers = vec![("x-amzn-waf-action".to_owned(), "captcha".to_owned())];
                (Outcome::Captcha, Some(Response { status: 405, headers, body: None }))
            }
            Action::Challenge(_) => {
                (Outcome::Challenge, Some(token::challenge(&self.engine.key, self.request)))
            }
        };
        if self.verdict.outcome == Outcome::Allow {
            self.insert_headers(action);
        } else {
            self.verdict.inserted.clear();
        }
    }

    /// Whether the statement holds.
    pub(crate) fn node(&mut self, node: &'e Node, rule: &str) -> bool {
        match node {
            Node::And(list) => list.iter().all(|n| self.node(n, rule)),
            Node::Or(list) => list.iter().any(|n| self.node(n, rule)),
            Node::Not(inner) => {
                let before = self.details.len();
                let holds = self.node(inner, rule);
                self.details.truncate(before);
                !holds
            }
            Node::Probe { look, probe } => self.probe(*look, probe),
            Node::Geo { countries, source } => self.geo(countries, source),
            Node::Ip { ranges, source } => self.ip(ranges, source),
            Node::Asn { numbers, source } => self.asn(numbers, source),
            Node::Label { namespace, key } => {
                let found = self.verdict.labels.iter().find(|label| {
                    if key.starts_with("awswaf:") {
                        if *namespace { label.starts_with(key.as_str()) } else { ***label == **key }
                    } else if *namespace {
                        label.contains(key.as_str())
                    } else {
                        label.ends_with(key.as_str())
                    }
                });
                let Some(found) = found else { return false };
                let data = found.to_string();
                self.details.push(Detail {
                    condition: "LABEL",
                    location: "LABELS",
                    name: String::new(),
                    data,
                });
                true
            }
            Node::Rate(number) => self.rate(*number, rule),
        }
    }
}

fn blocked(custom: Option<&CustomResponse>, bundle: &Bundle) -> Response {
    match custom {
        None => Response { status: 403, headers: Vec::new(), body: None },
        Some(custom) => {
            let body = custom.body.as_ref().and_then(|key| {
                let groups = bundle.groups.values().filter_map(|g| g.bodies.get(key));
                bundle.acl.bodies.get(key).or_else(|| groups.into_iter().next()).cloned()
            });
            Response { status: custom.status, headers: custom.headers.clone(), body }
        }
    }
}
