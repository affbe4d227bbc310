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

fn form_of_8_kb() -> Request {
    let sentence =
        "좌석이 정말 좋았어요! 다음에도 또 예매할게요 :) It's the best show I've ever seen, would go again. ";
    let encoded =
        percent_encoding::utf8_percent_encode(sentence, percent_encoding::NON_ALPHANUMERIC).to_string();
    let mut body = String::from("title=hello&stars=5&performance=1024");
    while body.len() + encoded.len() < 8_100 {
        let n = body.len();
        body.push_str(&format!("&field{n}={encoded}"));
    }
    Request::new("POST", "/reviews").body("application/x-www-form-urlencoded", body)
}

#[test]
fn judging_is_cheap() {
    let get = cost_us(&benign_get());
    let form = cost_us(&form_of_8_kb());
    println!("a benign GET: {get:.1} us; a form of 8 KB: {form:.1} us");
    // A machine under load is several times slower; a prefilter that is lost makes it a hundred times.
    assert!(get < 1_000.0 && form < 5_000.0);
}
