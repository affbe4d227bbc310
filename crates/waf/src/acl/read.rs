//! Reads the ACL, its rules, and the sets and groups that it refers to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    AclError, Act, Action, Body, Bundle, Exclusion, GroupOverride, Network, Rule, RuleGroup, Statement,
    Visibility, WebAcl,
    node::{Node, Result},
    statement::{self, Level},
    wcu,
};
use crate::managed;

/// What a rule may do.
pub(crate) const ACTIONS: &[&str] = &["Block", "Allow", "Count", "Captcha", "Challenge"];

impl Bundle {
    /// Reads a bare web ACL, or an ACL with what it refers to.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|e| AclError {
            path: format!("line {}, column {}", e.line(), e.column()),
            problem: e.to_string(),
            allowed: "JSON".into(),
        })?;
        Self::read(&value)
    }

    /// The same, of JSON that was parsed already.
    pub fn read(value: &Value) -> Result<Self> {
        let root = Node::root(value);
        if value.get("WebACL").is_none() {
            return Self::assemble(&root, None);
        }
        Self::assemble(&root.fields(BUNDLE)?.need("WebACL")?, Some(&root))
    }

    fn assemble(acl_node: &Node<'_>, around: Option<&Node<'_>>) -> Result<Self> {
        let mut bundle = Self {
            acl: acl(acl_node)?,
            ip_sets: BTreeMap::new(),
            pattern_sets: BTreeMap::new(),
            groups: BTreeMap::new(),
            exclusions: Vec::new(),
            source: acl_node.value.clone(),
        };
        if let Some(around) = around {
            let fields = around.fields(BUNDLE)?;
            let items = |key: &str| fields.maybe(key).map_or(Ok(Vec::new()), |n| n.items(0..=1000));
            for node in items("IPSets")? {
                let (name, networks) = ip_set(&node)?;
                unique(&node, bundle.ip_sets.insert(name, networks).is_none())?;
            }
            for node in items("RegexPatternSets")? {
                let (name, patterns) = pattern_set(&node)?;
                unique(&node, bundle.pattern_sets.insert(name, patterns).is_none())?;
            }
            for node in items("RuleGroups")? {
                let group = rule_group(&node)?;
                unique(&node, bundle.groups.insert(group.name.clone(), group).is_none())?;
            }
            bundle.exclusions = items("Exclusions")?.iter().map(Exclusion::read).collect::<Result<_>>()?;
        }
        bundle.check(acl_node)?;
        Ok(bundle)
    }

    /// Everything that is referred to is there, and the ACL is not too expensive.
    fn check(&self, node: &Node<'_>) -> Result<()> {
        let rules = self.acl.rules.iter().chain(self.groups.values().flat_map(|g| &g.rules));
        for rule in rules {
            let mut missing = None;
            each(&rule.statement, &mut |s| {
                let (kind, name, list): (_, _, Vec<&str>) = match s {
                    Statement::IpSet { name, .. } => {
                        ("IPSets", name, self.ip_sets.keys().map(String::as_str).collect())
                    }
                    Statement::RegexPatternSet { name, .. } => {
                        ("RegexPatternSets", name, self.pattern_sets.keys().map(String::as_str).collect())
                    }
                    Statement::RuleGroupReference { name, .. } => {
                        ("RuleGroups", name, self.groups.keys().map(String::as_str).collect())
                    }
                    _ => return,
                };
                if !list.contains(&name.as_str()) {
                    missing = Some((
                        format!("rule `{}` refers to `{name}`, which is not in {kind}", rule.name),
                        list.join(", "),
                    ));
                }
            });
            if let Some((problem, allowed)) = missing {
                let allowed = if allowed.is_empty() {
                    "what stands beside WebACL (nothing does)".to_owned()
                } else {
                    allowed
                };
                return node.error(problem, allowed);
            }
        }
        let used = self.wcu();
        if used > wcu::WCU_MAX {
            return node.error(format!("{used} WCU"), format!("up to {} WCU", wcu::WCU_MAX));
        }
        for group in self.groups.values() {
            let used = wcu::of_rules(&group.rules, self);
            if used > group.capacity {
                return node.error(
                    format!(
                        "the rules of group `{}` need {used} WCU, its Capacity is {}",
                        group.name, group.capacity
                    ),
                    format!("a Capacity of at least {used}"),
                );
            }
        }
        let known: BTreeSet<&str> = managed::all()
            .iter()
            .flat_map(|g| &g.rules)
            .map(|r| r.name.as_str())
            .chain(
                self.acl
                    .rules
                    .iter()
                    .chain(self.groups.values().flat_map(|g| &g.rules))
                    .map(|r| r.name.as_str()),
            )
            .collect();
        match self.exclusions.iter().find(|e| !known.contains(e.rule.as_str())) {
            Some(e) => node.error(
                format!("an exclusion names the rule `{}`, which is nowhere", e.rule),
                "a rule's name",
            ),
            None => Ok(()),
        }
    }

    /// What the ACL costs, counted as AWS does.
    pub fn wcu(&self) -> u64 {
        wcu::of_rules(&self.acl.rules, self)
    }
}

const BUNDLE: &[&str] = &["WebACL", "IPSets", "RegexPatternSets", "RuleGroups", "Exclusions"];

/// Visits a statement and all inside of it.
pub(crate) fn each(statement: &Statement, visit: &mut dyn FnMut(&Statement)) {
    visit(statement);
    match statement {
        Statement::And(list) | Statement::Or(list) => list.iter().for_each(|s| each(s, visit)),
        Statement::Not(inner) => each(inner, visit),
        Statement::RateBased(rate) => rate.scope_down.iter().for_each(|s| each(s, visit)),
        Statement::ManagedRuleGroup(group) => group.scope_down.iter().for_each(|s| each(s, visit)),
        _ => {}
    }
}

fn unique(node: &Node<'_>, is: bool) -> Result<()> {
    if is { Ok(()) } else { node.error("another one before has this Name", "a Name of its own") }
}

fn acl(node: &Node<'_>) -> Result<WebAcl> {
    let f = node.fields(&[
        "Name",
        "Scope",
        "DefaultAction",
        "Description",
        "Rules",
        "VisibilityConfig",
        "Tags",
        "DataProtectionConfig",
        "CustomResponseBodies",
        "CaptchaConfig",
        "ChallengeConfig",
        "TokenDomains",
        "AssociationConfig",
        "OnSourceDDoSProtectionConfig",
        "ApplicationConfig",
    ])?;
    for unsupported in ["DataProtectionConfig", "OnSourceDDoSProtectionConfig", "ApplicationConfig"] {
        if let Some(n) = f.maybe(unsupported) {
            return n
                .error("AWS's own services only; it would have no effect here", format!("no {unsupported}"));
        }
    }
    tags(f.maybe("Tags"))?;
    f.maybe("Description").map(|d| d.text(1..=256)).transpose()?;
    let bodies = bodies(f.maybe("CustomResponseBodies"))?;
    let scope = f.need("Scope")?;
    let rules = rules(f.maybe("Rules"), Level::Acl, &bodies)?;
    let token_domains = match f.maybe("TokenDomains") {
        None => Vec::new(),
        Some(list) => {
            list.items(0..=10)?.iter().map(|d| d.text(1..=253).map(str::to_owned)).collect::<Result<_>>()?
        }
    };
    Ok(WebAcl {
        name: f.need("Name")?.name()?.to_owned(),
        scope: scope.one_of(&[("REGIONAL", "REGIONAL"), ("CLOUDFRONT", "CLOUDFRONT")])?.to_owned(),
        default_action: Action::read(&f.need("DefaultAction")?, &["Allow", "Block"], &bodies)?,
        rules,
        visibility: visibility(&f.need("VisibilityConfig")?)?,
        bodies,
        body_limit: association(f.maybe("AssociationConfig"))?,
        token_domains,
        captcha_immunity_s: immunity(f.maybe("CaptchaConfig"))?.unwrap_or(300),
        challenge_immunity_s: immunity(f.maybe("ChallengeConfig"))?.unwrap_or(300),
    })
}

fn tags(node: Option<Node<'_>>) -> Result<()> {
    let Some(node) = node else { return Ok(()) };
    for tag in node.items(0..=200)? {
        let f = tag.fields(&["Key", "Value"])?;
        f.need("Key")?.text(1..=128)?;
        f.need("Value")?.text(0..=256)?;
    }
    Ok(())
}

/// The body's inspected bytes: AWS fixes them at 8 KB before a load balancer; the other resources' setting is ours, too.
fn association(node: Option<Node<'_>>) -> Result<usize> {
    let Some(node) = node else { return Ok(8_192) };
    let Some(request_body) = node.fields(&["RequestBody"])?.maybe("RequestBody") else { return Ok(8_192) };
    const RESOURCES: &[&str] =
        &["CLOUDFRONT", "API_GATEWAY", "COGNITO_USER_POOL", "APP_RUNNER_SERVICE", "VERIFIED_ACCESS_INSTANCE"];
    let f = request_body.fields(RESOURCES)?;
    let words = [("KB_16", 16_384), ("KB_32", 32_768), ("KB_48", 49_152), ("KB_64", 65_536)];
    let mut most = 8_192;
    for key in RESOURCES {
        if let Some(n) = f.maybe(key) {
            let limit = n
                .fields(&["DefaultSizeInspectionLimit"])?
                .need("DefaultSizeInspectionLimit")?
                .one_of(&words)?;
            most = most.max(limit);
        }
    }
    Ok(most)
}

fn immunity(node: Option<Node<'_>>) -> Result<Option<u64>> {
    let Some(node) = node else { return Ok(None) };
    let Some(property) = node.fields(&["ImmunityTimeProperty"])?.maybe("ImmunityTimeProperty") else {
        return Ok(None);
    };
    property.fields(&["ImmunityTime"])?.need("ImmunityTime")?.integer(60..=259_200).map(Some)
}

fn bodies(node: Option<Node<'_>>) -> Result<BTreeMap<String, Body>> {
    let mut out = BTreeMap::new();
    let Some(node) = node else { return Ok(out) };
    let Value::Object(map) = node.value else {
        return node.error("no object stands here", "an object of bodies by key");
    };
    for key in map.keys() {
        let inner = Node { value: &map[key], path: format!("{}.{key}", node.path) };
        let f = inner.fields(&["ContentType", "Content"])?;
        let types = [
            ("TEXT_PLAIN", "text/plain"),
            ("TEXT_HTML", "text/html"),
            ("APPLICATION_JSON", "application/json"),
        ];
        let content = f.need("Content")?;
        let text = content.string()?;
        if text.is_empty() || text.len() > 4_096 {
            return content.error(format!("{} bytes", text.len()), "1 to 4096 bytes");
        }
        out.insert(
            key.clone(),
            Body { content_type: f.need("ContentType")?.one_of(&types)?, content: text.to_owned() },
        );
    }
    Ok(out)
}

fn visibility(node: &Node<'_>) -> Result<Visibility> {
    let f = node.fields(&["SampledRequestsEnabled", "CloudWatchMetricsEnabled", "MetricName"])?;
    f.need("CloudWatchMetricsEnabled")?.boolean()?;
    Ok(Visibility {
        metric: f.need("MetricName")?.text(1..=255)?.to_owned(),
        sampled: f.need("SampledRequestsEnabled")?.boolean()?,
    })
}

fn rules(node: Option<Node<'_>>, level: Level, bodies: &BTreeMap<String, Body>) -> Result<Vec<Rule>> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let mut out: Vec<Rule> = Vec::new();
    for item in node.items(0..=1000)? {
        let rule = rule(&item, level, bodies)?;
        if let Some(other) = out.iter().find(|r| r.priority == rule.priority || r.name == rule.name) {
            return item.error(
                format!(
                    "`{}` and `{}` share a Name or a Priority ({})",
                    other.name, rule.name, rule.priority
                ),
                "a Name and a Priority of its own for each rule",
            );
        }
        out.push(rule);
    }
    out.sort_by_key(|r| r.priority);
    Ok(out)
}

fn rule(node: &Node<'_>, level: Level, bodies: &BTreeMap<String, Body>) -> Result<Rule> {
    let f = node.fields(&[
        "Name",
        "Priority",
        "Statement",
        "Action",
        "OverrideAction",
        "RuleLabels",
        "VisibilityConfig",
        "CaptchaConfig",
        "ChallengeConfig",
    ])?;
    let statement = statement::read(&f.need("Statement")?, level, 0)?;
    let of_group = matches!(statement, Statement::ManagedRuleGroup(_) | Statement::RuleGroupReference { .. });
    let act = match (f.maybe("Action"), f.maybe("OverrideAction")) {
        (Some(_), Some(second)) => return second.error("Action is given, too", "one of the two"),
        (Some(action), None) if of_group => {
            return action
                .error("a rule that refers to a group has no Action", "OverrideAction: None, Count");
        }
        (None, Some(o)) if !of_group => {
            return o.error("only a rule that refers to a group has it", "Action");
        }
        (Some(action), None) => Act::Action(Action::read(&action, ACTIONS, bodies)?),
        (None, Some(o)) => {
            let (kind, inner) = o.the_one(&["None", "Count"])?;
            inner.fields(&["CustomRequestHandling"])?;
            Act::Group(if kind == "Count" { GroupOverride::Count } else { GroupOverride::None })
        }
        (None, None) => {
            let wanted = if of_group { "OverrideAction" } else { "Action" };
            return node.error(
                format!("`{wanted}` is missing"),
                if of_group { "None, Count".to_owned() } else { ACTIONS.join(", ") },
            );
        }
    };
    let labels = match f.maybe("RuleLabels") {
        None => Vec::new(),
        Some(list) => {
            let read = |n: &Node<'_>| {
                let name = n.fields(&["Name"])?.need("Name")?;
                let text = statement::label(&name)?;
                match text.split(':').find(|part| {
                    ["awswaf", "aws", "waf", "rulegroup", "webacl", "regexpatternset", "ipset", "managed"]
                        .contains(part)
                }) {
                    Some(reserved) => {
                        name.error(format!("`{reserved}` is reserved"), "a label without AWS's own words")
                    }
                    None => Ok(text),
                }
            };
            list.items(0..=100)?.iter().map(read).collect::<Result<_>>()?
        }
    };
    Ok(Rule {
        name: f.need("Name")?.name()?.to_owned(),
        priority: f.need("Priority")?.integer(0..=u64::from(u32::MAX))?,
        statement,
        act,
        labels,
        visibility: visibility(&f.need("VisibilityConfig")?)?,
        captcha_immunity_s: immunity(f.maybe("CaptchaConfig"))?,
        challenge_immunity_s: immunity(f.maybe("ChallengeConfig"))?,
    })
}

fn ip_set(node: &Node<'_>) -> Result<(String, Vec<Network>)> {
    let f =
        node.fields(&["Name", "Scope", "Description", "IPAddressVersion", "Addresses", "Tags", "ARN", "Id"])?;
    let four = f.need("IPAddressVersion")?.one_of(&[("IPV4", true), ("IPV6", false)])?;
    let networks = f
        .need("Addresses")?
        .items(0..=10_000)?
        .iter()
        .map(|n| {
            let text = n.string()?;
            match Network::parse(text) {
                Some(network) if text.contains(':') != four => Ok(network),
                Some(_) => n.error(
                    format!("`{text}` is of the other IPAddressVersion"),
                    if four { "IPv4" } else { "IPv6" },
                ),
                None => n.error(format!("`{text}` is no address range"), "ADDRESS/LENGTH, LENGTH from 1"),
            }
        })
        .collect::<Result<_>>()?;
    Ok((f.need("Name")?.name()?.to_owned(), networks))
}

fn pattern_set(node: &Node<'_>) -> Result<(String, Vec<String>)> {
    let f = node.fields(&["Name", "Scope", "Description", "RegularExpressionList", "Tags", "ARN", "Id"])?;
    let read = |n: &Node<'_>| statement::regex(&n.fields(&["RegexString"])?.need("RegexString")?);
    let patterns = f.need("RegularExpressionList")?.items(0..=10)?.iter().map(read).collect::<Result<_>>()?;
    Ok((f.need("Name")?.name()?.to_owned(), patterns))
}

fn rule_group(node: &Node<'_>) -> Result<RuleGroup> {
    let f = node.fields(&[
        "Name",
        "Scope",
        "Capacity",
        "Description",
        "Rules",
        "VisibilityConfig",
        "Tags",
        "CustomResponseBodies",
        "ARN",
        "Id",
    ])?;
    visibility(&f.need("VisibilityConfig")?)?;
    let bodies = bodies(f.maybe("CustomResponseBodies"))?;
    Ok(RuleGroup {
        name: f.need("Name")?.name()?.to_owned(),
        capacity: f.need("Capacity")?.integer(1..=wcu::WCU_MAX)?,
        rules: rules(f.maybe("Rules"), Level::Group, &bodies)?,
        bodies,
    })
}
