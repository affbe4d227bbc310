//! The two honest requests of `bench waf`, as scripts in wrk's Lua.

use std::fmt::Write;

use super::Workload;

/// A form's bytes, within a few.
const FORM_BYTES: usize = 8_000;
/// What visitors write: Korean and English, no two fields alike.
const WORDS: &[&str] = &[
    "좌석이",
    "정말",
    "좋았어요",
    "다음에도",
    "또",
    "예매할게요",
    "the",
    "best",
    "show,",
    "ever",
    "seen",
    "would",
    "go",
    "again.",
    "음향은",
    "조금",
    "아쉬웠지만",
    "배우들이",
    "훌륭했습니다.",
    "2층",
    "3열",
    "R석",
    "추천해요",
    "무대",
    "연출도",
    "최고였어요",
];

/// The path and query of the request.
pub(super) fn path(workload: Workload) -> &'static str {
    match workload {
        Workload::Get => "/small?zone=R&row=12&sort=price&page=2&q=%EB%AE%A4%EC%A7%80%EC%BB%AC",
        Workload::Form => "/small",
    }
}

/// What wrk is told beside the path.
pub(super) fn script(workload: Workload) -> String {
    let mut lua = HEADERS.to_owned();
    if workload == Workload::Form {
        lua.push_str(
            "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/x-www-form-urlencoded\"\n",
        );
        lua.push_str(&format!("wrk.body = \"{}\"\n", form()));
    }
    lua
}

/// A browser's headers.
const HEADERS: &str = r#"wrk.headers["Host"] = "shop.example.kr"
wrk.headers["User-Agent"] = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
wrk.headers["Accept-Language"] = "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7"
wrk.headers["Accept-Encoding"] = "gzip, deflate, br"
wrk.headers["Referer"] = "https://shop.example.kr/performances"
wrk.headers["Cookie"] = "session=Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg; lang=ko-KR"
"#;

/// An urlencoded form, as a browser encodes it: it holds no quote and no backslash.
fn form() -> String {
    let mut form = String::from("title=hello&stars=5&performance=1024");
    for n in 0.. {
        let mut field = format!("&field{n}=");
        for at in 0..18 {
            let word = WORDS[(n * 7 + at * (n % 5 + 3)) % WORDS.len()];
            for b in word.bytes() {
                match b {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' => field.push(char::from(b)),
                    // Writing to a String cannot fail.
                    _ => write!(field, "%{b:02X}").unwrap_or_default(),
                }
            }
            field.push('+');
        }
        if form.len() + field.len() > FORM_BYTES {
            break;
        }
        form.push_str(&field);
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_nearly_8_kb_and_ends_no_string_of_lua() {
        let form = form();
        assert!((7_000..=FORM_BYTES).contains(&form.len()), "{}", form.len());
        assert!(form.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\'));
        assert!(script(Workload::Form).contains("POST") && !script(Workload::Get).contains("POST"));
    }
}
