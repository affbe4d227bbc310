//! The page that a browser gets when there is no answer of the application: whole in itself, so that it works with no
//! backend, no script and no third party; Korean and English; trying again by itself where that does no harm.
//!
//! Always true here: only a GET of which nothing was sent is fetched again by itself. Whoever waits comes back at a time of
//! his own (within [`AGAIN_S`]), so that those who wait together do not come back together.

use std::ops::RangeInclusive;

/// A browser tries again after so many seconds.
const AGAIN_S: RangeInclusive<u32> = 3..=8;

const PAGE: &str = include_str!("page.html");

/// What the page's own style needs, and nothing else.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The language that comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Korean,
    English,
}

impl Language {
    /// Of these two the one that a browser names first (`Accept-Language` is written in the order of preference by all
    /// of them); Korean if it names neither.
    pub(crate) fn of(accept: &str) -> Language {
        let names = |part: &str| {
            let tag = part.split(';').next().unwrap_or_default().trim();
            let primary = tag.split('-').next().unwrap_or_default();
            match primary {
                _ if primary.eq_ignore_ascii_case("ko") => Some(Language::Korean),
                _ if primary.eq_ignore_ascii_case("en") => Some(Language::English),
                _ => None,
            }
        };
        accept.split(',').find_map(names).unwrap_or(Language::Korean)
    }

    fn tag(self) -> &'static str {
        match self {
            Language::Korean => "ko",
            Language::English => "en",
        }
    }

    fn other(self) -> Language {
        match self {
            Language::Korean => Language::English,
            Language::English => Language::Korean,
        }
    }
}

/// What a page says.
pub(crate) struct Page {
    /// In Korean and in English. Ours: nothing in them needs escaping.
    pub(crate) ko: &'static str,
    pub(crate) en: &'static str,
    /// For whoever is told of it on the telephone.
    pub(crate) code: &'static str,
    pub(crate) kind: Kind,
    pub(crate) language: Language,
}

/// What the visitor is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Wait: the page comes again by itself.
    WaitsHere,
    /// Send it again himself when he likes: nothing was done.
    MayRepeat,
    /// Look first whether it was done.
    MustLook,
    /// Nothing helps but asking something else.
    Refused,
}

impl Kind {
    fn heading(self, language: Language) -> &'static str {
        match (self, language) {
            (Kind::WaitsHere, Language::Korean) => "잠시만 기다려 주세요",
            (Kind::WaitsHere, Language::English) => "One moment, please",
            (Kind::MayRepeat, Language::Korean) => "아직 처리되지 않았어요",
            (Kind::MayRepeat, Language::English) => "Not processed yet",
            (Kind::MustLook, Language::Korean) => "처리 여부를 확인하고 있어요",
            (Kind::MustLook, Language::English) => "We are still making sure",
            (Kind::Refused, Language::Korean) => "요청을 처리할 수 없어요",
            (Kind::Refused, Language::English) => "This request cannot be served",
        }
    }

    fn what_to_do(self, language: Language) -> &'static str {
        match (self, language) {
            (Kind::WaitsHere, Language::Korean) => "이 화면은 자동으로 다시 시도해요. 창을 닫지 않아도 돼요.",
            (Kind::WaitsHere, Language::English) => "This page tries again by itself. You can leave it open.",
            (Kind::MayRepeat, Language::Korean) => {
                "뒤로 가서 한 번 더 시도해 주세요. 두 번 처리될 걱정은 없어요."
            }
            (Kind::MayRepeat, Language::English) => {
                "Please go back and try again. Nothing will happen twice."
            }
            (Kind::MustLook, Language::Korean) => "내역을 먼저 확인해 주세요. 확인된 내용은 사라지지 않아요.",
            (Kind::MustLook, Language::English) => {
                "Please look at your history first. What it shows will not be lost."
            }
            (Kind::Refused, Language::Korean) => "처음 화면으로 돌아가 주세요.",
            (Kind::Refused, Language::English) => "Please go back to the first page.",
        }
    }
}

impl Page {
    /// The page, and after how many seconds it comes again, if it does. `lot`: any number.
    pub(crate) fn write(&self, lot: u32) -> (String, Option<u32>) {
        let wait_s = AGAIN_S.start() + lot % (AGAIN_S.end() - AGAIN_S.start() + 1);
        let again = (self.kind == Kind::WaitsHere).then_some(wait_s);
        let refresh =
            again.map(|s| format!("<meta http-equiv=\"refresh\" content=\"{s}\">\n")).unwrap_or_default();
        let page = PAGE
            .replace("{lang}", self.language.tag())
            .replace("{other_lang}", self.language.other().tag())
            .replace("{refresh}", &refresh)
            .replace("{wait}", &wait_s.to_string())
            .replace("{title}", self.kind.heading(self.language))
            .replace("{first}", &self.first(again.is_some()))
            .replace("{other}", &self.part("h2", self.language.other()))
            .replace("{code}", self.code);
        (page, again)
    }

    fn first(&self, waits: bool) -> String {
        let bar = if waits { "<div class=\"bar\" aria-hidden=\"true\"><i></i></div>\n" } else { "" };
        let link = match (self.kind, self.language) {
            (Kind::WaitsHere, Language::Korean) => "<a href=\"\">지금 다시 시도</a>",
            (Kind::WaitsHere, Language::English) => "<a href=\"\">Try now</a>",
            (_, Language::Korean) => "<a href=\"/\">처음으로</a>",
            (_, Language::English) => "<a href=\"/\">First page</a>",
        };
        format!("{bar}{}\n{link}", self.part("h1", self.language))
    }

    fn part(&self, heading: &str, language: Language) -> String {
        let words = if language == Language::Korean { self.ko } else { self.en };
        let (title, what_to_do) = (self.kind.heading(language), self.kind.what_to_do(language));
        format!("<{heading}>{title}</{heading}>\n<p>{words}</p>\n<p>{what_to_do}</p>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(kind: Kind, language: Language, lot: u32) -> (String, Option<u32>) {
        Page { ko: "한국말", en: "English words", code: "not_available", kind, language }.write(lot)
    }

    #[test]
    fn only_who_waits_comes_again_and_not_all_at_once() {
        let times: std::collections::BTreeSet<_> =
            (0..100).map(|lot| page(Kind::WaitsHere, Language::Korean, lot).1).collect();
        assert_eq!(times, AGAIN_S.map(Some).collect());
        for kind in [Kind::MayRepeat, Kind::MustLook, Kind::Refused] {
            let (text, again) = page(kind, Language::Korean, 1);
            assert!(again.is_none() && !text.contains("http-equiv=\"refresh\""), "{text}");
        }
    }

    #[test]
    fn it_is_whole_in_itself_and_speaks_both_languages() {
        for language in [Language::Korean, Language::English] {
            let (text, again) = page(Kind::WaitsHere, language, 4);
            assert!(text.contains(&format!("<html lang=\"{}\">", language.tag())), "{text}");
            assert!(text.contains("한국말") && text.contains("English words"), "{text}");
            assert!(text.contains(&format!("content=\"{}\"", again.unwrap())), "{text}");
            for foreign in ["http://", "https://", "<script", "<img", "url("] {
                assert!(!text.contains(foreign), "{foreign} in {text}");
            }
            // Braces of the style are whole; none of ours is left.
            for left in ["{lang", "{first", "{other", "{code", "{wait", "{refresh", "{title"] {
                assert!(!text.contains(left), "{left} in {text}");
            }
        }
    }

    #[test]
    fn the_language_is_the_one_that_is_named_first() {
        let check = |accept, want| assert_eq!(Language::of(accept), want, "{accept}");
        check("ko-KR,ko;q=0.9,en-US;q=0.8", Language::Korean);
        check("en-US,en;q=0.9,ko;q=0.8", Language::English);
        check("de-DE,en;q=0.7", Language::English);
        check("ja", Language::Korean);
        check("", Language::Korean);
    }
}
