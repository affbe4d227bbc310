//! The two languages that visitors read. Korean first.

/// Which language a page speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lang {
    /// Korean.
    #[default]
    Ko,
    /// English.
    En,
}

impl Lang {
    /// The one of two that this language reads.
    pub fn pick<T>(self, ko: T, en: T) -> T {
        match self {
            Lang::Ko => ko,
            Lang::En => en,
        }
    }

    /// Its BCP 47 code.
    pub fn code(self) -> &'static str {
        self.pick("ko", "en")
    }

    /// The language with this code.
    pub fn from_code(code: &str) -> Option<Lang> {
        match code {
            "ko" => Some(Lang::Ko),
            "en" => Some(Lang::En),
            _ => None,
        }
    }
}

/// `55,000원`, or `₩55,000`.
pub fn won(lang: Lang, amount: u64) -> String {
    let n = thousands(amount);
    match lang {
        Lang::Ko => format!("{n}원"),
        Lang::En => format!("₩{n}"),
    }
}

/// `15,000`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn won_is_written_as_people_write_it() {
        assert_eq!(won(Lang::Ko, 55_000), "55,000원");
        assert_eq!(won(Lang::En, 1_255_000), "₩1,255,000");
        assert_eq!(won(Lang::Ko, 0), "0원");
    }
}
