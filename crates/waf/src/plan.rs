//! An ACL turned into what is run: fields and chains of transformations by number, patterns in one bank, sets sorted.

mod sieve;
mod wanted;

use std::{collections::HashMap, sync::Arc};

use crate::{
    acl::{
        Act, Action, AddressSource, Bundle, Comparison, Field, GroupOverride, KeyPart, On, Position, RateKey,
        Rule, Statement,
    },
    bank::{Bank, Builder, Lane},
    bytes::ByteSet,
    managed::{self, Chain, Look},
    transform::{self, Transformation},
};

use self::wanted::{Classes, Wanted};
pub(crate) use self::{
    sieve::{Opaque, Sieve},
    wanted::Marks,
};

/// The plan of one ACL.
pub(crate) struct Plan {
    pub(crate) rules: Vec<PlannedRule>,
    pub(crate) looks: Vec<On>,
    pub(crate) fields: Vec<Field>,
    /// The field's number of each look.
    pub(crate) field_of: Vec<usize>,
    /// Of each look that has transformations, the look with one less.
    pub(crate) parent_of: Vec<Option<(usize, Transformation)>>,
    /// Of each look, which values matter to it.
    pub(crate) wants: Vec<Wanted>,
    /// Of each look, the bytes without all of which its last transformation is not tried, where the rule says so.
    pub(crate) only_with: Vec<Option<ByteSet>>,
    pub(crate) classes: Classes,
    /// Of each look, the patterns that are looked for there.
    pub(crate) asked: Vec<Patterns>,
    /// Of each field, what tells early that a value holds nothing.
    pub(crate) sieves: Vec<Sieve>,
    pub(crate) bank: Bank,
    pub(crate) rates: Vec<PlannedRate>,
    /// Whether any statement asks for the autonomous system.
    pub(crate) asn: bool,
}

/// A rule of the ACL, or of a group in it.
pub(crate) struct PlannedRule {
    pub(crate) name: String,
    pub(crate) body: RuleBody,
    pub(crate) labels: Vec<Arc<str>>,
    pub(crate) sampled: bool,
    pub(crate) captcha_immunity_s: Option<u64>,
    pub(crate) challenge_immunity_s: Option<u64>,
    /// Exclusions that name it, by their number in the bundle.
    pub(crate) exclusions: Vec<usize>,
    /// It does not match where nothing of this is found; empty: it has to be tried.
    pub(crate) gates: Vec<(usize, Asked)>,
}

/// What is asked of a look, as far as one answer serves all rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// Any pattern that is looked for there.
    Patterns,
    /// SQL, at LOW sensitivity.
    SqlLow,
    /// At HIGH.
    SqlHigh,
    /// Scripts.
    Scripts,
}

impl Asked {
    /// How many there are.
    pub(crate) const COUNT: usize = 4;

    /// SQL, at HIGH sensitivity or LOW.
    fn sql(high: bool) -> Self {
        if high { Self::SqlHigh } else { Self::SqlLow }
    }
}

pub(crate) enum RuleBody {
    Plain { node: Node, action: Action },
    Group(PlannedGroup),
}

pub(crate) struct PlannedGroup {
    pub(crate) id: String,
    pub(crate) managed: bool,
    pub(crate) scope_down: Option<Node>,
    pub(crate) rules: Vec<GroupRule>,
    pub(crate) count_only: bool,
}

pub(crate) struct GroupRule {
    pub(crate) rule: PlannedRule,
    /// The action before it was overridden.
    pub(crate) overridden: Option<Action>,
    /// By the legacy `ExcludedRules`.
    pub(crate) excluded: bool,
}

pub(crate) struct PlannedRate {
    pub(crate) limit: u64,
    pub(crate) window_s: u64,
    pub(crate) key: PlannedKey,
    pub(crate) scope_down: Option<Node>,
}

pub(crate) enum PlannedKey {
    Ip,
    Forwarded(AddressSource),
    Constant,
    Custom(Vec<PlannedPart>),
}

pub(crate) enum PlannedPart {
    Look(usize),
    Cookie(String, Vec<Transformation>),
    Method,
    Ip,
    Forwarded(AddressSource),
    LabelNamespace(String),
    Ja3(crate::acl::Fallback),
    Ja4(crate::acl::Fallback),
    Asn,
}

/// A statement.
pub(crate) enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Probe { look: usize, probe: Probe },
    Geo { countries: Vec<[u8; 2]>, source: AddressSource },
    Ip { ranges: Vec<(u128, u128)>, source: AddressSource },
    Asn { numbers: Vec<u32>, source: AddressSource },
    Label { namespace: bool, key: String },
    Rate(usize),
}

pub(crate) enum Probe {
    Bytes { search: Vec<u8>, position: Position },
    Size { comparison: Comparison, size: u64 },
    Sqli { high: bool },
    Xss,
    Patterns(Patterns),
    Missing,
    Offsite,
}

/// A set of the bank's patterns.
pub(crate) struct Patterns {
    bits: Vec<u64>,
    pub(crate) always: Vec<usize>,
}

impl Plan {
    /// The bytes without all of which the look's last transformation is not tried.
    pub(crate) fn touched(&self, look: usize, transformation: Transformation) -> Option<ByteSet> {
        self.only_with[look].or_else(|| transformation.touches())
    }

    /// Whether a value may matter to the look, or to one that goes on from it, behind the transformation.
    pub(crate) fn matters(
        &self,
        look: usize,
        transformation: Transformation,
        value: &[u8],
        (bytes, marks): (ByteSet, Marks),
    ) -> bool {
        match transformation {
            // What is no Base64 ends it, so words come to nearly nothing.
            Transformation::Base64Decode => match transform::base64_length(value) {
                0 => self.reaches(look, (bytes, marks), None),
                length => self.reaches(look, (ByteSet::ALL, Marks::MAX), Some(length)),
            },
            _ => self.may_matter(look, transformation, (bytes, marks)),
        }
    }

    /// Whether any value of a batch that has these bytes may matter: asked first, as it answers for all of them.
    pub(crate) fn may_matter(
        &self,
        look: usize,
        transformation: Transformation,
        (bytes, marks): (ByteSet, Marks),
    ) -> bool {
        self.reaches(look, self.classes.behind(transformation, bytes, marks), None)
    }

    /// The same, if no other bytes than these are in it, and no more of them.
    fn reaches(&self, look: usize, (bytes, marks): (ByteSet, Marks), longest: Option<usize>) -> bool {
        let wanted = &self.wants[look];
        wanted.all
            || longest.is_none_or(|longest| longest >= wanted.shortest) && wanted.meets(marks)
            // No transformation but digests and UTF8_TO_UNICODE makes more of it than there was.
            || wanted.children.iter().any(|(t, child)| {
                self.reaches(*child, self.classes.behind(*t, bytes, marks), longest.filter(|_| !t.grows()))
            })
    }
}

impl Patterns {
    pub(crate) fn contains(&self, pattern: usize) -> bool {
        self.bits.get(pattern / 64).is_some_and(|word| word >> (pattern % 64) & 1 == 1)
    }

    /// Whether any of these is in it.
    pub(crate) fn meets(&self, patterns: &[u64]) -> bool {
        self.bits.iter().zip(patterns).any(|(mine, others)| mine & others != 0)
    }
}

/// Makes a [`Plan`].
pub(crate) struct Planner<'b> {
    bundle: &'b Bundle,
    builder: Builder,
    looks: Vec<On>,
    parent_of: Vec<Option<(usize, Transformation)>>,
    /// Of each look, the patterns that are looked for there.
    asked: Vec<Vec<usize>>,
    /// Of each look, whether more is asked than patterns.
    more: Vec<bool>,
    /// Of each look, whether more is asked than what may be found in a value.
    exact: Vec<bool>,
    /// Where SQL and scripts are asked for.
    injections: Vec<(usize, Asked)>,
    only_with: Vec<Option<ByteSet>>,
    known: HashMap<On, usize>,
    rates: Vec<PlannedRate>,
    asn: bool,
}

impl<'b> Planner<'b> {
    pub(crate) fn new(bundle: &'b Bundle) -> Self {
        Self {
            bundle,
            builder: Builder::default(),
            looks: Vec::new(),
            parent_of: Vec::new(),
            asked: Vec::new(),
            more: Vec::new(),
            exact: Vec::new(),
            injections: Vec::new(),
            only_with: Vec::new(),
            known: HashMap::new(),
            rates: Vec::new(),
            asn: false,
        }
    }

    pub(crate) fn plan(mut self) -> Result<Plan, String> {
        let acl = &self.bundle.acl;
        let namespace = format!("awswaf:000000000000:webacl:{}:", acl.name);
        let mut rules = acl.rules.iter().map(|r| self.rule(r, &namespace)).collect::<Result<Vec<_>, _>>()?;
        let bank = self.builder.build()?;
        rules.iter_mut().for_each(|r| mark_always(r, &bank));
        rules.iter_mut().for_each(gate);
        for node in self.rates.iter_mut().filter_map(|r| r.scope_down.as_mut()) {
            always(node, &bank);
        }
        let mut fields: Vec<Field> = Vec::new();
        let mut field_of = Vec::new();
        for look in &self.looks {
            let at = fields.iter().position(|f| *f == look.field).unwrap_or_else(|| {
                fields.push(look.field.clone());
                fields.len() - 1
            });
            field_of.push(at);
        }
        let asked = self.asked.iter().zip(&self.more);
        let classes = Classes::of(&bank);
        let mut wants: Vec<Wanted> =
            asked.map(|(asked, more)| Wanted::of(asked, *more, &bank, &classes)).collect();
        for (look, parent) in self.parent_of.iter().enumerate() {
            if let Some((parent, transformation)) = parent {
                wants[*parent].children.push((*transformation, look));
            }
        }
        let asked = self.asked.iter().map(|ids| {
            let mut set = patterns(ids);
            set.always.retain(|p| bank.is_always(*p));
            set
        });
        let asked: Vec<Patterns> = asked.collect();
        let asks = sieve::asks(&self.asked, &self.injections);
        let mut plan = Plan {
            rules,
            looks: self.looks,
            fields,
            field_of,
            parent_of: self.parent_of,
            wants,
            only_with: self.only_with,
            classes,
            asked,
            sieves: Vec::new(),
            bank,
            rates: self.rates,
            asn: self.asn,
        };
        plan.sieves = sieve::sieves(&plan, &asks, &self.exact);
        Ok(plan)
    }

    /// A look of which every value matters, whatever it is.
    fn look(&mut self, on: &On) -> usize {
        let look = self.place(on);
        self.more[look] = true;
        self.exact[look] = true;
        look
    }

    /// A look in which libinjection is asked for this.
    fn look_for_injection(&mut self, on: &On, asked: Asked) -> usize {
        let look = self.place(on);
        self.more[look] = true;
        if !self.injections.contains(&(look, asked)) {
            self.injections.push((look, asked));
        }
        look
    }

    /// A look in which these patterns are looked for.
    fn look_for(&mut self, on: &On, ids: &[usize]) -> usize {
        let look = self.place(on);
        let lane = Lane::of(&on.transformations);
        ids.iter().for_each(|&id| self.builder.ask(id, lane));
        self.asked[look].extend_from_slice(ids);
        look
    }

    fn place(&mut self, on: &On) -> usize {
        if let Some(&at) = self.known.get(on) {
            return at;
        }
        let parent = on.transformations.split_last().map(|(&last, before)| {
            (self.place(&On { field: on.field.clone(), transformations: before.to_vec() }), last)
        });
        self.looks.push(on.clone());
        self.parent_of.push(parent);
        self.asked.push(Vec::new());
        self.more.push(false);
        self.exact.push(false);
        self.only_with.push(None);
        self.known.insert(on.clone(), self.looks.len() - 1);
        self.looks.len() - 1
    }

    fn exclusions(&self, rule: &str) -> Vec<usize> {
        let all = self.bundle.exclusions.iter().enumerate();
        all.filter(|(_, e)| e.rule == rule).map(|(i, _)| i).collect()
    }

    fn rule(&mut self, rule: &Rule, namespace: &str) -> Result<PlannedRule, String> {
        let bundle = self.bundle;
        let body = match (&rule.statement, &rule.act) {
            (Statement::ManagedRuleGroup(m), Act::Group(count)) => {
                let group = managed::find(&m.name).ok_or_else(|| format!("`{}` is no group", m.name))?;
                let scope_down = m.scope_down.as_ref().map(|s| self.node(s)).transpose()?;
                let mut rules = Vec::new();
                for r in &group.rules {
                    let node = self.managed_rule(r)?;
                    let mut action = Action::Block(None);
                    let overridden = m.overrides.iter().rev().find(|(name, _)| *name == r.name);
                    let excluded = m.excluded.contains(&r.name);
                    let before = (overridden.is_some() || excluded).then(|| action.clone());
                    if let Some((_, other)) = overridden {
                        action = other.clone();
                    } else if excluded {
                        action = Action::Count(Vec::new());
                    }
                    rules.push(GroupRule {
                        rule: PlannedRule {
                            name: r.name.clone(),
                            body: RuleBody::Plain { node, action },
                            labels: vec![Arc::from(format!("{}{}", group.namespace, r.label))],
                            sampled: rule.visibility.sampled,
                            captcha_immunity_s: None,
                            challenge_immunity_s: None,
                            exclusions: self.exclusions(&r.name),
                            gates: Vec::new(),
                        },
                        overridden: before,
                        excluded,
                    });
                }
                let id = format!("{}#{}", group.vendor, group.name);
                RuleBody::Group(PlannedGroup {
                    id,
                    managed: true,
                    scope_down,
                    rules,
                    count_only: *count == GroupOverride::Count,
                })
            }
            (Statement::RuleGroupReference { name, overrides }, Act::Group(count)) => {
                let group = bundle.groups.get(name).ok_or_else(|| format!("`{name}` is no group"))?;
                let inner = format!("awswaf:000000000000:rulegroup:{name}:");
                let mut rules = Vec::new();
                for r in &group.rules {
                    let mut planned = self.rule(r, &inner)?;
                    let overridden = overrides.iter().find(|(n, _)| *n == r.name);
                    let mut before = None;
                    if let (Some((_, other)), RuleBody::Plain { action, .. }) =
                        (overridden, &mut planned.body)
                    {
                        before = Some(std::mem::replace(action, other.clone()));
                    }
                    rules.push(GroupRule { rule: planned, overridden: before, excluded: false });
                }
                let count_only = *count == GroupOverride::Count;
                RuleBody::Group(PlannedGroup {
                    id: name.clone(),
                    managed: false,
                    scope_down: None,
                    rules,
                    count_only,
                })
            }
            (statement, Act::Action(action)) => {
                RuleBody::Plain { node: self.node(statement)?, action: action.clone() }
            }
            (_, Act::Group(_)) => return Err(format!("rule `{}` refers to no group", rule.name)),
        };
        Ok(PlannedRule {
            name: rule.name.clone(),
            body,
            labels: rule.labels.iter().map(|l| Arc::from(format!("{namespace}{l}"))).collect(),
            sampled: rule.visibility.sampled,
            captcha_immunity_s: rule.captcha_immunity_s,
            challenge_immunity_s: rule.challenge_immunity_s,
            exclusions: self.exclusions(&rule.name),
            gates: Vec::new(),
        })
    }

    fn managed_rule(&mut self, rule: &managed::ManagedRule) -> Result<Node, String> {
        let mut clauses = Vec::new();
        for clause in &rule.clauses {
            let mut tests = Vec::new();
            for test in clause {
                tests.push(self.managed_test(test)?);
            }
            clauses.push(one_or(tests, Node::And));
        }
        Ok(one_or(clauses, Node::Or))
    }

    fn managed_test(&mut self, test: &managed::Test) -> Result<Node, String> {
        let nothing = [Chain::default()];
        let chains = match &test.look {
            Look::Patterns { chains, .. } => chains.as_slice(),
            Look::Sqli { chain, .. } | Look::Xss { chain } => std::slice::from_ref(chain),
            Look::Longer(_) | Look::Missing | Look::Offsite => &nothing,
        };
        let ids = match &test.look {
            Look::Patterns { patterns, .. } => {
                patterns.iter().map(|p| self.builder.add(p, true)).collect::<Result<Vec<_>, _>>()?
            }
            _ => Vec::new(),
        };
        let mut nodes = Vec::new();
        for chain in chains {
            for field in &test.fields {
                let on = On { field: field.clone(), transformations: chain.transformations.clone() };
                let fresh = !self.known.contains_key(&on);
                let look = match &test.look {
                    Look::Patterns { .. } => self.look_for(&on, &ids),
                    Look::Sqli { high, .. } => self.look_for_injection(&on, Asked::sql(*high)),
                    Look::Xss { .. } => self.look_for_injection(&on, Asked::Scripts),
                    Look::Longer(_) | Look::Missing | Look::Offsite => self.look(&on),
                };
                // Whoever asks without a condition has it for all.
                if fresh || chain.only_with.is_none() {
                    self.only_with[look] = chain.only_with;
                }
                let probe = match &test.look {
                    Look::Patterns { .. } => Probe::Patterns(patterns(&ids)),
                    Look::Sqli { high, .. } => Probe::Sqli { high: *high },
                    Look::Xss { .. } => Probe::Xss,
                    Look::Longer(size) => Probe::Size { comparison: Comparison::Gt, size: *size },
                    Look::Missing => Probe::Missing,
                    Look::Offsite => Probe::Offsite,
                };
                nodes.push(Node::Probe { look, probe });
            }
        }
        Ok(one_or(nodes, Node::Or))
    }

    fn node(&mut self, statement: &Statement) -> Result<Node, String> {
        Ok(match statement {
            Statement::And(list) => Node::And(list.iter().map(|s| self.node(s)).collect::<Result<_, _>>()?),
            Statement::Or(list) => Node::Or(list.iter().map(|s| self.node(s)).collect::<Result<_, _>>()?),
            Statement::Not(inner) => Node::Not(Box::new(self.node(inner)?)),
            Statement::ByteMatch { search, on, position } => Node::Probe {
                look: self.look(on),
                probe: Probe::Bytes { search: search.clone(), position: *position },
            },
            Statement::SqliMatch { on, high } => Node::Probe {
                look: self.look_for_injection(on, Asked::sql(*high)),
                probe: Probe::Sqli { high: *high },
            },
            Statement::XssMatch { on } => {
                Node::Probe { look: self.look_for_injection(on, Asked::Scripts), probe: Probe::Xss }
            }
            Statement::SizeConstraint { on, comparison, size } => Node::Probe {
                look: self.look(on),
                probe: Probe::Size { comparison: *comparison, size: *size },
            },
            Statement::RegexMatch { pattern, on } => {
                let id = self.builder.add(pattern, false)?;
                let look = self.look_for(on, &[id]);
                Node::Probe { look, probe: Probe::Patterns(patterns(&[id])) }
            }
            Statement::RegexPatternSet { name, on } => {
                let set = self
                    .bundle
                    .pattern_sets
                    .get(name)
                    .ok_or_else(|| format!("`{name}` is no pattern set"))?;
                let ids = set.iter().map(|p| self.builder.add(p, false)).collect::<Result<Vec<_>, _>>()?;
                let look = self.look_for(on, &ids);
                Node::Probe { look, probe: Probe::Patterns(patterns(&ids)) }
            }
            Statement::GeoMatch { countries, source } => {
                Node::Geo { countries: countries.clone(), source: source.clone() }
            }
            Statement::AsnMatch { numbers, source } => {
                self.asn = true;
                Node::Asn { numbers: numbers.clone(), source: source.clone() }
            }
            Statement::IpSet { name, source } => {
                let set = self.bundle.ip_sets.get(name).ok_or_else(|| format!("`{name}` is no IP set"))?;
                let ranges = merged(set.iter().map(|n| n.range()).collect());
                Node::Ip { ranges, source: source.clone() }
            }
            Statement::LabelMatch { namespace, key } => {
                let mut key = key.clone();
                // A key without AWS's prefix means a label of this ACL.
                if !key.starts_with("awswaf:") {
                    key = format!(":{key}");
                }
                if *namespace && !key.ends_with(':') {
                    key.push(':');
                }
                Node::Label { namespace: *namespace, key }
            }
            Statement::RateBased(rate) => {
                let scope_down = rate.scope_down.as_ref().map(|s| self.node(s)).transpose()?;
                let key = match &rate.key {
                    RateKey::Ip => PlannedKey::Ip,
                    RateKey::Constant => PlannedKey::Constant,
                    RateKey::ForwardedIp(source) => PlannedKey::Forwarded(source.clone()),
                    RateKey::Custom(parts) => {
                        PlannedKey::Custom(parts.iter().map(|p| self.part(p)).collect())
                    }
                };
                self.rates.push(PlannedRate { limit: rate.limit, window_s: rate.window_s, key, scope_down });
                Node::Rate(self.rates.len() - 1)
            }
            Statement::ManagedRuleGroup(_) | Statement::RuleGroupReference { .. } => {
                return Err("a rule group stands inside of a statement".into());
            }
        })
    }

    fn part(&mut self, part: &KeyPart) -> PlannedPart {
        match part {
            KeyPart::On(on) => PlannedPart::Look(self.look(on)),
            KeyPart::Cookie(name, chain) => PlannedPart::Cookie(name.clone(), chain.clone()),
            KeyPart::Method => PlannedPart::Method,
            KeyPart::Ip => PlannedPart::Ip,
            KeyPart::ForwardedIp(source) => PlannedPart::Forwarded(source.clone()),
            KeyPart::LabelNamespace(namespace) => PlannedPart::LabelNamespace(namespace.clone()),
            KeyPart::Ja3(fallback) => PlannedPart::Ja3(*fallback),
            KeyPart::Ja4(fallback) => PlannedPart::Ja4(*fallback),
            KeyPart::Asn => {
                self.asn = true;
                PlannedPart::Asn
            }
        }
    }
}

fn one_or(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    if nodes.len() == 1 { nodes.remove(0) } else { join(nodes) }
}

fn patterns(ids: &[usize]) -> Patterns {
    let mut bits = vec![0u64; ids.iter().max().map_or(0, |m| m / 64 + 1)];
    for &id in ids {
        bits[id / 64] |= 1 << (id % 64);
    }
    Patterns { bits, always: ids.to_vec() }
}

/// Finds what the rule does not match without.
fn gate(rule: &mut PlannedRule) {
    match &mut rule.body {
        RuleBody::Plain { node, .. } => rule.gates = gates(node).unwrap_or_default(),
        RuleBody::Group(group) => group.rules.iter_mut().for_each(|r| gate(&mut r.rule)),
    }
}

/// Of which looks one must have something, if the statement holds; `None`: it may hold without.
fn gates(node: &Node) -> Option<Vec<(usize, Asked)>> {
    match node {
        Node::Probe { look, probe } => {
            let asked = match probe {
                Probe::Patterns(set) if set.always.is_empty() => Asked::Patterns,
                Probe::Sqli { high } => Asked::sql(*high),
                Probe::Xss => Asked::Scripts,
                _ => return None,
            };
            Some(vec![(*look, asked)])
        }
        Node::And(list) => list.iter().find_map(gates),
        Node::Or(list) => {
            let mut all = Vec::new();
            for node in list {
                all.extend(gates(node)?);
            }
            all.dedup();
            Some(all)
        }
        _ => None,
    }
}

/// Of each set of patterns, which have no literal: known once the bank is built.
fn mark_always(rule: &mut PlannedRule, bank: &Bank) {
    match &mut rule.body {
        RuleBody::Plain { node, .. } => always(node, bank),
        RuleBody::Group(group) => {
            if let Some(node) = &mut group.scope_down {
                always(node, bank);
            }
            group.rules.iter_mut().for_each(|r| mark_always(&mut r.rule, bank));
        }
    }
}

fn always(node: &mut Node, bank: &Bank) {
    match node {
        Node::And(list) | Node::Or(list) => list.iter_mut().for_each(|n| always(n, bank)),
        Node::Not(inner) => always(inner, bank),
        Node::Probe { probe: Probe::Patterns(set), .. } => set.always.retain(|p| bank.is_always(*p)),
        _ => {}
    }
}

/// Address ranges, ascending, without overlaps.
fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut out: Vec<(u128, u128)> = Vec::new();
    for (from, to) in ranges {
        match out.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => out.push((from, to)),
        }
    }
    out
}
