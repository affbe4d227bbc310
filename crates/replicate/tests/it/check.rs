//! What `ghostlight check` finds on real servers.

use model::topology::Policy;
use mysql_async::prelude::Queryable;
use replicate::check::{Finding, Verdict, compare, gather, judge};

use crate::support::{APPLICATION, Bed, aws, nhn};

fn wrong(findings: &[Finding]) -> Vec<(&str, &str)> {
    findings
        .iter()
        .filter_map(|f| match &f.verdict {
            Verdict::Wrong { found, .. } => Some((f.check.as_str(), found.as_str())),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_fresh_server_is_good_and_what_is_wrong_is_named() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, nhn(), 0).await;
    let good = gather(&mut conn, APPLICATION).await.unwrap();
    let findings = judge(&nhn(), &good, APPLICATION, &Policy::default());
    assert_eq!(wrong(&findings), []);
    let fence = findings.iter().find(|f| f.check == "fence_read_only").unwrap();
    assert_eq!(fence.verdict, Verdict::Ok { found: "a standby's server is set read_only, too".into() });

    conn.query_drop("CREATE DATABASE shop").await.unwrap();
    conn.query_drop("CREATE TABLE shop.good (id INT PRIMARY KEY)").await.unwrap();
    conn.query_drop("CREATE TABLE shop.bare (id INT)").await.unwrap();
    conn.query_drop("CREATE TABLE shop.old (id INT PRIMARY KEY) ENGINE=MyISAM").await.unwrap();
    conn.query_drop("CREATE EVENT shop.hook ON SCHEDULE EVERY 1 DAY DO SET @a = 1").await.unwrap();
    conn.query_drop("CREATE TABLE shop.past (id INT PRIMARY KEY) WITH SYSTEM VERSIONING").await.unwrap();
    conn.query_drop("CREATE TABLE shop.small (id INT PRIMARY KEY, t TEXT COMPRESSED)").await.unwrap();
    conn.query_drop("CREATE SEQUENCE shop.seq").await.unwrap();
    conn.query_drop("CREATE USER extra@'%' IDENTIFIED BY 'x'").await.unwrap();
    let bad = gather(&mut conn, APPLICATION).await.unwrap();
    assert_eq!(
        wrong(&judge(&nhn(), &bad, APPLICATION, &Policy::default())),
        [
            ("innodb_only", "shop.old (MyISAM)"),
            ("primary_keys", "shop.bare"),
            (
                "not_replicable",
                "event shop.hook, COMPRESSED column shop.small.t, sequence shop.seq, system-versioned table shop.past"
            )
        ]
    );
    let mut other = good;
    other.variables.insert("server_id".into(), "77".into());
    assert_eq!(
        wrong(&compare((&nhn(), &bad), (&aws(), &other), "ghostlight")),
        [("same_accounts", "extra@% is missing at aws")]
    );
    let absent = gather(&mut conn, "nobody").await.unwrap();
    assert!(!absent.application_account);
}
