use std::time::Duration;

use cloud::local::{
    lab_number,
    mariadb::{Accounts, MariadbError, Template, accepts_connections, folder_for_databases},
    scratch::Scratch,
};
use mysql_async::{Conn, Opts, prelude::Queryable};

async fn as_agent(server: &Scratch) -> Conn {
    Conn::new(Opts::from_url(&server.agent_url()).unwrap()).await.unwrap()
}

async fn variable(conn: &mut Conn, name: &str) -> String {
    let value: Option<String> = conn.query_first(format!("SELECT @@global.{name}")).await.unwrap();
    value.unwrap()
}

#[tokio::test]
async fn a_server_is_durable_private_and_its_accounts_are_in_no_stream() {
    let lab = lab_number::claim().unwrap();
    let server = Scratch::start(&lab, 10).await.unwrap();
    let mut conn = as_agent(&server).await;

    for (name, value) in [
        ("sync_binlog", "1"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("binlog_row_metadata", "FULL"),
        ("time_zone", "+00:00"),
        ("character_set_server", "utf8mb4"),
    ] {
        assert_eq!(variable(&mut conn, name).await, value, "{name}");
    }

    let events: Vec<mysql_async::Row> = conn.query("SHOW BINLOG EVENTS").await.unwrap();
    let kinds: Vec<String> = events.iter().map(|row| row.get(2).unwrap()).collect();
    assert_eq!(kinds, ["Format_desc", "Gtid_list", "Binlog_checkpoint"]);

    let locked = Conn::new(
        Opts::from_url(&format!("mysql://ticketing:{}@{}/", Scratch::APPLICATION_PASSWORD, server.address()))
            .unwrap(),
    )
    .await
    .unwrap_err()
    .to_string();
    assert!(locked.contains("locked"), "{locked}");
    let root = Conn::new(Opts::from_url(&format!("mysql://root@{}/", server.address())).unwrap()).await;
    assert!(root.is_err(), "root without a password over TCP");

    conn.query_drop("ALTER USER ticketing@'%' ACCOUNT UNLOCK").await.unwrap();
    conn.query_drop("CREATE DATABASE ticketing").await.unwrap();
    conn.query_drop("CREATE TABLE ticketing.t (id INT PRIMARY KEY)").await.unwrap();
    let mut application = Conn::new(
        Opts::from_url(&format!(
            "mysql://ticketing:{}@{}/ticketing",
            Scratch::APPLICATION_PASSWORD,
            server.address()
        ))
        .unwrap(),
    )
    .await
    .unwrap();
    application.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    assert!(application.query_drop("SELECT * FROM mysql.global_priv").await.is_err());
}

#[tokio::test]
async fn a_killed_server_comes_back_with_what_it_had_committed() {
    let lab = lab_number::claim().unwrap();
    let mut server = Scratch::start(&lab, 10).await.unwrap();
    let mut conn = as_agent(&server).await;
    conn.query_drop("CREATE DATABASE d").await.unwrap();
    conn.query_drop("CREATE TABLE d.t (id INT PRIMARY KEY)").await.unwrap();
    conn.query_drop("INSERT INTO d.t VALUES (42)").await.unwrap();
    let first = server.pid().unwrap();

    server.kill().await.unwrap();
    assert!(!accepts_connections(server.address()).await);
    assert_eq!(server.pid(), None);

    server.start().await.unwrap();
    assert_ne!(server.pid(), Some(first));
    let found: Option<u32> = as_agent(&server).await.query_first("SELECT id FROM d.t").await.unwrap();
    assert_eq!(found, Some(42));
    server.stop(Duration::from_secs(30)).await.unwrap();
    assert!(!accepts_connections(server.address()).await);
}

#[tokio::test]
async fn a_server_whose_address_is_taken_names_the_process() {
    let lab = lab_number::claim().unwrap();
    let address = (std::net::Ipv4Addr::new(127, 10, lab.get(), 3), 13_306);
    let _squatter = tokio::net::TcpListener::bind(address).await.unwrap();
    let e = Scratch::start(&lab, 10).await.unwrap_err();
    assert!(matches!(e, MariadbError::Listen(_)), "{e}");
    assert!(e.to_string().contains(&format!("process {}", std::process::id())), "{e}");
}

#[tokio::test]
async fn a_server_that_cannot_start_quotes_its_log() {
    let lab = lab_number::claim().unwrap();
    let mut server = Scratch::start(&lab, 10).await.unwrap();
    server.kill().await.unwrap();
    std::fs::write(server.datadir().join("ibdata1"), "not a tablespace").unwrap();
    let e = server.start().await.unwrap_err();
    assert!(matches!(e, MariadbError::Died { .. }), "{e}");
    assert!(e.to_string().contains("[ERROR] InnoDB"), "{e}");
}

#[tokio::test]
async fn a_password_that_would_break_out_of_its_literal_is_refused() {
    let folder = folder_for_databases(&std::env::temp_dir().join("ghostlight-refused")).unwrap();
    let accounts = Accounts {
        agent: runtime::secret::Secret::new("x' OR '1"),
        application: runtime::secret::Secret::new("y"),
    };
    let e = Template::prepare(&folder, &accounts).await.unwrap_err();
    assert!(matches!(e, MariadbError::Password("ghostlight")), "{e}");
}

#[tokio::test]
async fn two_servers_of_one_lab_do_not_meet() {
    let lab = lab_number::claim().unwrap();
    let (a, b) = tokio::join!(Scratch::start(&lab, 10), Scratch::start(&lab, 20));
    let (a, b) = (a.unwrap(), b.unwrap());
    let (mut ca, mut cb) = (as_agent(&a).await, as_agent(&b).await);
    assert_ne!(variable(&mut ca, "server_id").await, variable(&mut cb, "server_id").await);
}
