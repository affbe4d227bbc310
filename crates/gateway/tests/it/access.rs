//! The access log, as it comes out of a running gateway.

use std::{path::PathBuf, time::Duration};

use gateway::access::{Format, Settings};

use crate::{agent::serving, stage::Stage};

const PATIENCE: Duration = Duration::from_secs(10);

/// A stage that logs into a file of its own.
async fn stage(name: &str, format: Format) -> (Stage, PathBuf) {
    let file = std::env::temp_dir().join(format!("ghostlight-access-{}-{name}.log", std::process::id()));
    let settings = Settings { file: file.clone(), format };
    let stage = Stage::new(serving("nhn", 7), |c| (c.gate, c.access) = (false, Some(settings))).await;
    (stage, file)
}

/// The log, once it has a line with these words.
async fn lines(file: &PathBuf, words: &str) -> Vec<String> {
    let written = async {
        loop {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            if lines.iter().any(|l| l.contains(words)) {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // a file tells nobody that it has grown
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("the line is never written")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_json_tells_who_asked_what_and_who_answered() {
    let (stage, file) = stage("json", Format::Json).await;
    let id = "X-Request-Id: line-1\r\n";
    let text = format!(
        "POST /buy?seat=%22A1%22&x=\\ HTTP/1.1\r\nHost: tickets.kr\r\n{id}User-Agent: a \"b\" \\ \t c\r\n\
         Content-Length: 3\r\n\r\nabc"
    );
    let answer = stage.ask(&text).await;
    assert_eq!(answer.status, 200);
    let lines = lines(&file, "line-1").await;
    let line = lines.iter().find(|l| l.contains("line-1")).unwrap();
    let told: serde_json::Value = serde_json::from_str(line).expect(line);
    for (key, want) in [
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("host", "tickets.kr"),
        ("path", "/buy"),
        ("query", "seat=%22A1%22&x=\\"),
        ("protocol", "HTTP/1.1"),
        ("request_id", "line-1"),
        ("user_agent", "a \"b\" \\ \t c"),
        ("rule", "default"),
        ("group", "default"),
    ] {
        assert_eq!(told[key], want, "{key} of {line}");
    }
    assert_eq!(told["target"], stage.app.address.to_string());
    assert_eq!(
        (told["status"].as_u64(), told["bytes"].as_u64()),
        (Some(200), Some(answer.body.len() as u64))
    );
    assert!(told["duration_ms"].as_f64().is_some_and(|ms| (0.0..10_000.0).contains(&ms)), "{line}");
    assert!(told["time"].as_str().is_some_and(|t| t.ends_with('Z') && t.len() == 24), "{line}");
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_combined_format_is_the_one_that_everybody_reads_and_a_moved_file_is_begun_anew() {
    let (stage, file) = stage("combined", Format::Combined).await;
    stage.ask("GET /one HTTP/1.1\r\nHost: a\r\nReferer: http://b/\"\r\n\r\n").await;
    let first = lines(&file, "/one").await;
    let line = first.iter().find(|l| l.contains("/one")).unwrap();
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.contains(" +0000] \"GET /one HTTP/1.1\" 200 "), "{line}");
    assert!(line.ends_with(" \"http://b/\\x22\" \"-\""), "{line}");
    let moved = file.with_extension("1");
    std::fs::rename(&file, &moved).unwrap();
    stage.ask("GET /two HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let second = lines(&file, "/two").await;
    assert!(!second.iter().any(|l| l.contains("/one")), "{second:?}");
    std::fs::remove_file(file).unwrap();
    std::fs::remove_file(moved).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_answers_itself_is_logged_too_and_nothing_is_lost_at_the_end() {
    let (mut stage, file) = stage("own", Format::Json).await;
    assert_eq!(
        stage.ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-Request-Id: own-1\r\n\r\n").await.status,
        400
    );
    stage.shutdown.cancel();
    tokio::time::timeout(PATIENCE, &mut stage.running).await.unwrap().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("own-1") && text.contains("\"status\":400"), "{text}");
    std::fs::remove_file(file).unwrap();
}
