//! Rate-based statements.

use super::Evaluation;
use crate::{
    acl::{AddressSource, Fallback},
    plan::{PlannedKey, PlannedPart},
    verdict::{Detail, RateMatch},
};

impl<'e> Evaluation<'_, 'e> {
    /// Counts the request if the statement is about it; whether its key is over the limit.
    pub(super) fn rate(&mut self, number: usize, rule: &str) -> bool {
        if let Some(over) = self.counted[number] {
            return over;
        }
        let rate = &self.engine.plan.rates[number];
        let over = match &rate.scope_down {
            Some(scope) if !self.node(scope, rule) => false,
            _ => self.count(number, rule),
        };
        self.counted[number] = Some(over);
        over
    }

    fn count(&mut self, number: usize, rule: &str) -> bool {
        let rate = &self.engine.plan.rates[number];
        let mut key = Vec::with_capacity(32);
        let kind = match &rate.key {
            PlannedKey::Constant => "CONSTANT",
            PlannedKey::Ip => {
                self.push_ip(&mut key, &AddressSource::Client);
                "IP"
            }
            PlannedKey::Forwarded(source) => {
                match self.forwarded(source) {
                    Ok(address) => key.extend_from_slice(address.to_string().as_bytes()),
                    // AWS: MATCH takes the rule's action at once, NO_MATCH leaves the request alone.
                    Err(matches) => return matches,
                }
                "FORWARDEDIP"
            }
            PlannedKey::Custom(parts) => {
                for part in parts {
                    match self.part(part, &mut key) {
                        Part::There => {}
                        Part::Match => return true,
                        // AWS counts only requests that have all of the keys.
                        Part::Absent => return false,
                    }
                    // A byte that no value can forge: lengths would do as well.
                    key.push(0xff);
                    key.push(0);
                }
                "CUSTOMKEYS"
            }
        };
        let count = self.engine.rates.count(number, &key, self.request.now_ms);
        if count <= rate.limit {
            return false;
        }
        let value = String::from_utf8_lossy(&key).replace(['\u{fffd}', '\0'], " ").trim_end().to_owned();
        self.details.push(Detail {
            condition: "RATE",
            location: kind,
            name: String::new(),
            data: format!("{count} in {} s, limit {}", rate.window_s, rate.limit),
        });
        let rule = rule.to_owned();
        self.verdict.rates.push(RateMatch {
            rule,
            key: kind,
            value,
            limit: rate.limit,
            window_s: rate.window_s,
            count,
        });
        true
    }

    fn push_ip(&self, key: &mut Vec<u8>, source: &AddressSource) -> Part {
        match self.forwarded(source) {
            Ok(address) => {
                key.extend_from_slice(address.to_string().as_bytes());
                Part::There
            }
            Err(true) => Part::Match,
            Err(false) => Part::Absent,
        }
    }

    fn part(&mut self, part: &'e PlannedPart, key: &mut Vec<u8>) -> Part {
        let or_fallback = |key: &mut Vec<u8>, value: Option<&str>, fallback: Fallback| match value {
            Some(value) => {
                key.extend_from_slice(value.as_bytes());
                Part::There
            }
            None if fallback == Fallback::Match => Part::Match,
            None => Part::Absent,
        };
        match part {
            PlannedPart::Look(look) => {
                let looked = self.inspector.look(*look);
                if looked.start == looked.end {
                    return Part::Absent;
                }
                for pair in looked.start..looked.end {
                    key.extend_from_slice(self.inspector.bytes(self.inspector.pairs[pair].0));
                    key.push(0);
                }
                Part::There
            }
            PlannedPart::Cookie(name, chain) => match crate::token::cookie(self.request, name) {
                None => Part::Absent,
                Some(value) => {
                    let mut value = value.to_vec();
                    for transformation in chain {
                        if let Some(next) = transformation.apply(&value) {
                            value = next;
                        }
                    }
                    key.extend_from_slice(&value);
                    Part::There
                }
            },
            PlannedPart::Method => {
                key.extend_from_slice(self.request.method.as_bytes());
                Part::There
            }
            PlannedPart::Ip => self.push_ip(key, &AddressSource::Client),
            PlannedPart::Forwarded(source) => self.push_ip(key, source),
            PlannedPart::LabelNamespace(namespace) => {
                let mut any = false;
                for label in self.verdict.labels.iter().filter(|l| l.contains(namespace.as_str())) {
                    key.extend_from_slice(label.as_bytes());
                    key.push(0);
                    any = true;
                }
                if any { Part::There } else { Part::Absent }
            }
            PlannedPart::Ja3(fallback) => or_fallback(key, self.request.ja3, *fallback),
            PlannedPart::Ja4(fallback) => or_fallback(key, self.request.ja4, *fallback),
            PlannedPart::Asn => match self.places.asn(self.request.client_ip) {
                Some(number) => {
                    key.extend_from_slice(&number.to_be_bytes());
                    Part::There
                }
                None => Part::Absent,
            },
        }
    }
}

enum Part {
    There,
    Match,
    Absent,
}
