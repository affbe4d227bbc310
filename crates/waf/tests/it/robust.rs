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

/// Honest input with one thing wrong in it, at every place: what fuzzing finds first, on every run.
#[test]
fn honest_input_damaged_anywhere_neither_panics_nor_stops_a_parser() {
    let multipart = b"--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"x.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--b\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\n\xec\xa2\x8c\xec\x84\x9d\r\n--b--\r\n";
    let kinds: [(&str, &[u8]); 4] = [
        ("application/x-www-form-urlencoded", b"a=%EC%A2%8C%EC%84%9D+1&b[]=x%26y&c=%u0041&=&d"),
        ("multipart/form-data; boundary=b", multipart),
        (
            "application/json",
            b"{\"a\": [1, -2.5e3, true, null, {\"b\\u00e9\": \"\\\\x\\\"\"}], \"c\": \"\xec\xa2\x8c\"}",
        ),
        ("text/xml", b"<?xml version=\"1.0\"?><a b=\"c\"><![CDATA[x]]><d>&lt;1&#x41;</d><!-- e --></a>"),
    ];
    for (kind, honest) in kinds {
        for at in 0..=honest.len() {
            let (before, behind) = honest.split_at(at);
            let mut damaged = vec![before.to_vec(), [before, behind.get(1..).unwrap_or_default()].concat()];
            for byte in [0, b'"', b'%', b'\\', b'{', b'&', 0xff] {
                damaged.push([before, &[byte], behind].concat());
            }
            if let Some(first) = behind.first() {
                damaged.extend((0..8).map(|bit| [before, &[first ^ 1 << bit], &behind[1..]].concat()));
            }
            for body in damaged {
                body::form(&body, |_, _, _| {});
                body::json(&body, &mut |_, _, _| {});
                body::multipart(kind.as_bytes(), &body, &mut |_, _, _| {});
                body::xml(&body, &mut |_, _, _| {});
                for &transformation in Transformation::ALL {
                    transformation.apply(&body);
                }
                if at % 8 == 0 {
                    Request::new("POST", "/").body(kind, body).judge(example());
                }
            }
        }
    }
}
