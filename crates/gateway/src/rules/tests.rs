use std::collections::BTreeMap;

use model::topology::edge::{self, Forward, QueryIs, TargetGroup};

use super::*;

/// A table with the groups `default` (0) and `other` (1), and one rule; `adjust` says what it takes.
fn table(adjust: impl FnOnce(&mut Rule)) -> Table {
    let mut rule = forwarding(10, "other");
    adjust(&mut rule);
    Table::new(&Routing { groups: groups(), rules: vec![rule] })
}

fn groups() -> Vec<TargetGroup> {
    ["default", "other"].map(TargetGroup::named).into()
}

fn forwarding(priority: u32, group: &str) -> Rule {
    let forward = Some(vec![Forward { target_group: group.into(), weight: 1 }]);
    Rule {
        priority,
        host: vec![],
        path: vec![],
        method: vec![],
        header: BTreeMap::new(),
        query: vec![],
        source_ip: vec![],
        forward,
        redirect: None,
        fixed_response: None,
    }
}

/// Requests as `METHOD host path?query from`; whether the rule takes each.
#[track_caller]
fn check(table: &Table, asked: &str, headers: &[(&'static str, &'static str)], taken: bool) {
    let words: Vec<&str> = asked.split(' ').collect();
    let [method, host, target, source] = words.as_slice() else { panic!("{asked}") };
    let (path, query) = target.split_once('?').map_or((*target, None), |(p, q)| (p, Some(q)));
    let map = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
    let headers: HeaderMap = map.collect();
    let method = method.parse().unwrap();
    let source = source.parse().unwrap();
    let view = View { host, path, query, method: &method, headers: &headers, source };
    let (place, action) = table.choose(&view);
    assert_eq!(place.is_some(), taken, "{asked}");
    let Action::Forward(shared) = action else { panic!("{action:?}") };
    assert_eq!(shared.pick(|| 0), Some(usize::from(taken)), "{asked}");
}

#[test]
fn each_condition_alone() {
    let path = table(|r| r.path = vec!["/DVWA*".into(), "/test/?".into()]);
    check(&path, "GET a /DVWA/login.php 127.0.0.1", &[], true);
    check(&path, "GET a /test/1 127.0.0.1", &[], true);
    check(&path, "GET a /dvwa 127.0.0.1", &[], false);
    let host = table(|r| r.host = vec!["*.example.kr".into()]);
    check(&host, "GET Tickets.Example.KR:8080 / 127.0.0.1", &[], true);
    check(&host, "GET example.kr / 127.0.0.1", &[], false);
    let method = table(|r| r.method = vec!["POST".into(), "PUT".into()]);
    check(&method, "PUT a / 127.0.0.1", &[], true);
    check(&method, "GET a / 127.0.0.1", &[], false);
    let source = table(|r| r.source_ip = vec![Cidr::try_from("10.1.0.0/16".to_owned()).unwrap()]);
    check(&source, "GET a / 10.1.255.3", &[], true);
    check(&source, "GET a / 10.2.0.1", &[], false);
    let query = table(|r| {
        r.query = vec![
            QueryIs { key: Some("version".into()), value: "v2*".into() },
            QueryIs { key: None, value: "beta".into() },
        ];
    });
    check(&query, "GET a /?a=1&Version=V2.1 127.0.0.1", &[], true);
    check(&query, "GET a /?x=beta 127.0.0.1", &[], true);
    check(&query, "GET a /?version=v1 127.0.0.1", &[], false);
    check(&query, "GET a / 127.0.0.1", &[], false);
}

#[test]
fn of_several_headers_each_must_hold_and_any_line_of_one_may() {
    let table = table(|r| {
        r.header = [("user-agent", "*mobile*"), ("x-beta", "1")]
            .map(|(n, v)| (n.to_owned(), vec![v.to_owned()]))
            .into();
    });
    let both = [("user-agent", "A Mobile B"), ("x-beta", "0"), ("x-beta", "1")];
    let mut map = HeaderMap::new();
    for (n, v) in both {
        map.append(n, HeaderValue::from_static(v));
    }
    let method = Method::GET;
    let source = [127, 0, 0, 1].into();
    let view = View { host: "a", path: "/", query: None, method: &method, headers: &map, source };
    assert!(table.choose(&view).0.is_some());
    check(&table, "GET a / 127.0.0.1", &[("user-agent", "mobile")], false);
    check(&table, "GET a / 127.0.0.1", &[("x-beta", "1")], false);
}

#[test]
fn all_conditions_must_hold_together() {
    let both = table(|r| (r.path, r.method) = (vec!["/a".into()], vec!["GET".into()]));
    check(&both, "GET a /a 127.0.0.1", &[], true);
    check(&both, "POST a /a 127.0.0.1", &[], false);
    check(&both, "GET a /b 127.0.0.1", &[], false);
}

#[test]
fn the_smallest_priority_decides_however_they_are_written() {
    let mut all = forwarding(20, "default");
    let mut one = forwarding(3, "other");
    one.path = vec!["/one".into()];
    all.path = vec!["/*".into()];
    let table = Table::new(&Routing { groups: groups(), rules: vec![all, one] });
    assert_eq!(table.priorities().collect::<Vec<_>>(), [3, 20]);
    let (method, headers) = (Method::GET, HeaderMap::new());
    let source = [127, 0, 0, 1].into();
    let view = |path| View { host: "a", path, query: None, method: &method, headers: &headers, source };
    assert_eq!(table.choose(&view("/one")).0, Some(0));
    assert_eq!(table.choose(&view("/two")).0, Some(1));
}

#[test]
fn weighted_groups_are_taken_as_often_as_their_weights_say() {
    let table = table(|r| {
        r.forward = Some(
            [("default", 1), ("other", 3), ("other", 0)]
                .map(|(g, weight)| Forward { target_group: g.into(), weight })
                .into(),
        );
    });
    let (method, headers) = (Method::GET, HeaderMap::new());
    let view = View {
        host: "a",
        path: "/",
        query: None,
        method: &method,
        headers: &headers,
        source: [127, 0, 0, 1].into(),
    };
    let Action::Forward(shared) = table.choose(&view).1 else { panic!() };
    let picks: Vec<_> = (0..8).map(|lot| shared.pick(|| lot).unwrap()).collect();
    assert_eq!(picks, [0, 1, 1, 1, 0, 1, 1, 1]);
    assert!(table.uses(0) && table.uses(1) && !table.uses(2));
}

#[test]
fn a_redirect_says_only_what_differs() {
    #[track_caller]
    fn check(parts: edge::Redirect, asked: (&str, &str, &str, Option<&str>), want: &str) {
        let (protocol, host, path, query) = asked;
        let redirect = Redirect::new(&parts).unwrap();
        let to = redirect.location(&Asking { protocol, host, path, query });
        assert_eq!(to.unwrap(), want);
    }
    let https = edge::Redirect { protocol: "https".into(), ..edge::Redirect::default() };
    check(https.clone(), ("http", "a.kr", "/p", Some("x=1")), "https://a.kr/p?x=1");
    check(https.clone(), ("http", "a.kr:80", "/", None), "https://a.kr/");
    check(https.clone(), ("http", "a.kr:8080", "/p", None), "https://a.kr:8080/p");
    let other = edge::Redirect { port: "8443".into(), ..https };
    check(other, ("http", "[::1]:8080", "/p", None), "https://[::1]:8443/p");
    let elsewhere = edge::Redirect {
        host: "www.#{host}".into(),
        path: "/new/#{path}".into(),
        query: String::new(),
        ..edge::Redirect::default()
    };
    check(elsewhere, ("http", "a.kr", "/old", Some("q")), "http://www.a.kr/new/old");
    // What a visitor wrote is never a word of ours.
    let echo = edge::Redirect { path: "/e/#{path}".into(), ..edge::Redirect::default() };
    check(echo, ("http", "a.kr", "/#{host}", Some("#{port}")), "http://a.kr/e/#{host}?#{port}");
}

#[test]
fn a_location_that_no_header_can_hold_is_refused() {
    let redirect = Redirect::new(&edge::Redirect { status: 301, ..edge::Redirect::default() }).unwrap();
    let asked = Asking { protocol: "http", host: "a\r\nSet-Cookie: x", path: "/", query: None };
    assert_eq!(redirect.location(&asked), None);
}
