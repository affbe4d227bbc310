//! What differs between a standby and its primary is found and named, and repaired if asked; what does not is not.

use std::time::Duration;

use model::agent::{VerifyRequest, VerifyRun, Wrong};
use replicate::copy::verify::Verifier;
use runtime::process::Shutdown;

use crate::{
    copying::{TABLES, write},
    pair::{Follower, Pair, Shipping, eventually, follow},
};

/// A follower with a verifier in reach.
fn follow_with(pair: &Pair, shipping: &Shipping, verifier: &Verifier) -> Follower {
    let mut config = pair.config(&pair.b, shipping, &pair.a.site, 1);
    config.verifier = verifier.clone();
    follow(config)
}

async fn seeded(tables: &[&str]) -> (Pair, Shipping) {
    let pair = Pair::start().await;
    pair.a.run(tables).await;
    let shipping = pair.ship(&pair.a, 1).await;
    pair.seed(&shipping).await.unwrap();
    (pair, shipping)
}

async fn run(verifier: &Verifier, table: Option<&str>, repair: bool) -> VerifyRun {
    verifier.ask(VerifyRequest { table: table.map(str::to_owned), repair, rows_per_s: None });
    eventually("the comparison ends", async || verifier.run().is_some_and(|r| r.done || r.failed.is_some()))
        .await;
    verifier.run().unwrap()
}

/// Table, way and key of each difference, sorted.
fn named(run: &VerifyRun) -> Vec<String> {
    let of = |d: &model::agent::Differing| format!("{} {:?} {}", d.table, d.wrong, d.key);
    let mut all: Vec<String> = run.list.iter().filter(|d| d.wrong != Wrong::Counter).map(of).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_databases_are_found_equal_under_writes_of_every_kind() {
    let (pair, shipping) = seeded(TABLES).await;
    let verifier = Verifier::default();
    let follower = follow_with(&pair, &shipping, &verifier);
    let stop = Shutdown::new();
    let writer = write(&pair.a, &stop);
    for _ in 0..2 {
        let run = run(&verifier, None, false).await;
        assert_eq!((run.differences, named(&run)), (0, vec![]), "{run:?}");
        assert_eq!((run.tables, run.tables_done), (12, 12));
        assert!(run.rows > 30_000, "{run:?}");
    }
    stop.cancel();
    writer.await.unwrap();
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_differences_are_each_found_and_then_repaired() {
    let (pair, shipping) = seeded(TABLES).await;
    let before = pair.b.content().await;
    pair.b
        .run(&[
            "USE shop",
            "SET foreign_key_checks=0",
            // In the first, a middle and the last range, and beside their borders.
            "DELETE FROM parent WHERE id IN (1, 1000, 1001, 2500, 6000)",
            "INSERT INTO parent VALUES (-5, NULL, 'before the first'), (6001, NULL, 'behind the last')",
            "UPDATE parent SET text = CONCAT(text, ' ') WHERE id = 2000",
            "UPDATE parent SET text = NULL WHERE id = 2001",
            "UPDATE parent SET code = NULL WHERE id IN (3000, 3001)",
            "UPDATE parent SET code = IF(id = 3000, 30010, 30000) WHERE id IN (3000, 3001)",
            "UPDATE ci SET k = LOWER(k) WHERE v = 3",
            "UPDATE nopad SET k = CONCAT(k, '      ') WHERE v = 7",
            "UPDATE bin SET v = -0.0 WHERE a = 3",
            "INSERT INTO bin VALUES (4, 0x06000000, 0)",
            "UPDATE dec_time SET v = v + 0.0000000001 WHERE d BETWEEN 1 AND 1.01",
            "DELETE FROM others WHERE y = 2001 AND b = 3 AND f < 20",
            "UPDATE large SET b = CONCAT(b, 0x00) WHERE id = 4",
            "INSERT INTO empty VALUES (7)",
            "ALTER TABLE strict_child COMMENT 'changed'",
        ])
        .await;
    let verifier = Verifier::default();
    let follower = follow_with(&pair, &shipping, &verifier);
    let found = run(&verifier, None, false).await;
    let names = named(&found);
    for part in [
        "shop.parent MissingHere id=1",
        "shop.parent MissingHere id=1000",
        "shop.parent MissingHere id=1001",
        "shop.parent MissingHere id=2500",
        "shop.parent MissingHere id=6000",
        "shop.parent ExtraHere id=-5",
        "shop.parent ExtraHere id=6001",
        "shop.parent Different id=2000",
        "shop.parent Different id=2001",
        "shop.parent Different id=3000",
        "shop.parent Different id=3001",
        "shop.ci MissingHere k='Ä3'",
        "shop.ci ExtraHere k='ä3'",
        "shop.empty ExtraHere id=7",
        "shop.large Different id=4",
    ] {
        assert!(names.iter().any(|n| n == part), "{part} is not among {names:#?}");
    }
    let count = |table: &str, way: &str| {
        names.iter().filter(|n| n.starts_with(&format!("shop.{table} {way} "))).count()
    };
    assert_eq!((count("nopad", "MissingHere"), count("nopad", "ExtraHere")), (1, 1), "{names:#?}");
    assert_eq!((count("bin", "Different"), count("bin", "ExtraHere")), (1, 1), "{names:#?}");
    assert_eq!(count("dec_time", "Different"), 1, "{names:#?}");
    assert!(count("others", "MissingHere") > 0, "{names:#?}");
    assert_eq!(count("strict_child", "Definition"), 1, "{names:#?}");

    // Of one table alone.
    let one = run(&verifier, Some("shop.empty"), false).await;
    assert_eq!((one.tables, one.differences), (1, 1));
    let none = run(&verifier, Some("shop.nowhere"), false).await;
    assert!(none.failed.is_some_and(|why| why.contains("shop.nowhere")));

    pair.b.run(&["ALTER TABLE shop.strict_child COMMENT ''"]).await;
    let repaired = run(&verifier, None, true).await;
    assert!(repaired.repaired > 0 && repaired.repaired == repaired.differences, "{repaired:?}");
    let clean = run(&verifier, None, false).await;
    assert_eq!(named(&clean), Vec::<String>::new());
    assert_eq!(pair.b.content().await, before);
    pair.check_equal().await;
    // And the stream goes on, strictly.
    pair.a.run(&["UPDATE shop.parent SET text = 'on' WHERE id IN (1, 2000, 6000)"]).await;
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_background_walks_in_rounds_tells_its_coverage_and_repairs_nothing() {
    let (pair, shipping) = seeded(&TABLES[..9]).await;
    let verifier = Verifier::new(1_000_000);
    let follower = follow_with(&pair, &shipping, &verifier);
    let complete = async || verifier.coverage().is_some_and(|c| c.last_round_age_s.is_some());
    eventually("a round is complete", complete).await;
    assert_eq!(verifier.coverage().unwrap().differences, 0);
    pair.b.run(&["UPDATE shop.a_child SET p = 9 WHERE id = 77"]).await;
    eventually("it is found", async || verifier.coverage().unwrap().differences > 0).await;
    let told = verifier.coverage().unwrap().first_difference.unwrap();
    assert!(told.contains("shop.a_child") && told.contains("id=77"), "{told}");
    // Through a cut link, too.
    shipping.authority.send_modify(|a| a.as_mut().unwrap().primary = false);
    tokio::time::sleep(Duration::from_millis(300)).await; // the link is cut for a while
    shipping.authority.send_modify(|a| a.as_mut().unwrap().primary = true);
    let run = run(&verifier, Some("shop.a_child"), true).await;
    assert_eq!((run.differences, run.repaired), (1, 1), "{run:?}");
    assert_eq!(verifier.coverage().unwrap().differences, 0);
    pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_goes_on_where_it_was_when_the_agent_begins_again() {
    let (pair, shipping) = seeded(&TABLES[..9]).await;
    let file = std::env::temp_dir().join(format!("ghostlight-verify-{}.json", pair.b.database.address));
    drop(std::fs::remove_file(&file)); // of a run that was killed
    let verifier = Verifier::kept_in(file.clone(), 0);
    let follower = follow_with(&pair, &shipping, &verifier);
    let whole = run(&verifier, None, false).await;
    pair.b.run(&["UPDATE shop.a_child SET p = 9 WHERE id = 77"]).await;
    verifier.ask(VerifyRequest { rows_per_s: Some(4_000), ..VerifyRequest::default() });
    let kept = || Verifier::kept_in(file.clone(), 0).run().unwrap_or_default();
    eventually("a part of it is kept", async || kept().differences == 1 && !kept().done).await;
    follower.stop().await;

    let again = Verifier::kept_in(file.clone(), 0);
    let before = again.run().unwrap();
    assert!((1..whole.rows).contains(&before.rows), "{before:?}");
    let follower = follow_with(&pair, &shipping, &again);
    eventually("it comes to its end", async || again.run().unwrap().done).await;
    let after = again.run().unwrap();
    assert_eq!((after.number, after.rows, after.differences), (2, whole.rows, 1), "{after:?}");
    follower.stop().await;
    std::fs::remove_file(&file).unwrap();
}
