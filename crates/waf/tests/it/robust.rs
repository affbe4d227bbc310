//! Whatever bytes come: nothing panics, nothing takes long.

use proptest::prelude::*;
use waf::{body, transform::Transformation};

use crate::harness::{Request, example};

/// Bytes that parsers care about, among others.
fn hostile(length: usize) -> impl Strategy<Value = Vec<u8>> {
    let marks = prop::sample::select(b"%u00&#x;\\{}[]\"'<>=/*.-+$(|`:,~!?@^\r\n\t \0\xff\x80aA1".to_vec());
    prop::collection::vec(prop_oneof![3 => marks, 1 => any::<u8>()], 0..length)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_transformation_panics_or_grows_without_measure(input in hostile(300)) {
        for &transformation in Transformation::ALL {
            if let Some(out) = transformation.apply(&input) {
                prop_assert!(out.len() <= input.len() * 6 + 64, "{transformation}");
                prop_assert!(out != input || matches!(transformation, Transformation::Md5 | Transformation::Sha256), "{transformation} says that it changed something");
            }
        }
    }

    #[test]
    fn no_parser_panics(input in hostile(400), kind in hostile(60)) {
        body::form(&input, |_, _, _| {});
        body::json(&input, &mut |_, _, _| {});
        body::multipart(&kind, &input, &mut |_, _, _| {});
        let mut typed = b"multipart/form-data; boundary=".to_vec();
        typed.extend_from_slice(&input[..input.len().min(3)]);
        body::multipart(&typed, &input, &mut |_, _, _| {});
        body::xml(&input, &mut |_, _, _| {});
    }

    #[test]
    fn the_json_parser_agrees_with_another_one(input in "[\\[\\]{}:,\"a0-9.eE+\\- tfn\\\\u]{0,40}") {
        let valid = serde_json::from_str::<serde_json::Value>(&input).is_ok();
        let ours = body::json(input.as_bytes(), &mut |_, _, _| {});
        prop_assert!(ours || !valid, "{input:?} is JSON");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_makes_the_engine_panic(
        target in hostile(300), header in hostile(200), payload in hostile(600), kind in 0usize..5,
    ) {
        let kinds = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "text/xml", ""];
        let mut request = Request::new("POST", "/").body(kinds[kind], payload).header("X-Test", header);
        request.target = target;
        request.judge(example());
    }
}
