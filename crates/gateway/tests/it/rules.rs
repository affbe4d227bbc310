//! What rules do with requests, over real sockets.

use std::collections::BTreeMap;

use model::topology::edge::{FixedResponse, Forward, Redirect, Rule, TargetGroup};

use crate::{
    agent::serving,
    stage::{App, Stage},
};

fn rule(priority: u32, path: &str) -> Rule {
    Rule {
        priority,
        host: vec![],
        path: vec![path.into()],
        method: vec![],
        header: BTreeMap::new(),
        query: vec![],
        source_ip: vec![],
        forward: None,
        redirect: None,
        fixed_response: None,
    }
}

/// The reference setup: `/DVWA*` to the security-test server, all else to the web servers; and two rules more.
async fn stage(dvwa: &App) -> Stage {
    let address = dvwa.address;
    Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        let mut group = TargetGroup::named("security-test");
        group.add(&c.site, &[address]);
        c.routing.groups.push(group);
        let to = Some(vec![Forward { target_group: "security-test".into(), weight: 1 }]);
        let away = Redirect { protocol: "https".into(), status: 301, ..Redirect::default() };
        let closed = FixedResponse {
            status: 410,
            content_type: "text/plain; charset=utf-8".into(),
            body: "끝".into(),
        };
        c.routing.rules = vec![
            Rule { forward: to, ..rule(10, "/DVWA*") },
            Rule { redirect: Some(away), ..rule(20, "/secure/*") },
            Rule { fixed_response: Some(closed), ..rule(30, "/closed") },
        ];
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_leads_to_its_group_and_all_else_to_the_default() {
    let dvwa = App::start().await;
    let stage = stage(&dvwa).await;
    assert_eq!(stage.ask("GET /DVWA/login.php HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    assert_eq!((dvwa.asked(), stage.app.asked()), (1, 0));
    assert_eq!(stage.ask("GET /dvwa HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    assert_eq!((dvwa.asked(), stage.app.asked()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_and_a_fixed_answer_need_no_application() {
    let dvwa = App::start().await;
    let stage = stage(&dvwa).await;
    let away = stage.ask("GET /secure/pay?x=1 HTTP/1.1\r\nHost: tickets.kr\r\n\r\n").await;
    assert_eq!((away.status, away.header("location")), (301, "https://tickets.kr/secure/pay?x=1"));
    let closed = stage.ask("GET /closed HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((closed.status, closed.text().as_str()), (410, "끝"));
    assert_eq!(closed.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!((dvwa.asked(), stage.app.asked()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_reads_is_not_taken_for_the_next_request() {
    let dvwa = App::start().await;
    let stage = stage(&dvwa).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let text = format!("POST /closed HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{smuggled}");
    let mut visitor = stage.send(&text).await;
    let answer = visitor.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (410, "close"));
    assert!(visitor.is_hung_up().await);
    assert_eq!(stage.app.asked(), 0);
    // A body that was read to its end costs nothing.
    let mut again = stage.send("GET /closed HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(again.answer().await.header("connection"), "");
    again.write("GET /closed HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(again.answer().await.status, 410);
}
