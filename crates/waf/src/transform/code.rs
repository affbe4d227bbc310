//! Command lines and comments.

use memchr::memmem;

/// What a shell throws away, and what it takes for a space; in lower case.
pub(super) fn cmd_line(input: &[u8]) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(input.len());
    for &b in input {
        match b {
            b'"' | b'\'' | b'\\' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => {
                if out.last() != Some(&b' ') {
                    out.push(b' ');
                }
            }
            b'/' | b'(' => {
                if out.last() == Some(&b' ') {
                    out.pop();
                }
                out.push(b);
            }
            _ => out.push(b.to_ascii_lowercase()),
        }
    }
    (out != input).then_some(out)
}

/// What `cmd.exe` throws away (`^`, `"`), its separators as spaces, in lower case, as Windows does not care.
pub(super) fn cmd_line_win(input: &[u8]) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(input.len());
    for &b in input {
        match b {
            b'"' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => {
                if out.last() != Some(&b' ') {
                    out.push(b' ');
                }
            }
            _ => out.push(b.to_ascii_lowercase()),
        }
    }
    (out != input).then_some(out)
}

/// What a Unix shell throws away inside of a word: quotes, backslashes, empty expansions (`$@`, `$*`, `$9`); `$IFS` and
/// runs of blanks are one space. Line ends and separators stay: they begin a new command.
pub(super) fn cmd_line_unix(input: &[u8]) -> Option<Vec<u8>> {
    if !input.iter().any(|b| matches!(b, b'"' | b'\'' | b'\\' | b'$' | b'\t'))
        && memmem::find(input, b"  ").is_none()
    {
        return None;
    }
    let mut out: Vec<u8> = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some((&b, after)) = rest.split_first() {
        rest = after;
        match b {
            b'"' | b'\'' => {}
            b'\\' => {
                // A quoted line end is nothing at all.
                if after.first() == Some(&b'\n') {
                    rest = &after[1..];
                }
            }
            b'$' => {
                if let Some(tail) = after.strip_prefix(b"{IFS}").or_else(|| after.strip_prefix(b"IFS")) {
                    push_space(&mut out);
                    rest = tail;
                } else if let [b'@' | b'*' | b'9' | b'!', tail @ ..] = after {
                    rest = tail;
                } else if let [b'{', b'@' | b'*' | b'9' | b'!', b'}', tail @ ..] = after {
                    rest = tail;
                } else {
                    out.push(b);
                }
            }
            b' ' | b'\t' => push_space(&mut out),
            _ => out.push(b),
        }
    }
    (out != input).then_some(out)
}

fn push_space(out: &mut Vec<u8>) {
    if out.last() != Some(&b' ') {
        out.push(b' ');
    }
}

/// Each C comment becomes one space; one that is not closed, too.
pub(super) fn replace_comments(input: &[u8]) -> Option<Vec<u8>> {
    let mut at = memmem::find(input, b"/*")?;
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    loop {
        out.extend_from_slice(&rest[..at]);
        out.push(b' ');
        rest = match memmem::find(&rest[at + 2..], b"*/") {
            Some(end) => &rest[at + 2 + end + 2..],
            None => break,
        };
        match memmem::find(rest, b"/*") {
            Some(next) => at = next,
            None => {
                out.extend_from_slice(rest);
                break;
            }
        }
    }
    Some(out)
}

/// The marks of comments go, what they enclose stays.
pub(super) fn remove_comments_char(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some((&b, after)) = rest.split_first() {
        rest = match rest {
            [b'/', b'*', tail @ ..]
            | [b'*', b'/', tail @ ..]
            | [b'-', b'-', tail @ ..]
            | [b'#', tail @ ..] => tail,
            [b'<', b'!', b'-', b'-', tail @ ..] => tail,
            _ => {
                out.push(b);
                after
            }
        };
    }
    (out.len() != input.len()).then_some(out)
}
