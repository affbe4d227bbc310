//! Which bytes a transformation needs to find before it changes anything.

use super::Transformation as T;
use crate::bytes::ByteSet;

const SPACE: ByteSet = ByteSet::of(b" \t\n\r\x0b\x0c");
const UPPER: ByteSet = ByteSet::of(b"").with(b'A', b'Z');

impl T {
    /// The bytes without all of which it leaves a value as it is; `None`: it may change any value.
    ///
    /// A value with such a byte may still stay as it is: this only spares the attempt.
    pub(crate) fn touches(self) -> Option<ByteSet> {
        Some(match self {
            T::None => const { ByteSet::of(b"") },
            T::CompressWhiteSpace => const { SPACE.with(0xa0, 0xa0) },
            T::HtmlEntityDecode => const { ByteSet::of(b"&") },
            T::Lowercase => UPPER,
            T::Uppercase => const { ByteSet::of(b"").with(b'a', b'z') },
            T::CmdLine => const { ByteSet::of(b"\"'\\^ ,;\t\r\n/(").with(b'A', b'Z') },
            T::CmdLineWin => const { ByteSet::of(b"\"^ ,;\t\r\n").with(b'A', b'Z') },
            T::CmdLineUnix => const { ByteSet::of(b"\"'\\$\t ") },
            T::UrlDecode | T::UrlDecodeUni => const { ByteSet::of(b"%+") },
            T::ReplaceComments => const { ByteSet::of(b"*") },
            T::EscapeSeqDecode | T::CssDecode | T::JsDecode | T::JsDecodeExt => const { ByteSet::of(b"\\") },
            T::SqlHexDecode => const { ByteSet::of(b"xX") },
            T::NormalizePath => const { ByteSet::of(b"/") },
            T::NormalizePathWin => const { ByteSet::of(b"/\\") },
            T::RemoveNulls | T::ReplaceNulls => const { ByteSet::of(b"\0") },
            T::Utf8ToUnicode => const { ByteSet::of(b"").with(0x80, 0xff) },
            T::RemoveWhitespace | T::Trim | T::TrimLeft | T::TrimRight => SPACE,
            T::RemoveCommentsChar => const { ByteSet::of(b"*-#") },
            T::Base64Decode | T::Base64DecodeExt | T::HexDecode | T::Md5 | T::Sha256 => return None,
        })
    }
}

impl T {
    /// Whether more bytes may come out than went in.
    pub(crate) fn grows(self) -> bool {
        matches!(self, T::Utf8ToUnicode | T::Md5 | T::Sha256 | T::HtmlEntityDecode)
    }

    /// Which bytes may be there afterwards, if these were there before.
    pub(crate) fn reaches(self, before: ByteSet) -> ByteSet {
        const SPACES: ByteSet = ByteSet::of(b" ");
        if self.touches().is_some_and(|touched| !touched.meets(before)) {
            return before;
        }
        match self {
            T::None
            | T::RemoveNulls
            | T::RemoveWhitespace
            | T::Trim
            | T::TrimLeft
            | T::TrimRight
            | T::RemoveCommentsChar
            | T::NormalizePath => before,
            T::CompressWhiteSpace | T::ReplaceComments | T::ReplaceNulls | T::CmdLineUnix => {
                let mut after = before;
                after.add(SPACES);
                after
            }
            T::NormalizePathWin => {
                let mut after = before;
                after.add(const { ByteSet::of(b"/") });
                after
            }
            T::Lowercase | T::Uppercase | T::CmdLine | T::CmdLineWin => {
                let mut after = before.in_either_case();
                after.add(SPACES);
                after
            }
            _ => ByteSet::ALL,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_value_without_the_bytes_stays_as_it_is(
            input in prop::collection::vec(prop_oneof![
                prop::sample::select(b"%+&\\/*-#<!;,'\"^$( \t\n.xX0aA\0\xa0\xec".to_vec()),
                any::<u8>(),
            ], 0..12),
        ) {
            for &transformation in T::ALL {
                let Some(touched) = transformation.touches() else { continue };
                let untouched: Vec<u8> =
                    input.iter().copied().filter(|&b| !touched.meets(ByteSet::of(&[b]))).collect();
                prop_assert_eq!(transformation.apply(&untouched), None, "{} of {:?}", transformation, untouched);
            }
        }

        #[test]
        fn no_other_bytes_come_out_than_it_reaches(
            input in prop::collection::vec(prop_oneof![
                prop::sample::select(b"%+&\\/*-#<!;,'\"^$( \t\n.xX0aA\0\xa0\xec".to_vec()),
                any::<u8>(),
            ], 0..12),
        ) {
            for &transformation in T::ALL {
                let Some(out) = transformation.apply(&input) else { continue };
                let reached = transformation.reaches(ByteSet::in_value(&input));
                prop_assert!(out.len() <= input.len() || transformation.grows(), "{} of {:?}", transformation, input);
                prop_assert!(out.iter().all(|&b| reached.meets(ByteSet::of(&[b]))), "{} of {:?}", transformation, input);
            }
        }
    }
}
