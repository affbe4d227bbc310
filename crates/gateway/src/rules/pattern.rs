//! Text with `*` (any text) and `?` (one character), as users of load balancers write it.

/// A pattern, cut at its stars once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// What stands before the first star, between two, and behind the last.
    pieces: Vec<Vec<u8>>,
    /// Capitals do not matter.
    folded: bool,
}

impl Pattern {
    /// Capitals matter.
    pub(crate) fn exact(text: &str) -> Pattern {
        Pattern { pieces: text.as_bytes().split(|b| *b == b'*').map(<[u8]>::to_vec).collect(), folded: false }
    }

    /// Capitals do not matter.
    pub(crate) fn folded(text: &str) -> Pattern {
        Pattern { folded: true, ..Pattern::exact(text) }
    }

    /// Whether all of `text` is as the pattern says. Takes no longer than the product of their lengths.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let text = text.as_bytes();
        match self.pieces.as_slice() {
            [] => text.is_empty(),
            [only] => text.len() == only.len() && self.fits(only, text),
            [first, middle @ .., last] => {
                if text.len() < first.len() + last.len() {
                    return false;
                }
                let (begin, rest) = text.split_at(first.len());
                let (mut rest, end) = rest.split_at(rest.len() - last.len());
                // The earliest place of each piece leaves the most room for those that follow.
                let in_order = middle.iter().all(|piece| {
                    let place = (0..=rest.len().saturating_sub(piece.len())).find(|at| {
                        rest.get(*at..at + piece.len()).is_some_and(|part| self.fits(piece, part))
                    });
                    place.and_then(|at| rest.get(at + piece.len()..)).map(|after| rest = after).is_some()
                });
                in_order && self.fits(first, begin) && self.fits(last, end)
            }
        }
    }

    fn fits(&self, piece: &[u8], part: &[u8]) -> bool {
        let same = |(want, is): (&u8, &u8)| {
            *want == b'?' || want == is || (self.folded && want.eq_ignore_ascii_case(is))
        };
        piece.len() == part.len() && piece.iter().zip(part).all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(Pattern::exact(pattern).matches(text), "{pattern} does not take {text}");
        }
        for text in no {
            assert!(!Pattern::exact(pattern).matches(text), "{pattern} takes {text}");
        }
    }

    #[test]
    fn stars_and_question_marks() {
        check("/DVWA*", &["/DVWA", "/DVWA/", "/DVWA/a/b", "/DVWAx"], &["/", "/dvwa", "/x/DVWA"]);
        check("/a/*/c", &["/a/b/c", "/a//c", "/a/b/c/c"], &["/a/c", "/a/b/d"]);
        check("*", &["", "/", "anything"], &[]);
        check("**", &["", "x"], &[]);
        check("*.kr", &[".kr", "a.b.kr"], &["kr", "a.kr.com"]);
        check("/img?", &["/img1"], &["/img", "/img12"]);
        check("*a*b*", &["ab", "xaxbx"], &["ba", "a", "b"]);
        check("aa*aa", &["aaaa", "aaxaa"], &["aaa", "aa"]);
        check("/plain", &["/plain"], &["/plain/", "/plai"]);
        check("", &[""], &["x"]);
    }

    #[test]
    fn capitals_matter_only_where_they_do() {
        assert!(Pattern::folded("*.Example.KR").matches("Tickets.example.kr"));
        assert!(!Pattern::exact("/A").matches("/a"));
    }

    #[test]
    fn many_stars_on_a_long_text_end_soon() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!Pattern::exact(&pattern).matches(&"a".repeat(20_000)));
    }
}
