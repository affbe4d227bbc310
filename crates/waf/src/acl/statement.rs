//! Reads statements and the parts of a request that they look at.

use super::{
    Action, AddressSource, Comparison, Fallback, Field, ForwardedPosition, InvalidJson, KeyPart, Managed, On,
    Oversize, Pick, Position, RateBased, RateKey, Scope, Statement,
    node::{Node, Result},
    read::ACTIONS,
};
use crate::{managed, transform::Transformation};

const STATEMENTS: &[&str] = &[
    "ByteMatchStatement",
    "SqliMatchStatement",
    "XssMatchStatement",
    "SizeConstraintStatement",
    "GeoMatchStatement",
    "RuleGroupReferenceStatement",
    "IPSetReferenceStatement",
    "RegexPatternSetReferenceStatement",
    "RateBasedStatement",
    "AndStatement",
    "OrStatement",
    "NotStatement",
    "ManagedRuleGroupStatement",
    "LabelMatchStatement",
    "RegexMatchStatement",
    "AsnMatchStatement",
];

/// Where a statement stands: some may stand only at a rule's top.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// A rule of a web ACL.
    Acl,
    /// A rule of a rule group.
    Group,
    /// Inside of another statement.
    Nested,
}

pub(crate) fn read(node: &Node<'_>, level: Level, depth: usize) -> Result<Statement> {
    let (kind, inner) = node.the_one(STATEMENTS)?;
    if depth > 16 {
        return inner.error("nested too deep", "16 levels");
    }
    Ok(match kind {
        "ByteMatchStatement" => byte_match(&inner)?,
        "SqliMatchStatement" => {
            let f = inner.fields(&["FieldToMatch", "TextTransformations", "SensitivityLevel"])?;
            let high = match f.maybe("SensitivityLevel") {
                Some(n) => n.one_of(&[("LOW", false), ("HIGH", true)])?,
                None => false,
            };
            Statement::SqliMatch { on: on(&inner, &["SensitivityLevel"])?, high }
        }
        "XssMatchStatement" => Statement::XssMatch { on: on(&inner, &[])? },
        "SizeConstraintStatement" => {
            let f = inner.fields(&["FieldToMatch", "TextTransformations", "ComparisonOperator", "Size"])?;
            use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
            let words = [("EQ", Eq), ("NE", Ne), ("LE", Le), ("LT", Lt), ("GE", Ge), ("GT", Gt)];
            Statement::SizeConstraint {
                on: on(&inner, &["ComparisonOperator", "Size"])?,
                comparison: f.need("ComparisonOperator")?.one_of(&words)?,
                size: f.need("Size")?.integer(0..=21_474_836_480)?,
            }
        }
        "GeoMatchStatement" => {
            let f = inner.fields(&["CountryCodes", "ForwardedIPConfig"])?;
            let countries =
                f.need("CountryCodes")?.items(1..=50)?.iter().map(country).collect::<Result<_>>()?;
            Statement::GeoMatch { countries, source: source(f.maybe("ForwardedIPConfig"), false)? }
        }
        "AsnMatchStatement" => {
            let f = inner.fields(&["AsnList", "ForwardedIPConfig"])?;
            let number = |n: &Node<'_>| {
                n.integer(0..=u64::from(u32::MAX)).map(|v| u32::try_from(v).unwrap_or(u32::MAX))
            };
            let numbers = f.need("AsnList")?.items(1..=100)?.iter().map(number).collect::<Result<_>>()?;
            Statement::AsnMatch { numbers, source: source(f.maybe("ForwardedIPConfig"), false)? }
        }
        "IPSetReferenceStatement" => {
            let f = inner.fields(&["ARN", "IPSetForwardedIPConfig"])?;
            Statement::IpSet {
                name: arn(&f.need("ARN")?, "ipset")?,
                source: source(f.maybe("IPSetForwardedIPConfig"), true)?,
            }
        }
        "RegexPatternSetReferenceStatement" => {
            let f = inner.fields(&["ARN", "FieldToMatch", "TextTransformations"])?;
            Statement::RegexPatternSet {
                name: arn(&f.need("ARN")?, "regexpatternset")?,
                on: on(&inner, &["ARN"])?,
            }
        }
        "RegexMatchStatement" => {
            let f = inner.fields(&["RegexString", "FieldToMatch", "TextTransformations"])?;
            let pattern = regex(&f.need("RegexString")?)?;
            Statement::RegexMatch { pattern, on: on(&inner, &["RegexString"])? }
        }
        "LabelMatchStatement" => {
            let f = inner.fields(&["Scope", "Key"])?;
            let namespace = f.need("Scope")?.one_of(&[("LABEL", false), ("NAMESPACE", true)])?;
            Statement::LabelMatch { namespace, key: label(&f.need("Key")?)? }
        }
        "RateBasedStatement" if level != Level::Nested => {
            Statement::RateBased(Box::new(rate_based(&inner, depth)?))
        }
        "ManagedRuleGroupStatement" if level == Level::Acl => {
            Statement::ManagedRuleGroup(Box::new(managed(&inner, depth)?))
        }
        "RuleGroupReferenceStatement" if level == Level::Acl => {
            let f = inner.fields(&["ARN", "ExcludedRules", "RuleActionOverrides"])?;
            let mut overrides = overrides(f.maybe("RuleActionOverrides"))?;
            overrides.extend(
                excluded(f.maybe("ExcludedRules"))?.into_iter().map(|n| (n, Action::Count(Vec::new()))),
            );
            Statement::RuleGroupReference { name: arn(&f.need("ARN")?, "rulegroup")?, overrides }
        }
        "AndStatement" => Statement::And(several(&inner, depth)?),
        "OrStatement" => Statement::Or(several(&inner, depth)?),
        "NotStatement" => {
            let f = inner.fields(&["Statement"])?;
            Statement::Not(Box::new(read(&f.need("Statement")?, Level::Nested, depth + 1)?))
        }
        _ => {
            return inner.error(
                format!("`{kind}` cannot stand here"),
                "a rate-based statement at the top of a rule, a rule group at the top of a web ACL's rule",
            );
        }
    })
}

fn several(node: &Node<'_>, depth: usize) -> Result<Vec<Statement>> {
    let list = node.fields(&["Statements"])?.need("Statements")?;
    list.items(2..=100)?.iter().map(|n| read(n, Level::Nested, depth + 1)).collect()
}

fn byte_match(node: &Node<'_>) -> Result<Statement> {
    use Position::{Contains, ContainsWord, EndsWith, Exactly, StartsWith};
    let f = node.fields(&["SearchString", "FieldToMatch", "TextTransformations", "PositionalConstraint"])?;
    let search = f.need("SearchString")?;
    let bytes = search_string(search.string()?);
    if bytes.is_empty() || bytes.len() > 200 {
        return search.error(format!("{} bytes", bytes.len()), "1 to 200 bytes");
    }
    let words = [
        ("EXACTLY", Exactly),
        ("STARTS_WITH", StartsWith),
        ("ENDS_WITH", EndsWith),
        ("CONTAINS", Contains),
        ("CONTAINS_WORD", ContainsWord),
    ];
    let position = f.need("PositionalConstraint")?;
    let constraint = position.one_of(&words)?;
    if constraint == ContainsWord && !bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_') {
        return search.error("CONTAINS_WORD looks for a word", "A-Z a-z 0-9 _");
    }
    Ok(Statement::ByteMatch {
        search: bytes,
        on: on(node, &["SearchString", "PositionalConstraint"])?,
        position: constraint,
    })
}

/// The API's field is a blob: the CLI wants it as Base64, the console and most documents show it plain.
///
/// It is taken as Base64 only if it is that beyond doubt: canonical, of eight characters or more (or padded), and text
/// when decoded.
pub(crate) fn search_string(text: &str) -> Vec<u8> {
    let plain = text.as_bytes();
    if !plain.len().is_multiple_of(4)
        || !(plain.len() >= 8 || plain.ends_with(b"="))
        || text.contains(['-', '_'])
    {
        return plain.to_vec();
    }
    let body = text.trim_end_matches('=');
    if text.len() - body.len() > 2 || !body.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b)) {
        return plain.to_vec();
    }
    match Transformation::Base64Decode.apply(plain) {
        Some(decoded)
            if std::str::from_utf8(&decoded)
                .is_ok_and(|t| !t.chars().any(|c| c.is_control() && !c.is_whitespace())) =>
        {
            decoded
        }
        _ => plain.to_vec(),
    }
}

fn country(node: &Node<'_>) -> Result<[u8; 2]> {
    match node.string()?.as_bytes() {
        &[a @ b'A'..=b'Z', b @ b'A'..=b'Z'] => Ok([a, b]),
        _ => node.error(
            format!("{} is no country", node.value),
            "two capital letters of ISO 3166, such as KR; XX: unknown",
        ),
    }
}

/// `ForwardedIPConfig`, `IPSetForwardedIPConfig`.
fn source(node: Option<Node<'_>>, with_position: bool) -> Result<AddressSource> {
    use ForwardedPosition::{Any, First, Last};
    let Some(node) = node else { return Ok(AddressSource::Client) };
    let keys: &[&str] = if with_position {
        &["HeaderName", "FallbackBehavior", "Position"]
    } else {
        &["HeaderName", "FallbackBehavior"]
    };
    let f = node.fields(keys)?;
    let position = if with_position {
        f.need("Position")?.one_of(&[("FIRST", First), ("LAST", Last), ("ANY", Any)])?
    } else {
        First
    };
    Ok(AddressSource::Forwarded {
        header: f.need("HeaderName")?.text(1..=255)?.to_ascii_lowercase(),
        fallback: fallback(&f.need("FallbackBehavior")?)?,
        position,
    })
}

fn fallback(node: &Node<'_>) -> Result<Fallback> {
    node.one_of(&[("MATCH", Fallback::Match), ("NO_MATCH", Fallback::NoMatch)])
}

/// The name in `arn:aws:wafv2:…:regional/ipset/NAME/ID`; a bare name is taken, too.
fn arn(node: &Node<'_>, kind: &str) -> Result<String> {
    let text = node.text(1..=2048)?;
    if !text.starts_with("arn:") {
        return node.name().map(str::to_owned);
    }
    let mut parts = text.rsplit('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(name), Some(of)) if of == kind => Ok(name.to_owned()),
        _ => node.error(
            format!("`{text}` names no {kind}"),
            format!("arn:aws:wafv2:REGION:ACCOUNT:regional/{kind}/NAME/ID, or NAME"),
        ),
    }
}

/// A pattern that compiles, within linear time and bounded memory.
pub(crate) fn regex(node: &Node<'_>) -> Result<String> {
    let text = node.text(1..=512)?;
    match crate::bank::compile(text, false) {
        Ok(_) => Ok(text.to_owned()),
        Err(e) => node.error(
            format!("`{text}` does not compile: {e}"),
            "a regular expression without look-around and back-references",
        ),
    }
}

pub(crate) fn label(node: &Node<'_>) -> Result<String> {
    let text = node.text(1..=1024)?;
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:".contains(&b)) {
        return Ok(text.to_owned());
    }
    node.error(format!("`{text}` is no label"), "A-Z a-z 0-9 _ - :")
}

fn on(node: &Node<'_>, besides: &[&str]) -> Result<On> {
    let mut keys = vec!["FieldToMatch", "TextTransformations"];
    keys.extend_from_slice(besides);
    let f = node.fields(&keys)?;
    Ok(On {
        field: field(&f.need("FieldToMatch")?)?,
        transformations: transformations(&f.need("TextTransformations")?)?,
    })
}

fn transformations(node: &Node<'_>) -> Result<Vec<Transformation>> {
    let mut read = Vec::new();
    for item in node.items(1..=10)? {
        let f = item.fields(&["Priority", "Type"])?;
        let kind = f.need("Type")?;
        let Some(transformation) = Transformation::by_name(kind.string()?) else {
            let list: Vec<&str> = Transformation::ALL.iter().map(|t| t.name()).collect();
            return kind.error(format!("{} is unknown", kind.value), list.join(", "));
        };
        let priority = f.need("Priority")?;
        let place = priority.integer(0..=u64::from(u32::MAX))?;
        if read.iter().any(|(p, _)| *p == place) {
            return priority
                .error(format!("{place} is taken"), "a priority of its own for each transformation");
        }
        read.push((place, transformation));
    }
    read.sort_unstable();
    Ok(read.into_iter().map(|(_, t)| t).filter(|t| *t != Transformation::None).collect())
}

const FIELDS: &[&str] = &[
    "SingleHeader",
    "SingleQueryArgument",
    "AllQueryArguments",
    "UriPath",
    "QueryString",
    "Body",
    "Method",
    "JsonBody",
    "Headers",
    "Cookies",
    "HeaderOrder",
    "JA3Fingerprint",
    "JA4Fingerprint",
    "UriFragment",
];

const OVERSIZE: &[(&str, Oversize)] =
    &[("CONTINUE", Oversize::Continue), ("MATCH", Oversize::Match), ("NO_MATCH", Oversize::NoMatch)];
const SCOPES: &[(&str, Scope)] = &[("ALL", Scope::All), ("KEY", Scope::Key), ("VALUE", Scope::Value)];

fn field(node: &Node<'_>) -> Result<Field> {
    let (kind, inner) = node.the_one(FIELDS)?;
    let named = || Ok(inner.fields(&["Name"])?.need("Name")?.text(1..=64)?.to_ascii_lowercase());
    let oversize = |key: &str, keys: &[&str]| match inner.fields(keys)?.maybe(key) {
        Some(n) => n.one_of(OVERSIZE),
        None => Ok(Oversize::Continue),
    };
    let only_fallback = || fallback(&inner.fields(&["FallbackBehavior"])?.need("FallbackBehavior")?);
    Ok(match kind {
        "SingleHeader" => Field::SingleHeader(named()?),
        "SingleQueryArgument" => Field::SingleQueryArgument(named()?),
        "Headers" | "Cookies" => {
            let f = inner.fields(&["MatchPattern", "MatchScope", "OversizeHandling"])?;
            let (included, excluded): (&'static str, &'static str) = if kind == "Headers" {
                ("IncludedHeaders", "ExcludedHeaders")
            } else {
                ("IncludedCookies", "ExcludedCookies")
            };
            let pick = pick(&f.need("MatchPattern")?, included, excluded)?;
            let scope = f.need("MatchScope")?.one_of(SCOPES)?;
            let oversize = f.need("OversizeHandling")?.one_of(OVERSIZE)?;
            if kind == "Headers" {
                Field::Headers { pick, scope, oversize }
            } else {
                Field::Cookies { pick, scope, oversize }
            }
        }
        "JsonBody" => {
            let f = inner.fields(&[
                "MatchPattern",
                "MatchScope",
                "InvalidFallbackBehavior",
                "OversizeHandling",
            ])?;
            use InvalidJson::{EvaluateAsString, Match, NoMatch};
            let words = [("MATCH", Match), ("NO_MATCH", NoMatch), ("EVALUATE_AS_STRING", EvaluateAsString)];
            Field::JsonBody {
                pick: pick(&f.need("MatchPattern")?, "IncludedPaths", "")?,
                scope: f.need("MatchScope")?.one_of(SCOPES)?,
                invalid: f
                    .maybe("InvalidFallbackBehavior")
                    .map_or(Ok(InvalidJson::Parsed), |n| n.one_of(&words))?,
                oversize: f
                    .maybe("OversizeHandling")
                    .map_or(Ok(Oversize::Continue), |n| n.one_of(OVERSIZE))?,
            }
        }
        "Body" => Field::Body(oversize("OversizeHandling", &["OversizeHandling"])?),
        "HeaderOrder" => Field::HeaderOrder(oversize("OversizeHandling", &["OversizeHandling"])?),
        "JA3Fingerprint" => Field::Ja3(only_fallback()?),
        "JA4Fingerprint" => Field::Ja4(only_fallback()?),
        "UriFragment" => {
            Field::UriFragment(match inner.fields(&["FallbackBehavior"])?.maybe("FallbackBehavior") {
                Some(n) => fallback(&n)?,
                None => Fallback::NoMatch,
            })
        }
        bare => {
            inner.fields(&[])?;
            match bare {
                "AllQueryArguments" => Field::AllQueryArguments,
                "UriPath" => Field::UriPath,
                "QueryString" => Field::QueryString,
                _ => Field::Method,
            }
        }
    })
}

/// `{"All": {}}`, `{"Included…": […]}`, `{"Excluded…": […]}`; JSON bodies have no exclusion.
fn pick(node: &Node<'_>, included: &'static str, excluded: &'static str) -> Result<Pick> {
    let keys: &[&str] = if excluded.is_empty() { &["All", included] } else { &["All", included, excluded] };
    let f = node.fields(keys)?;
    if f.keys().count() != 1 {
        return node
            .error(format!("{} are given", f.keys().count()), format!("exactly one of {}", keys.join(", ")));
    }
    let list = |n: Node<'_>| -> Result<Vec<String>> {
        n.items(1..=199)?
            .iter()
            .map(|i| {
                let text = i.text(1..=512)?;
                match excluded.is_empty() {
                    true if !text.starts_with('/') => {
                        i.error(format!("`{text}` is no JSON pointer"), "/key/0/key")
                    }
                    true => Ok(text.to_owned()),
                    false => Ok(text.to_ascii_lowercase()),
                }
            })
            .collect()
    };
    if let Some(all) = f.maybe("All") {
        all.fields(&[])?;
        Ok(Pick::All)
    } else if let Some(n) = f.maybe(included) {
        Ok(Pick::Included(list(n)?))
    } else {
        Ok(Pick::Excluded(list(f.need(excluded)?)?))
    }
}

fn rate_based(node: &Node<'_>, depth: usize) -> Result<RateBased> {
    let f = node.fields(&[
        "Limit",
        "EvaluationWindowSec",
        "AggregateKeyType",
        "ScopeDownStatement",
        "ForwardedIPConfig",
        "CustomKeys",
    ])?;
    let limit = f.need("Limit")?.integer(10..=2_000_000_000)?;
    let window_s = f.maybe("EvaluationWindowSec").map_or(Ok(300), |n| n.integer(10..=600))?;
    let scope_down = f.maybe("ScopeDownStatement").map(|n| read(&n, Level::Nested, depth + 1)).transpose()?;
    let kind = f.need("AggregateKeyType")?;
    let forwarded = source(f.maybe("ForwardedIPConfig"), false)?;
    let words = [("IP", 0), ("FORWARDED_IP", 1), ("CUSTOM_KEYS", 2), ("CONSTANT", 3)];
    let chosen = kind.one_of(&words)?;
    if chosen != 2
        && let Some(keys) = f.maybe("CustomKeys")
    {
        return keys.error("AggregateKeyType is not CUSTOM_KEYS", "no CustomKeys");
    }
    let key = match chosen {
        0 => RateKey::Ip,
        1 if forwarded == AddressSource::Client => {
            return node.error(
                "`ForwardedIPConfig` is missing",
                "HeaderName and FallbackBehavior, as FORWARDED_IP needs them",
            );
        }
        1 => RateKey::ForwardedIp(forwarded),
        2 => {
            let keys = f.need("CustomKeys")?.items(1..=5)?;
            RateKey::Custom(keys.iter().map(|k| key_part(k, &forwarded)).collect::<Result<_>>()?)
        }
        _ if scope_down.is_none() => {
            return node.error(
                "`ScopeDownStatement` is missing",
                "a statement, as CONSTANT counts all that match it together",
            );
        }
        _ => RateKey::Constant,
    };
    Ok(RateBased { limit, window_s, key, scope_down })
}

fn key_part(node: &Node<'_>, forwarded: &AddressSource) -> Result<KeyPart> {
    const KEYS: &[&str] = &[
        "Header",
        "Cookie",
        "QueryArgument",
        "QueryString",
        "HTTPMethod",
        "ForwardedIP",
        "IP",
        "LabelNamespace",
        "UriPath",
        "JA3Fingerprint",
        "JA4Fingerprint",
        "ASN",
    ];
    let (kind, inner) = node.the_one(KEYS)?;
    let named = || -> Result<(String, Vec<Transformation>)> {
        let f = inner.fields(&["Name", "TextTransformations"])?;
        Ok((
            f.need("Name")?.text(1..=64)?.to_ascii_lowercase(),
            transformations(&f.need("TextTransformations")?)?,
        ))
    };
    let whole = |field: Field| -> Result<KeyPart> {
        let f = inner.fields(&["TextTransformations"])?;
        Ok(KeyPart::On(On { field, transformations: transformations(&f.need("TextTransformations")?)? }))
    };
    let fall = || fallback(&inner.fields(&["FallbackBehavior"])?.need("FallbackBehavior")?);
    Ok(match kind {
        "Header" => {
            let (name, transformations) = named()?;
            KeyPart::On(On { field: Field::SingleHeader(name), transformations })
        }
        "QueryArgument" => {
            let (name, transformations) = named()?;
            KeyPart::On(On { field: Field::SingleQueryArgument(name), transformations })
        }
        "Cookie" => {
            let (name, transformations) = named()?;
            KeyPart::Cookie(name, transformations)
        }
        "QueryString" => whole(Field::QueryString)?,
        "UriPath" => whole(Field::UriPath)?,
        "JA3Fingerprint" => KeyPart::Ja3(fall()?),
        "JA4Fingerprint" => KeyPart::Ja4(fall()?),
        "LabelNamespace" => {
            KeyPart::LabelNamespace(label(&inner.fields(&["Namespace"])?.need("Namespace")?)?)
        }
        "ForwardedIP" => {
            inner.fields(&[])?;
            if *forwarded == AddressSource::Client {
                return inner
                    .error("the statement has no ForwardedIPConfig", "ForwardedIPConfig beside CustomKeys");
            }
            KeyPart::ForwardedIp(forwarded.clone())
        }
        other => {
            inner.fields(&[])?;
            match other {
                "HTTPMethod" => KeyPart::Method,
                "ASN" => KeyPart::Asn,
                _ => KeyPart::Ip,
            }
        }
    })
}

fn managed(node: &Node<'_>, depth: usize) -> Result<Managed> {
    let f = node.fields(&[
        "VendorName",
        "Name",
        "Version",
        "ExcludedRules",
        "ScopeDownStatement",
        "ManagedRuleGroupConfigs",
        "RuleActionOverrides",
    ])?;
    let vendor = f.need("VendorName")?;
    let name = f.need("Name")?;
    let Some(group) = managed::find(name.string()?) else {
        let list: Vec<&str> = managed::all().iter().map(|g| g.name.as_str()).collect();
        return name.error(format!("{} is not known here", name.value), list.join(", "));
    };
    if vendor.string()? != group.vendor {
        return vendor
            .error(format!("{} is not who brings `{}`", vendor.value, group.name), group.vendor.clone());
    }
    if let Some(configs) = f.maybe("ManagedRuleGroupConfigs") {
        configs.error::<()>(
            "none of the groups known here takes a configuration",
            "no ManagedRuleGroupConfigs",
        )?;
    }
    let overridden = f.maybe("RuleActionOverrides");
    let legacy = f.maybe("ExcludedRules");
    let known = |nodes: &Option<Node<'_>>| -> Result<()> {
        for item in nodes.as_ref().map_or(Ok(Vec::new()), |n| n.items(0..=100))? {
            let rule = item.fields(&["Name", "ActionToUse"])?.need("Name")?;
            if !group.rules.iter().any(|r| rule.value.as_str() == Some(r.name.as_str())) {
                let list: Vec<&str> = group.rules.iter().map(|r| r.name.as_str()).collect();
                return rule.error(format!("{} is no rule of `{}`", rule.value, group.name), list.join(", "));
            }
        }
        Ok(())
    };
    known(&overridden)?;
    known(&legacy)?;
    Ok(Managed {
        vendor: group.vendor.clone(),
        name: group.name.clone(),
        version: f.maybe("Version").map(|v| v.text(1..=64).map(str::to_owned)).transpose()?,
        overrides: overrides(overridden)?,
        excluded: excluded(legacy)?,
        scope_down: f.maybe("ScopeDownStatement").map(|n| read(&n, Level::Nested, depth + 1)).transpose()?,
    })
}

fn overrides(node: Option<Node<'_>>) -> Result<Vec<(String, Action)>> {
    let Some(node) = node else { return Ok(Vec::new()) };
    node.items(1..=100)?
        .iter()
        .map(|item| {
            let f = item.fields(&["Name", "ActionToUse"])?;
            let action = Action::read(&f.need("ActionToUse")?, ACTIONS, &std::collections::BTreeMap::new())?;
            Ok((f.need("Name")?.name()?.to_owned(), action))
        })
        .collect()
}

fn excluded(node: Option<Node<'_>>) -> Result<Vec<String>> {
    let Some(node) = node else { return Ok(Vec::new()) };
    node.items(0..=100)?.iter().map(|i| Ok(i.fields(&["Name"])?.need("Name")?.name()?.to_owned())).collect()
}
