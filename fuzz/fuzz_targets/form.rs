//! An urlencoded form.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| waf::body::form(input, |_, _, _| {}));
