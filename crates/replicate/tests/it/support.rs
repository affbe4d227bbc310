//! Real servers, a register in memory, and waiting with a deadline.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cloud::local::{
    lab_number::{self, LabNumber},
    mariadb::DRILL_USER,
    scratch::Scratch,
};
use model::{
    Epoch, Incarnation, Position, Register, Site, StreamId,
    agent::Slot,
    register::{CasReply, CasRequest},
};
use mysql_async::{Conn, OptsBuilder, prelude::Queryable};
use replicate::{
    database::DatabaseConfig,
    register::{RegisterHandle, RegisterRequest, Silent},
    row,
    schema::{self, Birth},
};
use runtime::{clock::Boot, secret::Secret};
use tokio::sync::mpsc;

pub(crate) const APPLICATION: &str = "ticketing";

pub(crate) fn nhn() -> Site {
    Site::new("nhn")
}

pub(crate) fn aws() -> Site {
    Site::new("aws")
}

/// One fresh server with our accounts.
pub(crate) struct Bed {
    pub(crate) server: Scratch,
    _number: LabNumber,
}

impl Bed {
    pub(crate) async fn new() -> Bed {
        let number = lab_number::claim().unwrap();
        let server = Scratch::start(&number, 10).await.unwrap();
        Bed { server, _number: number }
    }

    pub(crate) fn database(&self) -> DatabaseConfig {
        database(&self.server)
    }

    /// A session of the agent's account.
    pub(crate) async fn agent(&self) -> Conn {
        self.database().open().await.unwrap()
    }

    /// A session of an administrator's account.
    pub(crate) async fn operator(&self) -> Conn {
        operator(&self.server).await
    }

    /// As if a managed database's own failover had put another server in this one's place, with the same data.
    pub(crate) async fn becomes_another_server(&self) {
        becomes_another_server(&self.server).await;
    }

    pub(crate) async fn application(&self) -> Result<Conn, mysql_async::Error> {
        application(&self.server).await
    }

    /// Makes this server's database the one of `nhn`, born so.
    pub(crate) async fn born(&self, epoch: u64, primary: Site, incarnation: u64) -> Conn {
        let mut conn = self.agent().await;
        let birth =
            Birth { epoch: Epoch(epoch), primary, incarnation: Incarnation(incarnation), seeding: false };
        schema::create(&mut conn, &birth).await.unwrap();
        conn
    }
}

pub(crate) fn database(server: &Scratch) -> DatabaseConfig {
    DatabaseConfig {
        address: server.address(),
        user: "ghostlight".into(),
        password: Secret::new(Scratch::AGENT_PASSWORD),
    }
}

pub(crate) async fn becomes_another_server(server: &Scratch) {
    operator(server).await.query_drop("SET GLOBAL server_id = @@global.server_id + 1000").await.unwrap();
}

async fn operator(server: &Scratch) -> Conn {
    DatabaseConfig { user: DRILL_USER.into(), ..database(server) }.open().await.unwrap()
}

/// A session of the application's account.
pub(crate) async fn application(server: &Scratch) -> Result<Conn, mysql_async::Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname(server.address().ip().to_string())
        .tcp_port(server.address().port())
        .user(Some(APPLICATION))
        .pass(Some(Scratch::APPLICATION_PASSWORD))
        .prefer_socket(false);
    Conn::new(options).await
}

/// Attaches the slot of `aws`'s stream.
pub(crate) async fn attach(conn: &mut Conn, epoch: u64, pending: Option<&str>) -> Slot {
    let position = Position { stream: StreamId("theirs".into()), file: 3, offset: 777 };
    conn.exec_drop(
        "REPLACE INTO ghostlight.applied (stream, file, `offset`, origin, epoch, pending) VALUES (?, ?, ?, 'aws', ?, ?)",
        (position.stream.0.as_str(), position.file, position.offset, epoch, pending),
    )
    .await
    .unwrap();
    Slot { position, epoch: Epoch(epoch), origin: aws() }
}

pub(crate) async fn epoch_and_primary(conn: &mut Conn) -> (u64, String) {
    let row = row::snapshot(conn).await.unwrap().row;
    (row.epoch.0, row.primary.to_string())
}

pub(crate) fn register(version: u64, epoch: u64, primary: Site, incarnation: u64) -> Register {
    Register {
        version,
        epoch: Epoch(epoch),
        standby_incarnation: Incarnation(incarnation),
        ..Register::first(primary, 0)
    }
}

/// A register in memory, that can be read and changed by the test and made silent.
#[derive(Clone)]
pub(crate) struct MemoryRegister(Arc<Mutex<(Register, bool)>>);

impl MemoryRegister {
    pub(crate) fn new(record: Register) -> MemoryRegister {
        MemoryRegister(Arc::new(Mutex::new((record, true))))
    }

    pub(crate) fn now(&self) -> Register {
        self.0.lock().unwrap().0.clone()
    }

    pub(crate) fn answers(&self, answers: bool) {
        self.0.lock().unwrap().1 = answers;
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Register)) {
        let mut held = self.0.lock().unwrap();
        change(&mut held.0);
        held.0.version += 1;
    }

    fn cas(&self, request: CasRequest) -> CasReply {
        let mut held = self.0.lock().unwrap();
        if held.0.version == request.expected_version {
            held.0 = request.record;
            CasReply::Swapped(held.0.clone())
        } else {
            CasReply::Stale(held.0.clone())
        }
    }

    /// The end that agents are given.
    pub(crate) fn questions(&self) -> mpsc::Sender<RegisterRequest> {
        let (questions, mut asked) = mpsc::channel(16);
        let register = self.clone();
        tokio::spawn(async move {
            while let Some(request) = asked.recv().await {
                let answers = register.0.lock().unwrap().1;
                let silent = || Silent("the test says so".into());
                match request {
                    RegisterRequest::Read { reply } => {
                        drop(reply.send(if answers { Ok(register.now()) } else { Err(silent()) }));
                    }
                    RegisterRequest::Cas { request, reply } => {
                        drop(reply.send(if answers { Ok(register.cas(request)) } else { Err(silent()) }));
                    }
                }
            }
        });
        questions
    }

    pub(crate) fn handle(&self) -> RegisterHandle {
        RegisterHandle::new(self.questions())
    }
}

/// Asks until `answer` is some, or fails with `what` after a generous while.
pub(crate) async fn until<T>(what: &str, mut answer: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Boot::now();
    loop {
        if let Some(answer) = answer().await {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
