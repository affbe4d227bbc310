//! When the database refuses, and when it takes us back.

use std::time::Duration;

use futures_util::future::join_all;
use runtime::clock::Boot;

use crate::site::{ARENA, Site, Visitor, until};

/// Knocking takes 60 ms, connecting a few more; the rest is a busy machine's.
const BACK_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_while_its_account_is_locked_and_serves_soon_after() {
    let site = Site::locked().await;
    let at = site.instance().await;
    let visitor = Visitor::new(at);
    assert_eq!(visitor.get("/healthz").await.status, 200);
    assert_eq!(visitor.get("/readyz").await.status, 503);
    let page = visitor.get("/").await;
    assert_eq!((page.status, page.header("retry-after")), (503, "1"));
    assert!(page.text.contains("http-equiv=\"refresh\"") && page.text.contains("예매하신 내역은 안전해요"));
    assert_eq!(visitor.get("/api/performances").await.json()["error"], "not_now");

    site.lock(false).await;
    let unlocked = Boot::now();
    until("it serves", || async { visitor.get("/").await.status == 200 }).await;
    assert!(unlocked.elapsed() < BACK_WITHIN, "{:?}", unlocked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_survives_being_locked_out_and_keeps_logins_and_holds() {
    let site = Site::open().await;
    let at = site.ready_instance().await;
    let visitor = Visitor::signed_up(at).await;
    let hold = visitor.hold(ARENA, "", &["F6-1-1"]).await.json();

    site.lock(true).await;
    let refused = visitor.pay(&hold, "k").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{refused:?}");
    assert_eq!(visitor.get("/healthz").await.status, 200);
    assert_eq!(visitor.get("/my").await.status, 503);

    site.lock(false).await;
    let unlocked = Boot::now();
    until("it serves", || async { visitor.get("/readyz").await.status == 200 }).await;
    assert!(unlocked.elapsed() < BACK_WITHIN, "{:?}", unlocked.elapsed());
    assert_eq!(visitor.pay(&hold, "k").await.status, 201);
    assert_eq!(visitor.get("/my").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_at_once_migrate_once() {
    let site = Site::locked().await;
    let instances = join_all((0..3).map(|_| site.instance())).await;
    site.lock(false).await;
    for at in instances {
        let visitor = Visitor::new(at);
        until("it is ready", || async { visitor.get("/readyz").await.status == 200 }).await;
    }
    // Every step once, none left out.
    let steps = u64::try_from(ticketing::store::migrations()).unwrap();
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.schema_migrations").await, steps);
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.shows").await, 14);
    let without_key = "SELECT COUNT(*) FROM information_schema.tables t WHERE t.table_schema = 'ticketing' AND (t.engine <> 'InnoDB' OR \
         NOT EXISTS (SELECT 1 FROM information_schema.table_constraints c WHERE c.table_schema = t.table_schema \
         AND c.table_name = t.table_name AND c.constraint_type = 'PRIMARY KEY'))";
    assert_eq!(site.number(without_key).await, 0);
}
