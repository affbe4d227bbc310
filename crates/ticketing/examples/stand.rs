//! A box office on its own, over a database server of its own: for looking at pages, and for the browser test.
//!
//! `cargo run -p ticketing --example stand` prints `{"site": "http://127.0.0.1:…", "letters": "/tmp/…"}`: where it is, and the folder
//! into which it puts letters to visitors. A line `advance 60000` on stdin
//! moves its clock forward by that many milliseconds and is answered with `{"now_ms": …}`; the end of stdin ends it.

use std::{error::Error, io::stdin, thread};

use cloud::local::{lab_number::claim, scratch::Scratch};
use mysql_async::{Conn, Opts, prelude::Queryable};
use runtime::{log, process::Shutdown, secret::Secret};
use serde_json::json;
use ticketing::{
    clock::Clock,
    desk::{Desk, Post},
    mail::Mailer,
    serve,
    store::Store,
};
use tokio::{net::TcpListener, sync::mpsc};

/// Whoever signs up with this address and confirms it is the organiser.
const ORGANISER: &str = "organiser@example.com";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    log::start("stand");
    let lab = claim()?;
    let database = Scratch::start(&lab, 10).await?;
    let mut admin = Conn::new(Opts::from_url(&database.agent_url())?).await?;
    admin.query_drop("ALTER USER ticketing@'%' ACCOUNT UNLOCK").await?;
    let (clock, shutdown) = (Clock::default(), Shutdown::new());
    let url = format!("mysql://ticketing@{}/ticketing", database.address());
    let password = Secret::new(Scratch::APPLICATION_PASSWORD);
    let store = Store::open(&url, Some(&password), clock.clone(), shutdown.clone())?;
    let desk = Desk::new(store, Secret::new("a key for looking at pages"), clock.clone())?
        .with_organisers([ORGANISER.to_owned()])
        .with_bank(Some("국민 123-45-678901 고스트라이트".to_owned()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let site = format!("http://{}", listener.local_addr()?);
    let letters = std::env::temp_dir().join(format!("ghostlight-stand-{}", std::process::id()));
    let from = "tickets@example.com".to_owned();
    desk.send_letters(
        Post { mailer: Mailer::Folder(letters.clone()), from, site: site.clone() },
        shutdown.clone(),
    );
    println!("{}", json!({ "site": site, "letters": letters }));
    let serving = tokio::spawn(serve(listener, desk, shutdown.clone()));
    let (say, mut orders) = mpsc::unbounded_channel();
    // Reading stdin blocks; the thread ends with it.
    thread::spawn(move || stdin().lines().map_while(Result::ok).try_for_each(|order| say.send(order)));
    while let Some(order) = orders.recv().await {
        let ms = order.strip_prefix("advance ").and_then(|ms| ms.trim().parse().ok());
        match ms {
            Some(ms) => clock.advance(ms),
            None => eprintln!("stand: `{order}` is not an order; write `advance 60000`"),
        }
        println!("{}", json!({ "now_ms": clock.now_ms() }));
    }
    shutdown.cancel();
    serving.await??;
    if letters.exists() {
        std::fs::remove_dir_all(&letters)?;
    }
    Ok(())
}
