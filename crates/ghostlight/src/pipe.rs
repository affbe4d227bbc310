//! A reader that has gone: `ghostlight status | head -1`.
//!
//! `println!` panics then, because Rust's programs ignore SIGPIPE. That is no fault of anybody's: the program ends as one
//! of the shell's that was ended by the signal, without a word, and what it had begun is dropped in order.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
};

/// What a shell tells of a program that SIGPIPE has ended: 128 and the signal's number.
pub(crate) const READER_GONE: u8 = 141;

/// Runs `program`; `None` if the reader of its output has gone meanwhile. Any other panic goes on its way.
pub(crate) fn until_reader_gone<T>(program: impl FnOnce() -> T) -> Option<T> {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !is_reader_gone(info.payload()) {
            told(info);
        }
    }));
    match panic::catch_unwind(AssertUnwindSafe(program)) {
        Ok(value) => Some(value),
        Err(payload) if is_reader_gone(&*payload) => None,
        Err(payload) => panic::resume_unwind(payload),
    }
}

fn is_reader_gone(payload: &(dyn Any + Send)) -> bool {
    let why = words(payload);
    why.starts_with("failed printing to stdout") && why.contains("Broken pipe")
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let literal = || payload.downcast_ref::<&str>().copied();
    payload.downcast_ref::<String>().map(String::as_str).or_else(literal).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_missing_reader_is_passed_over() {
        let gone = until_reader_gone(|| {
            panic!("failed printing to stdout: {}", std::io::Error::from_raw_os_error(32));
        });
        assert_eq!(gone, None::<()>);
        assert_eq!(until_reader_gone(|| 7), Some(7));
        let other = panic::catch_unwind(|| until_reader_gone(|| panic!("the row is empty")));
        assert_eq!(words(&*other.unwrap_err()), "the row is empty");
    }
}
