//! What judging costs: printed, and held to a limit that only a lost prefilter would break.

use std::time::Instant;

use crate::harness::{Request, example};

/// Microseconds for one request, the best of several rounds.
fn cost_us(request: &Request) -> f64 {
    let engine = example();
    let mut best = f64::MAX;
    for _ in 0..30 {
        let begun = Instant::now();
        for _ in 0..100 {
            request.judge(engine);
        }
        best = best.min(begun.elapsed().as_secs_f64() * 1e6 / 100.0);
    }
    best
}

fn benign_get() -> Request {
    Request::new("GET", "/performances/1024?zone=R&row=12&sort=price&page=2")
        .header("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36")
        .header("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8")
        .header("Accept-Language", "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7")
        .header("Accept-Encoding", "gzip, deflate, br")
        .header("Referer", "https://shop.example.kr/performances")
        .header("Cookie", "session=Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg; lang=ko-KR")
}

/// A visitor's reviews: Korean and English, quotes and smileys, no two fields alike.
fn form_of_8_kb() -> Request {
    const WORDS: &[&str] = &[
        "좌석이",
        "정말",
        "좋았어요!",
        "다음에도",
        "또",
        "예매할게요",
        ":)",
        "It's",
        "the",
        "best",
        "show,",
        "I've",
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
        "and",
        "for",
        "(2층)",
        "3열",
        "R석",
        "추천해요~",
        "don't",
        "miss",
        "it!",
        "무대",
        "연출도",
        "최고였어요",
    ];
    let mut body = String::from("title=hello&stars=5&performance=1024");
    for n in 0.. {
        let words: Vec<&str> = (0..18).map(|w| WORDS[(n * 7 + w * (n % 5 + 3)) % WORDS.len()]).collect();
        let text = format!("{} {n}", words.join(" "));
        let encoded = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
        let field = format!("&field{n}={encoded}");
        if body.len() + field.len() > 8_192 {
            break;
        }
        body.push_str(&field);
    }
    Request::new("POST", "/reviews").body("application/x-www-form-urlencoded", body)
}

/// What does not depend on the machine. The limits are near what was counted: whoever breaks one has lost a filter.
#[test]
fn an_honest_form_is_few_buffers_and_each_is_scanned_once() {
    let engine = example();
    let form = form_of_8_kb();
    assert_eq!(form.judge(engine).outcome, waf::Outcome::Allow);
    let effort = form.effort(engine);
    println!("a form of 8 KB: {effort:?}");
    assert!(effort.transformed <= 5 * effort.values, "a buffer for each chain: {effort:?}");
    // Names are looked for as they came, too.
    assert!(
        effort.passes <= effort.transformed + effort.values * 3 / 2,
        "a buffer is scanned twice: {effort:?}"
    );
    assert!(effort.bytes <= 3 * form.body.len() / 2, "{effort:?}");
    assert!(effort.patterns <= 3 * effort.values, "patterns are run without need: {effort:?}");
    assert!(effort.injections <= effort.values / 5, "an apostrophe is no evidence of SQL: {effort:?}");
    let get = benign_get();
    let effort = get.effort(engine);
    println!("a benign GET: {effort:?}");
    // What came as it came may be looked for in both lanes.
    assert!(effort.passes <= 2 * effort.values + effort.transformed && effort.injections <= 2, "{effort:?}");
}

#[test]
fn judging_is_cheap() {
    let get = cost_us(&benign_get());
    let form = cost_us(&form_of_8_kb());
    println!("a benign GET: {get:.1} us; a form of 8 KB: {form:.1} us");
    // A machine under load is several times slower; a prefilter that is lost makes it a hundred times.
    assert!(get < 1_000.0 && form < 5_000.0);
}
