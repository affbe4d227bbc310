//! A database server of its own, box offices over it, and visitors with a cookie jar.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use cloud::local::{
    lab_number::{LabNumber, claim},
    scratch::Scratch,
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mysql_async::{Conn, Opts, prelude::Queryable};
use runtime::{clock::Boot, process::Shutdown, secret::Secret};
use serde_json::{Value, json};
use ticketing::{
    clock::Clock,
    desk::{Desk, Post},
    mail::Mailer,
    payment::Till,
    store::Store,
};
use tokio::net::TcpListener;

/// A performance in the 15,000-seat hall that is on sale, with a limit of 4.
pub(crate) const ARENA: u32 = 502;
/// A musical, with a limit of 2.
pub(crate) const MUSICAL: u32 = 402;

pub(crate) struct Site {
    pub(crate) database: Scratch,
    pub(crate) clock: Clock,
    pub(crate) letters: PathBuf,
    shutdown: Shutdown,
    _lab: LabNumber,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.cancel();
        // Most sites send no letter, and then there is no folder.
        std::fs::remove_dir_all(&self.letters).ok();
    }
}

impl Site {
    /// A server whose application account is still locked, as it leaves the template.
    pub(crate) async fn locked() -> Site {
        let lab = claim().unwrap();
        let database = Scratch::start(&lab, 10).await.unwrap();
        let letters =
            std::env::temp_dir().join(format!("ghostlight-letters-{}-{}", std::process::id(), lab.get()));
        Site { database, clock: Clock::default(), letters, shutdown: Shutdown::new(), _lab: lab }
    }

    pub(crate) async fn open() -> Site {
        let site = Site::locked().await;
        site.lock(false).await;
        site
    }

    pub(crate) async fn admin(&self) -> Conn {
        Conn::new(Opts::from_url(&self.database.agent_url()).unwrap()).await.unwrap()
    }

    /// Locks the application out, sessions and all, or lets it in.
    pub(crate) async fn lock(&self, locked: bool) {
        let mut admin = self.admin().await;
        let word = if locked { "LOCK" } else { "UNLOCK" };
        admin.query_drop(format!("ALTER USER ticketing@'%' ACCOUNT {word}")).await.unwrap();
        if locked {
            let ids: Vec<u64> = admin
                .query("SELECT id FROM information_schema.processlist WHERE user = 'ticketing'")
                .await
                .unwrap();
            for id in ids {
                // One that ended by itself meanwhile is as good as killed.
                admin.query_drop(format!("KILL {id}")).await.ok();
            }
        }
    }

    /// One number from the database.
    pub(crate) async fn number(&self, sql: &str) -> u64 {
        self.admin().await.query_first::<u64, _>(sql).await.unwrap().unwrap()
    }

    /// Another box office over the same database.
    pub(crate) async fn instance(&self) -> SocketAddr {
        self.start(false, None).await
    }

    /// One that takes real money, once it is ready.
    pub(crate) async fn with_till(&self, till: Till) -> SocketAddr {
        self.ready(self.start(false, Some(till)).await).await
    }

    /// One that sends letters, into [`Site::letters`]; once it is ready.
    pub(crate) async fn postman(&self) -> SocketAddr {
        self.ready(self.start(true, None).await).await
    }

    async fn start(&self, letters: bool, till: Option<Till>) -> SocketAddr {
        let mut desk = self.desk();
        if let Some(till) = till {
            desk = desk.with_till(till);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        if letters {
            desk.send_letters(self.post(), self.shutdown.clone());
        }
        tokio::spawn(ticketing::serve(listener, desk, self.shutdown.clone()));
        address
    }

    /// One that is changed before it opens, once it is ready.
    pub(crate) async fn with(&self, change: impl FnOnce(Desk, &Shutdown) -> Desk) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk = change(self.desk(), &self.shutdown);
        tokio::spawn(ticketing::serve(listener, desk, self.shutdown.clone()));
        self.ready(address).await
    }

    fn desk(&self) -> Desk {
        let url = format!("mysql://ticketing@{}/ticketing", self.database.address());
        let password = Secret::new(Scratch::APPLICATION_PASSWORD);
        let store = Store::open(&url, Some(&password), self.clock.clone(), self.shutdown.clone()).unwrap();
        Desk::new(store, Secret::new("a key that all instances share"), self.clock.clone())
            .unwrap()
            .with_organisers(["organiser@example.com".to_owned()])
            .with_bank(Some("국민 123-45-678901 등대".to_owned()))
    }

    /// Sends letters into [`Site::letters`].
    pub(crate) fn post(&self) -> Post {
        Post {
            mailer: Mailer::Folder(self.letters.clone()),
            from: "tickets@example.com".into(),
            site: "http://tickets.test".into(),
        }
    }

    /// Another box office, once it is ready.
    pub(crate) async fn ready_instance(&self) -> SocketAddr {
        self.ready(self.instance().await).await
    }

    async fn ready(&self, at: SocketAddr) -> SocketAddr {
        let visitor = Visitor::new(at);
        until("the box office is ready", || async { visitor.get("/readyz").await.status == 200 }).await;
        at
    }

    /// The text of a letter of this kind to this address, once it was sent. The newest, if there are several.
    pub(crate) async fn letter(&self, kind: &str, to: &str) -> String {
        let find = || {
            let files = std::fs::read_dir(&self.letters).ok()?;
            let mut texts: Vec<(String, String)> = files
                .map(|file| file.unwrap())
                .filter(|file| file.file_name().to_string_lossy().starts_with(kind))
                .map(|file| {
                    (
                        file.file_name().to_string_lossy().into_owned(),
                        std::fs::read_to_string(file.path()).unwrap(),
                    )
                })
                .filter(|(_, text)| text.contains(&format!("To: <{to}>")))
                .collect();
            texts.sort();
            texts.pop()
        };
        until(&format!("a letter: {kind} to {to}"), || async { find().is_some() }).await;
        let body = find().unwrap().1.split_once("\r\n\r\n").unwrap().1.replace("\r\n", "");
        String::from_utf8(STANDARD.decode(body).unwrap()).unwrap()
    }
}

/// A form's value as a browser sends it.
fn encoded(value: &str) -> String {
    let one = |b: u8| {
        if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }
    };
    value.bytes().map(one).collect()
}

/// Asks again until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    let began = Boot::now();
    while !ask().await {
        assert!(began.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        // The next question; the deadline above is what ends a hopeless wait.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) at: SocketAddr,
    pub(crate) cookies: Vec<String>,
    pub(crate) client: Client<HttpConnector, Full<Bytes>>,
}

impl Visitor {
    pub(crate) fn new(at: SocketAddr) -> Visitor {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Visitor { at, cookies: Vec::new(), client }
    }

    /// Somebody new, signed up.
    pub(crate) async fn signed_up(at: SocketAddr) -> Visitor {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let email = format!("visitor{}@example.com", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut visitor = Visitor::new(at);
        let body = json!({ "email": email, "name": "해준", "password": "correct horse", "terms": true });
        let answer = visitor.post("/api/signup", "", &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        visitor.keep(&answer);
        visitor
    }

    pub(crate) fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            let name = pair.split('=').next().unwrap().to_owned() + "=";
            self.cookies.retain(|c| !c.starts_with(&name));
            self.cookies.push(pair);
        }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.at))
            .header("cookie", self.cookies.join("; "));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.client.request(request.body(Full::from(body)).unwrap()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, text: String::from_utf8_lossy(&text).into_owned() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], String::new()).await
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        let json = ("content-type", "application/json");
        let headers = if key.is_empty() { vec![json] } else { vec![json, ("idempotency-key", key)] };
        self.send("POST", path, &headers, body.to_string()).await
    }

    /// Sends the form of a page as a browser would, with the token that stands in it.
    pub(crate) async fn form(&self, page: &Answer, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token =
            page.text.split("name=\"token\" value=\"").nth(1).unwrap_or("").split('"').next().unwrap();
        let mut body = format!("token={token}");
        for (name, value) in fields {
            body.push_str(&format!("&{name}={}", encoded(value)));
        }
        self.send("POST", path, &[("content-type", "application/x-www-form-urlencoded")], body).await
    }

    pub(crate) async fn hold<S: serde::Serialize>(&self, performance: u32, key: &str, seats: &[S]) -> Answer {
        self.post(&format!("/api/performances/{performance}/holds"), key, &json!({ "seats": seats })).await
    }

    pub(crate) async fn pay(&self, hold: &Value, key: &str) -> Answer {
        let id = hold["hold_id"].as_str().unwrap();
        self.post(&format!("/api/holds/{id}/pay"), key, &json!({ "method": "test" })).await
    }
}
