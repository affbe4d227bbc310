//! What is shared and skipped changes nothing of what is seen.

use std::{net::IpAddr, path::Path};

use proptest::prelude::*;

use super::Inspector;
use crate::{
    Bundle, Engine, Header, RequestView,
    acl::{Field, Ours},
    bytes::ByteSet,
    injection,
    plan::{Asked, Node, Probe, RuleBody},
    transform::Transformation,
};

fn engine() -> Engine {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/waf/web-acl.json");
    Engine::new(Bundle::parse(&std::fs::read_to_string(file).unwrap()).unwrap(), b"key").unwrap()
}

/// Asks an inspector of this request.
fn inspected<T>(
    engine: &Engine,
    query: &[u8],
    body: &[u8],
    ask: impl FnOnce(&mut Inspector<'_, '_>) -> T,
) -> T {
    let headers = [
        Header { name: "host", value: b"shop.example.kr" },
        Header { name: "content-type", value: b"application/x-www-form-urlencoded" },
    ];
    let view = RequestView {
        method: "POST",
        path: b"/a",
        query,
        fragment: b"",
        version: "HTTP/1.1",
        headers: &headers,
        body,
        client_ip: IpAddr::from([192, 0, 2, 1]),
        ja3: None,
        ja4: None,
        request_id: "",
        now_ms: 0,
    };
    ask(&mut Inspector::new(&view, &engine.plan, &engine.memo, 8_192))
}

#[test]
fn an_honest_form_is_one_batch_a_transformation_that_changes_it() {
    let engine = engine();
    let form = b"first=hello&second=world&third=12345";
    inspected(&engine, b"", form, |inspector| {
        for look in 0..inspector.plan.looks.len() {
            inspector.look(look);
        }
        // Base64 may change any word; nothing else has anything to do.
        let base64 =
            inspector.plan.looks.iter().filter(|l| l.transformations.contains(&Transformation::Base64Decode));
        assert!(base64.count() > 0);
        let longest = inspector.effort.transformed;
        assert!(longest <= 2 * inspector.effort.values, "{:?}", inspector.effort);
    });
}

#[test]
fn words_and_numbers_are_left_out_at_once() {
    let engine = engine();
    let words = "a=%EC%A2%8B%EC%95%84%EC%9A%94+the+best%2C+12.&b=hello&c=Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5";
    let marks = b"a=1%27--&b=%3Cb";
    for (form, live) in [(words.as_bytes(), 0), (marks.as_slice(), 2)] {
        inspected(&engine, form, form, |inspector| {
            for (at, field) in inspector.plan.fields.iter().enumerate() {
                if matches!(field, Field::Ours(Ours::BodyValues | Ours::QueryValues)) {
                    let sieve = &inspector.plan.sieves[at];
                    assert!(sieve.sifts && sieve.touched_before.is_some(), "{field:?}");
                    assert_eq!(inspector.load(at).live, live, "{field:?}");
                }
            }
        });
    }
}

/// Text that transformations care about.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let marks = prop::sample::select(
        b"%u00252e&#x3c;lt\\{}[]\"'<>=/*.-+$IFS(|`:,~!?@^\r\n\t \0\xff\xa0\xec\xa2\x8caA1PHNj".to_vec(),
    );
    let words = prop::sample::select(vec![
        "or",
        "and",
        "select",
        "union",
        "id",
        "cat",
        " ",
        ",",
        "the",
        "1",
        "script",
        "onload",
        "eval",
        "%20",
        "+",
        "좌석",
        "etc",
        "passwd",
        "2147483649",
        "-",
        ".",
        "cookie",
        "javascript",
        "ls",
        "env",
    ]);
    let words = prop::collection::vec(words, 0..8).prop_map(|words| words.concat().into_bytes());
    prop_oneof![prop::collection::vec(marks, 0..40), words]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_look_is_what_its_chain_makes_of_each_value(first in text(), second in text()) {
        let engine = engine_once();
        let asked = asked(engine);
        let form = [b"a=".as_slice(), &first, b"&b=", &second].concat();
        inspected(engine, &second, &form, |inspector| {
            for look in 0..inspector.plan.looks.len() {
                let mut root = look;
                let mut steps = Vec::new();
                while let Some((parent, transformation)) = inspector.plan.parent_of[root] {
                    steps.insert(0, (transformation, inspector.plan.only_with[root]));
                    root = parent;
                }
                let batch = inspector.look(look);
                let loaded = inspector.load(inspector.plan.field_of[root]);
                let mut at = batch.start;
                for name in loaded.start..loaded.end {
                    let mut expected = inspector.bytes(inspector.values[name].buffer).to_vec();
                    for (t, only_with) in &steps {
                        if only_with.is_none_or(|bytes| bytes.meets(ByteSet::in_value(&expected))) {
                            expected = t.apply(&expected).unwrap_or(expected);
                        }
                    }
                    let there = at < batch.end && inspector.pairs[at].1 == name;
                    if !there {
                        // Who asks for it must have no use for it.
                        let asked = &asked[look];
                        let found = asked.iter().find(|&&p| inspector.plan.bank.find(p, &expected).is_some());
                        assert_eq!(found, None, "{:?} left out {expected:?}", inspector.on(look));
                        let injections = &inspector.plan.sieves[inspector.plan.field_of[look]].asks;
                        for (_, asked) in injections.iter().filter(|(other, _)| *other == look) {
                            let set = ByteSet::in_value(&expected);
                            let found = match asked {
                                Asked::Patterns => false,
                                Asked::SqlLow | Asked::SqlHigh => {
                                    injection::may_be_sql(&expected, set)
                                        && (*asked == Asked::SqlHigh
                                            || injection::has_evidence(&expected, set))
                                        && injection::is_sql(&expected)
                                }
                                Asked::Scripts => {
                                    injection::is_script(injection::without_xml_declaration(&expected))
                                }
                            };
                            assert!(!found, "{:?} left out {expected:?}", inspector.on(look));
                        }
                        continue;
                    }
                    assert_eq!(inspector.bytes(inspector.pairs[at].0), expected, "{:?}", inspector.on(look));
                    at += 1;
                }
                assert_eq!(at, batch.end);
            }
        });
    }
}

/// Of each look, the patterns that are looked for there.
fn asked(engine: &Engine) -> Vec<Vec<usize>> {
    fn collect(node: &Node, asked: &mut [Vec<usize>], patterns: usize) {
        match node {
            Node::And(list) | Node::Or(list) => list.iter().for_each(|n| collect(n, asked, patterns)),
            Node::Not(inner) => collect(inner, asked, patterns),
            Node::Probe { look, probe: Probe::Patterns(set) } => {
                asked[*look].extend((0..patterns).filter(|&p| set.contains(p)));
            }
            _ => {}
        }
    }
    let mut asked = vec![Vec::new(); engine.plan.looks.len()];
    for rule in &engine.plan.rules {
        let RuleBody::Group(group) = &rule.body else { continue };
        for rule in &group.rules {
            let RuleBody::Plain { node, .. } = &rule.rule.body else { continue };
            collect(node, &mut asked, engine.plan.bank.len());
        }
    }
    assert!(asked.iter().any(|a| !a.is_empty()));
    asked
}

fn engine_once() -> &'static Engine {
    static ENGINE: std::sync::OnceLock<Engine> = std::sync::OnceLock::new();
    ENGINE.get_or_init(engine)
}
