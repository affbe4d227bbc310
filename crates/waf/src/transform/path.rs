//! Paths with their detours taken out.

/// Multiple slashes, self-references and back-references that are not at the beginning go.
pub(super) fn normalize(input: &[u8], windows: bool) -> Option<Vec<u8>> {
    let slashed;
    let mut path = input;
    if windows && input.contains(&b'\\') {
        slashed = input.iter().map(|&b| if b == b'\\' { b'/' } else { b }).collect::<Vec<u8>>();
        path = &slashed;
    }
    let needs = memchr::memmem::find(path, b"//").is_some()
        || memchr::memmem::find(path, b"./").is_some()
        || path.ends_with(b"/.")
        || path.ends_with(b"/..");
    if !needs {
        return (path.len() == input.len() && path != input).then(|| path.to_vec());
    }
    let absolute = path.first() == Some(&b'/');
    let directory = path.ends_with(b"/") || path.ends_with(b"/.") || path.ends_with(b"/..");
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match kept.last() {
                Some(&last) if last != b".." => {
                    kept.pop();
                }
                _ if absolute => {}
                _ => kept.push(part),
            },
            _ => kept.push(part),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    if absolute {
        out.push(b'/');
    }
    out.extend_from_slice(&kept.join(&b'/'));
    if directory && !kept.is_empty() {
        out.push(b'/');
    }
    (out != input).then_some(out)
}
