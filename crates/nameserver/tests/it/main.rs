//! The name server on real sockets, asked by `dig` (Debian: `bind9-dnsutils`) and steered through its admin API.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests end a test as tests do")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

use model::{Epoch, Site, plan::Steering};
use nameserver::{
    api,
    metrics::Metrics,
    server,
    steering::{Service, Steerer},
};
use runtime::{
    admin::{self, Client, ClientError},
    process::Shutdown,
    secret::Secret,
};

const NAME: &str = "tickets.ghostlight.test";
const TIMEOUT: Duration = Duration::from_secs(10);

/// A running name server of the test's own; `restart` keeps its folder.
struct Running {
    dns: SocketAddr,
    admin: SocketAddr,
    token: Secret,
    folder: PathBuf,
    shutdown: Shutdown,
    executor: Option<tokio::runtime::Runtime>,
}

impl Running {
    fn start(name: &str) -> Running {
        let folder = std::env::temp_dir().join(format!("ghostlight-dns-{name}-{}", std::process::id()));
        Running::start_in(folder)
    }

    fn start_in(folder: PathBuf) -> Running {
        let many = (1..=60).map(|i| format!("127.20.9.{i}").parse().unwrap()).collect();
        let service = Service {
            name: NAME.into(),
            ttl_s: 5,
            preferred: Site::new("nhn"),
            server_address: "127.30.0.53".parse().unwrap(),
            sites: [
                (Site::new("nhn"), vec!["127.10.0.1".parse().unwrap()]),
                (Site::new("aws"), vec!["127.20.0.1".parse().unwrap(), "fd00::20".parse().unwrap()]),
                (Site::new("crowded"), many),
            ]
            .into(),
        };
        let executor = tokio::runtime::Runtime::new().unwrap();
        let (shutdown, token) = (Shutdown::new(), Secret::random());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (udp, tcp) = executor.block_on(server::listen("test", any)).unwrap();
        let admin = executor.block_on(runtime::listen::tcp("test", any)).unwrap();
        let (dns_address, admin_address) = (udp.local_addr().unwrap(), admin.local_addr().unwrap());
        let steerer = Arc::new(Steerer::open(service, &folder.join("steering.json")).unwrap());
        let (metrics, exposed) = (Metrics::default(), runtime::metrics::Metrics::default());
        exposed.register(|registry| metrics.register(registry));
        let routes = api::routes(steerer.clone(), metrics.clone());
        executor.spawn(server::serve(udp, tcp, steerer, metrics, shutdown.clone()));
        executor.spawn(admin::serve(admin, token.clone(), exposed, routes, shutdown.clone()));
        Running { dns: dns_address, admin: admin_address, token, folder, shutdown, executor: Some(executor) }
    }

    fn restart(mut self) -> Running {
        let folder = std::mem::take(&mut self.folder);
        drop(self);
        Running::start_in(folder)
    }

    fn steer(&self, site: &str, epoch: u64) -> Result<Steering, ClientError> {
        let client = Client::new(self.admin, self.token.clone());
        let steering = Steering { site: Site::new(site), epoch: Epoch(epoch) };
        let asked = client.post("/v1/steer", &steering, TIMEOUT);
        self.executor.as_ref().unwrap().block_on(asked)
    }

    /// `dig` with these arguments, its whole output.
    fn dig(&self, arguments: &[&str]) -> String {
        let output = Command::new("dig")
            .args([&format!("@{}", self.dns.ip()), "-p", &self.dns.port().to_string(), "+tries=1", "+time=5"])
            .args(arguments)
            .output()
            .expect("these tests ask the server by `dig`: apt-get install bind9-dnsutils");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "dig {arguments:?}: {text}");
        assert!(!text.contains("malformed") && !text.contains("WARNING: Message"), "{text}");
        text
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], expected: &[&str]) {
        let text = self.dig(arguments).split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        for part in expected {
            assert!(text.contains(part), "dig {arguments:?}: no `{part}` in {text}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(executor) = self.executor.take() {
            executor.shutdown_timeout(TIMEOUT);
        }
        if !self.folder.as_os_str().is_empty() {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

#[test]
fn dig_understands_every_kind_of_reply() {
    let server = Running::start("kinds");
    let answer = format!("{NAME}. 5 IN A 127.10.0.1");
    server.check(
        &[NAME, "A"],
        &["status: NOERROR", "flags: qr aa rd;", &answer, "EDNS: version: 0", "udp: 1232"],
    );
    server.check(&[NAME, "A", "+tcp"], &["status: NOERROR", &answer, "(TCP)"]);
    server.check(&[NAME, "A", "+noedns"], &["status: NOERROR", &answer]);
    server.check(&[NAME, "AAAA"], &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1", "IN SOA ns.tickets"]);
    server.check(&[NAME, "NS"], &["IN NS ns.tickets", "ns.tickets.ghostlight.test. 5 IN A 127.30.0.53"]);
    server.check(
        &[NAME, "SOA"],
        &["5 IN SOA ns.tickets.ghostlight.test. hostmaster.tickets.ghostlight.test. 0 "],
    );
    server.check(&[&format!("www.{NAME}")], &["status: NXDOMAIN", "5 IN SOA"]);
    server.check(&["example.com"], &["status: REFUSED", "flags: qr rd;"]);
    server.check(&[NAME, "A", "+edns=1", "+noednsnegotiation"], &["status: BADVERS"]);
    server.check(&[NAME, "CH", "TXT"], &["status: REFUSED"]);
    server.check(&[NAME, "+opcode=UPDATE"], &["status: NOTIMP"]);
    server.check(&[NAME, "+header-only"], &["status: FORMERR"]);
}

#[test]
fn steering_moves_the_name_and_an_older_epoch_is_told_what_is_newer() {
    let server = Running::start("steer");
    assert_eq!(server.steer("aws", 2).unwrap(), Steering { site: Site::new("aws"), epoch: Epoch(2) });
    server.check(&[NAME, "A"], &["IN A 127.20.0.1"]);
    server.check(&[NAME, "AAAA"], &["IN AAAA fd00::20"]);
    server.check(&[NAME, "SOA"], &["hostmaster.tickets.ghostlight.test. 2 "]);
    server.steer("aws", 2).expect("the same again changes nothing");
    for (site, epoch) in [("nhn", 1), ("nhn", 2), ("aws", 1)] {
        let refused = server.steer(site, epoch).unwrap_err().to_string();
        assert!(refused.contains("409") && refused.contains("epoch 2 of site `aws`"), "{refused}");
    }
    let refused = server.steer("gcp", 3).unwrap_err().to_string();
    assert!(refused.contains("422") && refused.contains("no site `gcp`"), "{refused}");
    let server = server.restart();
    server.check(&[NAME, "A"], &["IN A 127.20.0.1"]);
    server.steer("nhn", 1).unwrap_err();
    server.steer("nhn", 3).unwrap();
    server.check(&[NAME, "A"], &["IN A 127.10.0.1"]);
}

#[test]
fn a_409_carries_the_present_steering_and_no_token_steers_nothing() {
    let server = Running::start("conflict");
    server.steer("aws", 2).unwrap();
    let post = |token: &str| {
        let body = r#"{"site":"nhn","epoch":1}"#;
        let mut connection = TcpStream::connect(server.admin).unwrap();
        write!(
            connection,
            "POST /v1/steer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    };
    let conflict = post(server.token.expose());
    let body = conflict.split_once("\r\n\r\n").unwrap().1;
    assert!(conflict.starts_with("HTTP/1.1 409"), "{conflict}");
    let present: Steering = serde_json::from_str(body).unwrap();
    assert_eq!(present, Steering { site: Site::new("aws"), epoch: Epoch(2) });
    assert!(post("wrong").starts_with("HTTP/1.1 401"));
}

#[test]
fn a_reply_that_is_cut_off_is_fetched_by_tcp() {
    let server = Running::start("truncation");
    server.steer("crowded", 2).unwrap();
    server.check(&[NAME, "A", "+noedns", "+ignore"], &["flags: qr aa tc rd;", "ANSWER: 0"]);
    server.check(&[NAME, "A", "+noedns"], &["Truncated, retrying in TCP mode", "ANSWER: 60", "(TCP)"]);
    server.check(&[NAME, "A"], &["ANSWER: 60", "(UDP)"]);
}

#[test]
fn noise_and_answers_leave_it_answering() {
    let server = Running::start("noise");
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    // An answer gets none: the first reply that arrives is the one to the query after it.
    let answer = [0x12, 0x34, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let query = [0x56, 0x78, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    noise.set_read_timeout(Some(TIMEOUT)).unwrap();
    for datagram in [&b""[..], b"x", &[0xff; 1400], &answer, &query] {
        noise.send_to(datagram, server.dns).unwrap();
    }
    let mut reply = [0; 512];
    let (length, _) = noise.recv_from(&mut reply).unwrap();
    assert_eq!((length, &reply[..2]), (12, &query[..2]));

    let mut broken = TcpStream::connect(server.dns).unwrap();
    broken.write_all(&[0, 40, 1, 2, 3]).unwrap();
    drop(broken);
    let mut lost = TcpStream::connect(server.dns).unwrap();
    lost.write_all(&[0, 12]).unwrap();
    lost.write_all(&answer).unwrap();
    assert_eq!(lost.read(&mut reply).unwrap(), 0, "an answer by TCP ends the connection");
    server.check(&[NAME, "A"], &["IN A 127.10.0.1"]);
}

#[test]
fn several_queries_on_one_connection_are_answered_in_order() {
    let server = Running::start("pipeline");
    server.check(
        &["+tcp", "+keepopen", NAME, "A", NAME, "NS", &format!("x.{NAME}"), "A"],
        &["IN A 127.10.0.1", "IN NS ns.tickets", "status: NXDOMAIN"],
    );
    let metrics = {
        let mut connection = TcpStream::connect(server.admin).unwrap();
        connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        text
    };
    for line in [
        r#"ghostlight_dns_replies_total{transport="tcp",rcode="noerror"} 2"#,
        r#"ghostlight_dns_replies_total{transport="tcp",rcode="nxdomain"} 1"#,
        "ghostlight_dns_steered_epoch 0",
    ] {
        assert!(metrics.contains(line), "no `{line}` in {metrics}");
    }
}
