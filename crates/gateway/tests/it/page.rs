//! The waiting page: with no backend at all.

use crate::{
    agent::serving,
    stage::{Stage, nowhere, only},
};

const BROWSER: &str = "Host: a\r\nAccept: text/html,*/*;q=0.8\r\n";

async fn alone() -> Stage {
    Stage::new(serving("nhn", 7), |c| {
        c.limits.accept_ms = 0;
        only(c, &[nowhere()]);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_waits_on_a_page_that_tries_again_by_itself() {
    let stage = alone().await;
    let page = stage.ask(&format!("GET /shows HTTP/1.1\r\n{BROWSER}Accept-Language: ko-KR,ko\r\n\r\n")).await;
    assert_eq!((page.status, page.header("ghostlight-outcome")), (503, "not-sent"));
    let text = page.text();
    assert!(text.contains("<html lang=\"ko\">") && text.contains("잠시만 기다려 주세요"), "{text}");
    assert!(text.contains("One moment, please"), "{text}");
    let again = page.header("retry-after");
    assert!(text.contains(&format!("http-equiv=\"refresh\" content=\"{again}\"")), "{again}: {text}");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!(page.header("cache-control"), "no-store");
    let english = stage.ask(&format!("GET / HTTP/1.1\r\n{BROWSER}Accept-Language: en-GB\r\n\r\n")).await;
    assert!(english.text().contains("<html lang=\"en\">"), "{}", english.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_by_a_form_is_not_sent_again_by_itself() {
    let stage = alone().await;
    let page = stage.ask(&format!("POST /buy HTTP/1.1\r\n{BROWSER}Content-Length: 0\r\n\r\n")).await;
    assert_eq!((page.status, page.header("ghostlight-outcome")), (503, "not-sent"));
    assert!(!page.text().contains("http-equiv=\"refresh\""), "{}", page.text());
    assert!(page.text().contains("아직 처리되지 않았어요"), "{}", page.text());
}
