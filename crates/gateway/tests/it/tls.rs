//! Listeners with TLS, HTTP/2 and the PROXY protocol.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use gateway::{
    Config, Listener,
    tls::{CertificateFiles, Certificates},
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{agent::serving, stage::Stage};

const PATIENCE: Duration = Duration::from_secs(20);

/// Certificates of its own, in a folder that goes with it.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(name: &str) -> Files {
        let folder = std::env::temp_dir().join(format!("ghostlight-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Files(folder)
    }

    /// Writes a new certificate for `name`; the certificate itself is what a visitor would have to trust.
    pub(crate) fn make(&self, name: &str) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(self.of(name).key, made.signing_key.serialize_pem()).unwrap();
        std::fs::write(self.of(name).chain, made.cert.pem()).unwrap();
        made.cert.der().clone()
    }

    /// The certificate of `name` that was made last.
    pub(crate) fn shown(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.of(name).chain).unwrap()
    }

    fn of(&self, name: &str) -> CertificateFiles {
        CertificateFiles {
            chain: self.0.join(format!("{name}.pem")),
            key: self.0.join(format!("{name}.key")),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A stage with a listener that shows the certificates of these names.
pub(crate) async fn stage(files: &Files, names: &[&str], adjust: impl FnOnce(&mut Config)) -> Stage {
    let certificates = Certificates::read(names.iter().map(|n| files.of(n)).collect()).unwrap();
    Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        c.listeners = vec![Listener {
            listen: ([127, 0, 0, 1], 0).into(),
            certificates: Some(certificates),
            proxy_protocol: false,
        }];
        adjust(c);
    })
    .await
}

pub(crate) async fn connect(
    address: SocketAddr,
    name: &'static str,
    trusted: &CertificateDer<'static>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
}

/// Asks over a connection that is used once more afterwards.
async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /p HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("body 0\n") {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "hung up after {}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_speaks_tls_with_the_certificate_of_the_name_that_he_asks_for() {
    let files = Files::new("names");
    let (a, b) = (files.make("a.test"), files.make("b.test"));
    let stage = stage(&files, &["a.test", "b.test"], |_| {}).await;
    let at = stage.addresses[1];
    for (name, certificate) in [("a.test", &a), ("b.test", &b)] {
        let mut stream = connect(at, name, certificate, &[]).await.unwrap();
        let answer = ask(&mut stream).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("x-forwarded-proto: https"),
            "{answer}"
        );
    }
    // Of a name that nobody has the first is shown, and the visitor refuses it.
    assert!(connect(at, "c.test", &a, &[]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_chosen_where_the_visitor_offers_it() {
    let files = Files::new("h2");
    let a = files.make("a.test");
    let stage = stage(&files, &["a.test"], |_| {}).await;
    let stream = connect(stage.addresses[1], "a.test", &a, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for n in 0..3 {
        let request = Request::post(format!("https://a.test/p?n={n}"))
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Full::new(Bytes::from_static(b"abc")))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body);
        assert!(text.starts_with(&format!("POST /p?n={n}\n")) && text.ends_with("body 3\n"), "{text}");
        for line in ["host: a.test\n", "cookie: a=1; b=2\n", "x-forwarded-proto: https\n"] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
    let two_hosts = Request::get("https://a.test/").header("host", "b.test").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(two_hosts).await.unwrap().status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_and_open_connections_go_on() {
    let files = Files::new("reload");
    let old = files.make("a.test");
    let stage = stage(&files, &["a.test"], |_| {}).await;
    let at = stage.addresses[1];
    let mut open = connect(at, "a.test", &old, &[]).await.unwrap();
    ask(&mut open).await;
    // Half written: what was shown is shown on.
    std::fs::write(files.of("a.test").chain, "-----BEGIN CERTIFICATE-----\nhalf").unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await; // longer than between two looks at the files
    connect(at, "a.test", &old, &[]).await.expect("half a certificate replaced a whole one");
    let new = files.make("a.test");
    let shown = async {
        while connect(at, "a.test", &new, &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await; // the files are looked at now and then
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.expect("the new certificate is never shown");
    assert!(ask(&mut open).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shown_is_named_before_anything_is_served() {
    let files = Files::new("bad");
    files.make("a.test");
    files.make("b.test");
    let mixed = CertificateFiles { chain: files.of("a.test").chain, key: files.of("b.test").key };
    let told = Certificates::read(vec![mixed]).unwrap_err().to_string();
    assert!(told.contains("a.test.pem") && told.contains("b.test.key"), "{told}");
    let told = Certificates::read(vec![files.of("none")]).unwrap_err().to_string();
    assert!(told.contains("none.pem"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_without_tls_are_sent_to_it() {
    let stage = Stage::new(serving("nhn", 7), |c| (c.gate, c.redirect_to_https) = (false, Some(8_443))).await;
    let away = stage.ask("GET /p?x=1 HTTP/1.1\r\nHost: a.test:8080\r\n\r\n").await;
    assert_eq!((away.status, away.header("location")), (301, "https://a.test:8443/p?x=1"));
    let post = stage.ask("POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(post.status, 308);
    assert_eq!(stage.app.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_before_us_says_who_the_visitor_is_and_nobody_else_may() {
    let stage = Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        let listen = ([127, 0, 0, 1], 0).into();
        c.listeners = vec![Listener { listen, certificates: None, proxy_protocol: true }];
    })
    .await;
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let told = async |head: &str, at: SocketAddr| {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        // Hung up without a word, or with a reset: both say that it was not served.
        stream.read_to_string(&mut answer).await.ok();
        answer
    };
    let head = "PROXY TCP4 203.0.113.7 192.0.2.1 51000 80\r\n";
    let proxied = told(head, stage.addresses[1]).await;
    assert!(proxied.contains("x-forwarded-for: 203.0.113.7\n"), "{proxied}");
    assert_eq!(told("", stage.addresses[1]).await, "");
    let plain = told(head, stage.addresses[0]).await;
    assert!(plain.starts_with("HTTP/1.1 400"), "{plain}");
    assert_eq!(stage.app.asked(), 1);
}
