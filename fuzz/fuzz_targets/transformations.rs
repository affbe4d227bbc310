//! A chain of transformations, named by the first bytes: each output is the next one's input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waf::transform::Transformation;

fuzz_target!(|input: &[u8]| {
    let [first, second, third, value @ ..] = input else { return };
    let mut value = value.to_vec();
    for which in [first, second, third] {
        let transformation = Transformation::ALL[usize::from(*which) % Transformation::ALL.len()];
        if let Some(out) = transformation.apply(&value) {
            assert!(out.len() <= value.len() * 6 + 64, "{transformation} grows without measure");
            value = out;
        }
    }
});
