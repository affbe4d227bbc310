//! From a line of the log to the narrowest exclusion that would have let the request through.

use serde_json::Value;

use crate::acl::Exclusion;

/// The exclusion: this rule, this path, this parameter if the line names one. The error says what the line lacks.
pub fn suggest(line: &Value) -> Result<Exclusion, String> {
    let action = line["action"].as_str().unwrap_or_default();
    if !matches!(action, "BLOCK" | "CAPTCHA" | "CHALLENGE") {
        return Err(format!("its action is `{action}`: nothing was refused"));
    }
    let groups = line["ruleGroupList"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ended = groups.iter().map(|g| &g["terminatingRule"]).find(|r| r["action"].as_str() == Some(action));
    let (rule, details) = match ended {
        Some(rule) => (rule["ruleId"].as_str(), &rule["ruleMatchDetails"]),
        None => (line["terminatingRuleId"].as_str(), &line["terminatingRuleMatchDetails"]),
    };
    let rule = rule.ok_or("it names no terminating rule")?;
    if rule == "Default_Action" {
        return Err("no rule refused it, the default action did".into());
    }
    let path = line["httpRequest"]["uri"].as_str().ok_or("it has no httpRequest.uri")?;
    if path == "REDACTED" {
        return Err("its path is redacted".into());
    }
    let parameter = details[0]["matchedFieldName"].as_str().filter(|n| !n.is_empty());
    Ok(Exclusion { rule: rule.into(), path: Some(path.into()), parameter: parameter.map(str::to_owned) })
}
