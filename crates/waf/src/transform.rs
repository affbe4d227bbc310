//! The text transformations: what is undone before a value is looked at.
//!
//! They are AWS WAF's thirty-one, by AWS's names; where AWS describes one in a sentence, ModSecurity's transformation of
//! the same name (AWS took them from there) decides the details. Each takes bytes and says either that nothing
//! changed, so that whoever caches can share the buffer, or what came out. None fails: what cannot be decoded stays.

mod code;
mod digest;
mod escape;
mod path;
mod space;
mod touch;

use std::fmt;

pub(crate) use digest::base64_length;

macro_rules! transformations {
    ($($variant:ident $name:literal $function:expr;)*) => {
        /// A text transformation.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the names are AWS's, their meaning stands beside each function")]
        pub enum Transformation { $($variant,)* }

        impl Transformation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// AWS's name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// By AWS's name.
            pub fn by_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// What comes out; `None`: what went in.
            pub fn apply(self, input: &[u8]) -> Option<Vec<u8>> {
                let function: fn(&[u8]) -> Option<Vec<u8>> = match self { $(Self::$variant => $function,)* };
                function(input)
            }
        }
    };
}

transformations! {
    None "NONE" |_| None;
    CompressWhiteSpace "COMPRESS_WHITE_SPACE" space::compress;
    HtmlEntityDecode "HTML_ENTITY_DECODE" escape::html_entity;
    Lowercase "LOWERCASE" space::lowercase;
    CmdLine "CMD_LINE" code::cmd_line;
    UrlDecode "URL_DECODE" |i| escape::url(i, false);
    Base64Decode "BASE64_DECODE" |i| digest::base64(i, false);
    HexDecode "HEX_DECODE" digest::hex;
    Md5 "MD5" digest::md5;
    ReplaceComments "REPLACE_COMMENTS" code::replace_comments;
    EscapeSeqDecode "ESCAPE_SEQ_DECODE" escape::ansi_c;
    SqlHexDecode "SQL_HEX_DECODE" digest::sql_hex;
    CssDecode "CSS_DECODE" escape::css;
    JsDecode "JS_DECODE" |i| escape::js(i, false);
    NormalizePath "NORMALIZE_PATH" |i| path::normalize(i, false);
    NormalizePathWin "NORMALIZE_PATH_WIN" |i| path::normalize(i, true);
    RemoveNulls "REMOVE_NULLS" |i| space::without(i, |b| b == 0);
    ReplaceNulls "REPLACE_NULLS" |i| space::replaced(i, |b| b == 0);
    Base64DecodeExt "BASE64_DECODE_EXT" |i| digest::base64(i, true);
    UrlDecodeUni "URL_DECODE_UNI" |i| escape::url(i, true);
    Utf8ToUnicode "UTF8_TO_UNICODE" escape::utf8_to_unicode;
    RemoveWhitespace "REMOVE_WHITESPACE" |i| space::without(i, space::is_space);
    Trim "TRIM" |i| space::trim(i, true, true);
    TrimLeft "TRIM_LEFT" |i| space::trim(i, true, false);
    TrimRight "TRIM_RIGHT" |i| space::trim(i, false, true);
    RemoveCommentsChar "REMOVE_COMMENTS_CHAR" code::remove_comments_char;
    Uppercase "UPPERCASE" space::uppercase;
    CmdLineWin "CMD_LINE_WIN" code::cmd_line_win;
    CmdLineUnix "CMD_LINE_UNIX" code::cmd_line_unix;
    JsDecodeExt "JS_DECODE_EXT" |i| escape::js(i, true);
    Sha256 "SHA256" digest::sha256;
}

impl fmt::Display for Transformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The value of a hexadecimal digit.
fn nibble(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

/// The byte that two hexadecimal digits stand for.
fn hex_byte(high: u8, low: u8) -> Option<u8> {
    Some(nibble(high)? << 4 | nibble(low)?)
}

/// A 16-bit code as one byte: full-width ASCII is folded, of anything else the lower byte is kept.
fn narrow(code: u16) -> u8 {
    let [high, low] = code.to_be_bytes();
    if high == 0xff && (0x01..=0x5e).contains(&low) { low + 0x20 } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transformation as T;

    #[track_caller]
    fn check(transformation: T, input: &[u8], expected: &[u8]) {
        let out = transformation.apply(input);
        let out = out.as_deref().unwrap_or(input);
        assert_eq!(
            String::from_utf8_lossy(out),
            String::from_utf8_lossy(expected),
            "{transformation} of {input:?}"
        );
    }

    #[test]
    fn there_are_thirty_one_and_each_is_found_by_its_name() {
        assert_eq!(T::ALL.len(), 31);
        for &t in T::ALL {
            assert_eq!(T::by_name(t.name()), Some(t));
        }
    }

    #[test]
    fn url() {
        check(T::UrlDecode, b"a%20b+c%zz%4", b"a b c%zz%4");
        check(T::UrlDecode, b"%u003c", b"%u003c");
        check(T::UrlDecodeUni, b"%u003cscript%uff1e%3c", b"<script><");
        check(T::UrlDecodeUni, b"%u00", b"%u00");
    }

    #[test]
    fn html_entities() {
        check(
            T::HtmlEntityDecode,
            b"&lt;script&gt;&quot;&#60;&#x3C;&#x00003c&amp;&nope;&",
            b"<script>\"<<<&&nope;&",
        );
        check(T::HtmlEntityDecode, b"jav&Tab;ascript&colon;&NewLine;", b"jav\tascript:\n");
        check(T::HtmlEntityDecode, b"&#00000000000000000000000000000123;", b"{");
        check(T::HtmlEntityDecode, b"&#xc774;", "이".as_bytes());
    }

    #[test]
    fn javascript_and_css() {
        check(T::JsDecode, br"\x3c\u003c\uFF1c\74\n\'\q", b"<<<<\n'q");
        check(T::JsDecodeExt, br"\u{3c}\u{0003c}\x3c", b"<<<");
        check(T::CssDecode, br"ja\vascript\3a \00003c x\", b"javascript:<x\\");
        check(T::CssDecode, br"\6a\61vascript", b"javascript");
    }

    #[test]
    fn escape_sequences() {
        check(T::EscapeSeqDecode, br"\x41\101\n\\\q\x4", b"AA\n\\\\q\\x4");
    }

    #[test]
    fn command_lines() {
        check(T::CmdLine, b"C^at  /e\"tc\"/pas'swd;ID", b"cat/etc/passwd id");
        check(T::CmdLineUnix, br#"c\at /e't'c/p""asswd"#, b"cat /etc/passwd");
        check(T::CmdLineUnix, b"cat${IFS}/etc$IFS$9passwd", b"cat /etc passwd");
        check(T::CmdLineWin, br#"p^ow"er"shell,/c"#, b"powershell /c");
    }

    #[test]
    fn comments() {
        check(T::ReplaceComments, b"un/**/ion/* x", b"un ion ");
        check(T::ReplaceComments, b"a */ b", b"a */ b");
        check(T::RemoveCommentsChar, b"a/*b*/c--d#e<!--", b"abcde");
    }

    #[test]
    fn digests_and_encodings() {
        check(T::Base64Decode, b"PHNjcmlwdD4=", b"<script>");
        check(T::Base64Decode, b"PHNj cmlw", b"<sc");
        check(T::Base64DecodeExt, b"PHNj.cm*lwdD4", b"<script>");
        check(T::HexDecode, b"3c73", b"<s");
        check(T::SqlHexDecode, b"select 0x414243,0x4g", b"select ABC,0x4g");
        assert_eq!(T::Md5.apply(b"").unwrap()[..2], [0xd4, 0x1d]);
        assert_eq!(T::Sha256.apply(b"").unwrap()[..2], [0xe3, 0xb0]);
    }

    #[test]
    fn paths() {
        check(T::NormalizePath, b"/a/./b/../../c//d", b"/c/d");
        check(T::NormalizePath, b"../../etc/x", b"../../etc/x");
        check(T::NormalizePath, b"a/../../etc", b"../etc");
        check(T::NormalizePath, b"/../etc", b"/etc");
        check(T::NormalizePathWin, br"a\..\..\win.ini", b"../win.ini");
        check(T::NormalizePath, b"/a/b/", b"/a/b/");
    }

    #[test]
    fn white_space_and_case() {
        check(T::CompressWhiteSpace, b"a \t\n\xa0b", b"a b");
        check(T::RemoveWhitespace, b" a\tb ", b"ab");
        check(T::Trim, b" a b ", b"a b");
        check(T::TrimLeft, b" a ", b"a ");
        check(T::TrimRight, b" a ", b" a");
        check(T::Lowercase, b"aBC", b"abc");
        check(T::Uppercase, b"aBc", b"ABC");
        check(T::RemoveNulls, b"a\0b", b"ab");
        check(T::ReplaceNulls, b"a\0b", b"a b");
        check(T::Utf8ToUnicode, "a이".as_bytes(), b"a%uc774");
    }
}
