//! The edge's part of a topology file: what is read out of it, and how its mistakes are told.

use model::topology::edge::DEFAULT_GROUP;

use super::*;

const EXAMPLE: &str = include_str!("../../../../docs/examples/load-balancer.toml");

/// Every mistake of the example after `from` was replaced by `to`.
fn mistakes(from: &str, to: &str) -> Vec<String> {
    assert!(EXAMPLE.contains(from), "{from} is not in the example");
    let loaded = config::parse::<Topology>(Path::new("lb.toml"), EXAMPLE.replacen(from, to, 1));
    match loaded {
        Ok(loaded) => {
            let faults = loaded.value.faults().into_iter();
            faults.map(|f| loaded.fault(&f.key, f.what, f.fix).to_string()).collect()
        }
        Err(e) => vec![e.to_string()],
    }
}

/// One mistake, told with its line, and with words that name what is wrong and what to write.
#[track_caller]
fn check(from: &str, to: &str, words: &[&str]) {
    let line = EXAMPLE.split(from).next().unwrap_or_default().lines().count();
    let told = mistakes(from, to);
    let [told] = told.as_slice() else { panic!("{told:#?}") };
    assert!(words.iter().all(|w| told.contains(w)), "{told}");
    let at: usize =
        told.split(':').nth(1).and_then(|l| l.parse().ok()).unwrap_or_else(|| panic!("no line: {told}"));
    assert!(at.abs_diff(line) <= 2, "the mistake stands near line {line}: {told}");
}

#[test]
fn the_example_routes_as_it_says() {
    assert_eq!(mistakes("\"tickets.example.kr\"", "\"tickets.example.kr\""), [""; 0]);
    let loaded = config::parse::<Topology>(Path::new("lb.toml"), EXAMPLE.to_owned()).unwrap();
    let routing = loaded.value.routing(&Site::new("aws"));
    let names: Vec<_> =
        routing.groups.iter().map(|g| (g.name.as_str(), g.targets.len(), g.dns.len())).collect();
    assert_eq!(names, [(DEFAULT_GROUP, 2, 0), ("security-test", 0, 1)]);
    assert!(routing.groups.iter().flat_map(|g| &g.dns).all(|t| t.site == Site::new("aws")));
    assert!(routing.groups.iter().flat_map(|g| &g.targets).all(|t| t.site == Site::new("aws")));
    assert_eq!(routing.rules.iter().map(|r| r.priority).collect::<Vec<_>>(), [10, 20, 30]);
}

#[test]
fn the_short_form_is_a_group_named_default() {
    let (_, after) = EXAMPLE.split_once("[sites.nhn]").unwrap();
    let (before, _) = EXAMPLE.split_once("[[target_group]]").unwrap();
    let listen = "listen = \"198.51.100.1:80\"";
    let text = format!("{before}[sites.nhn]{after}")
        .replace(listen, &format!("{listen}\ntargets = [\"192.168.0.11:80\"]\nhealth_path = \"/up\""))
        .replace(
            "listen = \"203.0.113.1:80\"",
            "listen = \"203.0.113.1:80\"\ntargets = [\"172.16.1.11:80\"]",
        );
    let loaded = config::parse::<Topology>(Path::new("lb.toml"), text).unwrap();
    assert_eq!(loaded.value.faults(), []);
    let routing = loaded.value.routing(&Site::new("nhn"));
    let [group] = routing.groups.as_slice() else { panic!("{routing:?}") };
    assert_eq!((group.name.as_str(), group.targets.len()), (DEFAULT_GROUP, 1));
    assert_eq!(group.health_check.path, "/up");
}

#[test]
fn mistakes_are_told_with_line_key_and_what_to_write() {
    let twice = mistakes("name = \"security-test\"", "name = \"default\"");
    assert!(
        twice.iter().any(|t| t.contains("another group `default`") && t.contains("name of its own")),
        "{twice:#?}"
    );
    check(
        "path = \"/DVWA/login.php\"",
        "path = \"DVWA\"",
        &["`target_group.1.health_check`", "begins with `/`"],
    );
    check("matcher = \"200-399\"", "matcher = \"2xx\"", &["`2xx` names no status codes", "200-399"]);
    check("interval_ms = 30000 }", "interval_ms = 3 }", &["interval_ms = 3 is too small", "50 or more"]);
    check(
        "algorithm = \"least_outstanding_requests\"",
        "algorithm = \"fastest\"",
        &["fastest", "round_robin"],
    );
    check("priority = 20", "priority = 10", &["`rule.1.priority`", "rule 0", "priority of its own"]);
    check("path = [\"/DVWA*\"]", "path = [\"DVWA*\"]", &["no path looks like `DVWA*`", "begin it with `/`"]);
    check("method = [\"GET\", \"HEAD\"]", "method = [\"get\"]", &["`get` is not a method", "capitals"]);
    check(
        "target_group = \"security-test\"",
        "target_group = \"other\"",
        &["no group `other`", "default, security-test"],
    );
    check("status = 301", "status = 200", &["200 does not send anybody elsewhere", "301"]);
    check("{ status = 200, body", "{ status = 20, body", &["20 is no status", "200 to 599"]);
    check(
        "    { site = \"nhn\", address = \"192.168.0.21:80\" },\n",
        "",
        &["`security-test` has no target at site `nhn`"],
    );
    check("path = [\"/DVWA*\"]", "paht = [\"/DVWA*\"]", &["paht", "path"]);
    check("site = \"aws\", name = \"web2\"", "site = \"gcp\", name = \"web2\"", &["site `gcp`", "aws, nhn"]);
}

#[test]
fn a_site_without_targets_and_rules_that_do_not_take_all_is_a_mistake() {
    let told = mistakes("name = \"default\"", "name = \"web\"");
    assert_eq!(told.len(), 2, "one for each site: {told:#?}");
    assert!(told.iter().all(|t| t.contains("no instance of the application is named")), "{told:#?}");
}

#[test]
fn visitors_are_not_sent_to_a_closed_door() {
    let certificate = ", certificate = [{ chain = \"tls/tickets.pem\", key = \"tls/tickets.key\" }]";
    check(certificate, "", &["`sites.nhn.gateway.redirect_to_https`", "closed door", "certificate = "]);
}

#[test]
fn a_rule_has_one_action() {
    let two = "forward = [{ target_group = \"security-test\" }]\nredirect = { path = \"/x\" }";
    check("forward = [{ target_group = \"security-test\" }]", two, &["2 actions", "exactly one of"]);
    check("forward = [{ target_group = \"security-test\" }]", "", &["0 actions"]);
}
