//! A multipart form; the first line is its content type.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let at = input.iter().position(|&b| b == b'\n').unwrap_or(input.len());
    let kind = [b"multipart/form-data; boundary=", &input[..at]].concat();
    waf::body::multipart(&kind, input.get(at + 1..).unwrap_or_default(), &mut |_, _, _| {});
});
