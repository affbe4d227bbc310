//! Web ACL capacity units, counted as AWS counts them.

use super::{Bundle, Field, On, Position, RateKey, Rule, Statement};
use crate::managed;

/// What is included in the basic price.
pub const WCU_BASIC: u64 = 1_500;
/// What an ACL may have at most.
pub const WCU_MAX: u64 = 5_000;

pub(crate) fn of_rules(rules: &[Rule], bundle: &Bundle) -> u64 {
    rules.iter().map(|r| of(&r.statement, bundle)).sum()
}

fn of(statement: &Statement, bundle: &Bundle) -> u64 {
    match statement {
        Statement::ByteMatch { on, position, .. } => {
            at(on, if matches!(position, Position::Contains | Position::ContainsWord) { 10 } else { 2 })
        }
        Statement::SqliMatch { on, high } => at(on, if *high { 30 } else { 20 }),
        Statement::XssMatch { on } => at(on, 40),
        Statement::SizeConstraint { on, .. } => at(on, 1),
        Statement::GeoMatch { .. } | Statement::LabelMatch { .. } | Statement::AsnMatch { .. } => 1,
        Statement::IpSet { source, .. } => {
            // Looking at any of several addresses costs four more.
            let any = matches!(
                source,
                super::AddressSource::Forwarded { position: super::ForwardedPosition::Any, .. }
            );
            if any { 5 } else { 1 }
        }
        Statement::RegexMatch { on, .. } => at(on, 3),
        Statement::RegexPatternSet { on, .. } => at(on, 25),
        Statement::RateBased(rate) => {
            let keys = match &rate.key {
                RateKey::Custom(parts) => 30 * parts.len() as u64,
                _ => 0,
            };
            2 + keys + rate.scope_down.as_ref().map_or(0, |s| of(s, bundle))
        }
        Statement::ManagedRuleGroup(group) => {
            managed::find(&group.name).map_or(0, |g| g.capacity)
                + group.scope_down.as_ref().map_or(0, |s| of(s, bundle))
        }
        Statement::RuleGroupReference { name, .. } => bundle.groups.get(name).map_or(0, |g| g.capacity),
        Statement::And(list) | Statement::Or(list) => list.iter().map(|s| of(s, bundle)).sum(),
        Statement::Not(inner) => of(inner, bundle),
    }
}

/// A base cost, for the part that is looked at and for what is undone before.
fn at(on: &On, base: u64) -> u64 {
    let base = match &on.field {
        Field::AllQueryArguments => base + 10,
        Field::JsonBody { .. } => base * 2,
        _ => base,
    };
    base + 10 * on.transformations.len() as u64
}
