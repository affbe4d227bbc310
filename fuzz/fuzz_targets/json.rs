//! JSON, as lenient as the parsers behind us may be.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    waf::body::json(input, &mut |_, _, _| {});
});
