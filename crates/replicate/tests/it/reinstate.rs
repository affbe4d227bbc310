//! An old primary is taken back: its tail goes into quarantine, is undone, and both databases are equal.

use std::{
    fs,
    future::{Future, poll_fn},
    path::{Path, PathBuf},
    pin::pin,
    task::Poll,
};

use cloud::local::mariadb::DRILL_USER;
use model::{Epoch, Incarnation, Mode, Position, Register, Site, agent::PromoteReply};
use mysql_async::prelude::Queryable;
use replicate::{
    apply::{FollowProgress, StandbyConfig, StandbyError},
    database::DatabaseConfig,
    promote::{Promotion, promote},
    quarantine::{self, Acknowledged, Done, Manifest, Op, Quarantine, RowLine},
    reinstate::{self, ReinstateConfig},
};
use runtime::process::Shutdown;
use tokio::sync::watch;

use crate::pair::{Follower, Half, Pair, Shipping, follow};

/// A pair whose standby was promoted while the old primary went on for a moment.
struct Split {
    pair: Pair,
    /// The new primary's side of the link.
    shipping: Shipping,
    data: PathBuf,
    /// What both held when the link was cut.
    common: Vec<String>,
    epoch: u64,
}

impl Drop for Split {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.data));
    }
}

const TABLES: &[&str] = &[
    "CREATE DATABASE shop CHARACTER SET utf8mb4",
    "USE shop",
    "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT, b VARCHAR(200), u INT UNIQUE)",
    "INSERT INTO shop.t SELECT seq, seq, CONCAT('row ', seq), seq FROM seq_1_to_100",
    "CREATE TABLE shop.types (id BINARY(4) PRIMARY KEY, f FLOAT, d DOUBLE, n DECIMAL(20,5), t TIMESTAMP(3) NULL, \
     k VARCHAR(20) CHARACTER SET euckr, x BLOB, e ENUM('one','둘'), j JSON, twice DOUBLE AS (d * 2) VIRTUAL)",
    "INSERT INTO shop.types (id, f, d, n, t, k, x, e, j) VALUES (0x01, 0.1, 0.1, -0.5, '2026-11-22 01:02:03.004', \
     '한국', 0x00ff27, '둘', '{\"a\": 1}')",
];

impl Split {
    /// Both sites hold [`TABLES`] and `before`; then `tail` is written at `a` alone, and `b` is promoted.
    async fn new(name: &str, before: &[&str], tail: &[&str]) -> Split {
        let mut pair = Pair::start().await;
        pair.a.run(TABLES).await;
        pair.a.run(before).await;
        let (shipping, follower) = pair.attached().await;
        pair.a.run(&["UPDATE ghostlight.site SET mode='sync', token=token+1"]).await;
        pair.caught_up(&shipping).await;
        follower.stop().await;
        drop(shipping);
        let common = pair.a.content().await;
        pair.a.run(tail).await;
        promoted(&mut pair.b, 2, 1).await;
        fenced(&pair.a, 2, &pair.b.site, 2).await;
        let shipping = pair.ship(&pair.b, 2).await;
        let data = std::env::temp_dir().join(format!("ghostlight-reinstate-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&data));
        fs::create_dir_all(&data).unwrap();
        Split { pair, shipping, data, common, epoch: 2 }
    }

    fn standby(&self) -> StandbyConfig {
        let config = self.pair.config(&self.pair.a, &self.shipping, &self.pair.b.site, self.epoch);
        StandbyConfig { incarnation: Incarnation(self.epoch), ..config }
    }

    fn config(&self) -> ReinstateConfig {
        ReinstateConfig { standby: self.standby(), data: self.data.clone(), register: None }
    }

    async fn reinstate(&self) -> Result<(), StandbyError> {
        let (progress, _) = watch::channel(FollowProgress::default());
        reinstate::run(self.config(), progress, Shutdown::new())
            .await
            .map(|done| done.expect("nobody stopped it"))
    }

    fn quarantine(&self) -> Quarantine {
        quarantine::find(&self.data, &self.epoch.to_string()).unwrap().expect("there is a quarantine")
    }

    /// `a` follows `b` and has caught up.
    async fn follows(&self) -> Follower {
        let follower = follow(self.standby());
        let goal = self.pair.b.end_of_log().await;
        crate::pair::reached(&mut self.shipping.watermarks.clone(), &goal).await;
        follower
    }

    async fn check_undone(&self) {
        let now = self.pair.a.content().await;
        for (now, then) in now.iter().zip(&self.common) {
            assert_eq!(now, then, "left: after the undo, right: when the link was cut");
        }
        assert_eq!(now.len(), self.common.len());
    }
}

/// Promotes `half`, a standby in life `incarnation`, to `epoch`.
async fn promoted(half: &mut Half, epoch: u64, incarnation: u64) {
    let register = Register {
        epoch: Epoch(epoch),
        standby_incarnation: Incarnation(incarnation),
        ..Register::first(half.site.clone(), 0)
    };
    let wanted = Promotion {
        epoch: Epoch(epoch),
        site: &half.site,
        register: &register,
        agent_user: "nobody",
        application_user: "ticketing",
    };
    let reply = promote(&mut half.conn().await, &wanted).await.unwrap();
    assert!(matches!(reply, PromoteReply::Promoted { .. }), "{reply:?}");
}

/// What the agent does before a reinstatement: the row at the new epoch and life.
async fn fenced(half: &Half, epoch: u64, primary: &Site, incarnation: u64) {
    half.run(&[&format!(
        "UPDATE ghostlight.site SET epoch={epoch}, `primary`='{primary}', mode='solo', incarnation={incarnation}"
    )])
    .await;
}

fn lines(quarantine: &Quarantine) -> Vec<RowLine> {
    let page = quarantine.page(None, 100_000, usize::MAX).unwrap();
    assert_eq!(page.next, None);
    page.rows
}

/// Inserts, updates, deletes, changed keys, several rows a statement, one row again and again, unique keys that swap.
const TAIL: &[&str] = &[
    "INSERT INTO shop.t VALUES (1001, 1, 'new', 1001), (1002, 2, 'new', 1002)",
    "UPDATE shop.t SET a = a + 1, b = CONCAT(b, '!') WHERE id <= 10",
    "DELETE FROM shop.t WHERE id BETWEEN 20 AND 30",
    "UPDATE shop.t SET id = id + 5000 WHERE id IN (40, 41)",
    "BEGIN",
    "UPDATE shop.t SET u = NULL WHERE id = 50",
    "UPDATE shop.t SET u = 50 WHERE id = 51",
    "UPDATE shop.t SET u = 51 WHERE id = 50",
    "DELETE FROM shop.t WHERE id = 1001",
    "INSERT INTO shop.t VALUES (20, 0, 'again', 20)",
    "SAVEPOINT x",
    "UPDATE shop.t SET a = 7 WHERE id = 20",
    "COMMIT",
    "UPDATE shop.t SET a = NULL, b = NULL WHERE id = 5040",
    "UPDATE shop.types SET f = f / 3, d = d / 3, n = 1.25, t = '2026-11-22 11:12:13.014', k = '가', x = REPEAT(0xab, 60000), e = 'one', j = '[]'",
    "INSERT INTO shop.types (id, d) VALUES (0x00000000, -0.0), (0x02, 1e300)",
    "DELETE FROM shop.types WHERE id = 0x01000000",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_of_every_kind_goes_into_quarantine_and_is_undone_and_the_sites_are_equal() {
    let split = Split::new("every", &[], TAIL).await;
    split.pair.b.run(&["INSERT INTO shop.t VALUES (1001, 9, 'of epoch 2', 9000)"]).await;
    split.reinstate().await.unwrap();
    split.check_undone().await;

    let quarantine = split.quarantine();
    let Manifest { counts, proof, complete, cannot_be_undone, .. } = quarantine.manifest();
    assert!(*complete);
    assert_eq!(cannot_be_undone, &Vec::<String>::new());
    assert_eq!((counts.transactions, counts.lines), (9, 2 + 10 + 11 + 2 + 6 + 1 + 1 + 2 + 1));
    assert_eq!((counts.inserts, counts.updates, counts.deletes), (5, 18, 13));
    assert_eq!(proof.acknowledged, Acknowledged::None, "{}", proof.because);
    assert_eq!(proof.row_history.first().map(|s| s.mode), Some(Mode::Sync));
    let all = lines(&quarantine);
    assert_eq!(all[0].after.as_ref().unwrap()["b"], "new");
    assert_eq!((all[2].op, all[2].before.as_ref().unwrap()["a"].as_u64()), (Op::Update, Some(1)));
    assert!(all[0].gtid.as_ref().is_some_and(|g| g.starts_with("0-")), "{:?}", all[0]);
    assert!(all[0].committed_at_s > 1_700_000_000);
    let outcome = quarantine.outcome().unwrap().unwrap();
    assert_eq!(outcome.done, Done::Undone);
    assert!(outcome.rows_verified > 25, "{outcome:?}");

    let follower = split.follows().await;
    split.pair.check_equal().await;
    follower.stop().await;
    // Asked once more, it finds that it is done.
    split.reinstate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_tail_is_an_empty_quarantine() {
    let split = Split::new("empty", &[], &["UPDATE ghostlight.heartbeat SET n = n + 1"]).await;
    split.reinstate().await.unwrap();
    split.check_undone().await;
    let quarantine = split.quarantine();
    assert_eq!((quarantine.manifest().counts.lines, quarantine.manifest().files.len()), (0, 0));
    assert_eq!(quarantine.manifest().proof.acknowledged, Acknowledged::None);
    let follower = split.follows().await;
    split.pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_larger_than_a_batch_is_undone_in_pieces() {
    let tail = [
        "USE shop",
        "INSERT INTO shop.t (id, a, b) SELECT 10000 + seq, seq, REPEAT('x', 190) FROM seq_1_to_20000",
        "UPDATE shop.t SET b = REVERSE(CONCAT(id, b)) WHERE id > 10000",
        "DELETE FROM shop.t WHERE id % 3 = 0",
    ];
    let split = Split::new("large", &[], &tail).await;
    split.reinstate().await.unwrap();
    split.check_undone().await;
    assert!(split.quarantine().manifest().counts.lines > 46_000);
    let follower = split.follows().await;
    split.pair.check_equal().await;
    follower.stop().await;
}

/// Polls `future` at most `times` times, then drops it: what a SIGKILL does, at a place that only `times` decides.
async fn polled<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_it_goes_on_where_it_was() {
    let split = Split::new("killed", &[], TAIL).await;
    // A longer tail than one batch, so that the undo has several commits.
    split.pair.a.run(&["UPDATE ghostlight.site SET epoch=1, `primary`='nhn', mode='sync'"]).await;
    split
        .pair
        .a
        .run(&["USE shop", "INSERT INTO shop.t (id, a) SELECT 20000 + seq, seq FROM seq_1_to_3500"])
        .await;
    fenced(&split.pair.a, 2, &split.pair.b.site, 2).await;
    let (mut kills, mut marks) = (0, std::collections::BTreeSet::new());
    let mut times = 1;
    loop {
        match polled(times, split.reinstate()).await {
            Some(done) => {
                done.unwrap();
                break;
            }
            None => kills += 1,
        }
        let pending: Vec<Option<String>> = split
            .pair
            .a
            .conn()
            .await
            .query("SELECT pending FROM ghostlight.applied WHERE epoch = 2")
            .await
            .unwrap();
        marks.extend(pending);
        times += 1 + times / 16;
        assert!(times < 5_000, "it never comes to its end");
    }
    assert!(kills > 20, "{kills}");
    assert!(marks.len() > 2, "killed within the undo: {marks:?}");
    split.check_undone().await;
    assert!(!quarantine::folder(&split.data).join("2.part").exists());
    let follower = split.follows().await;
    split.pair.check_equal().await;
    follower.stop().await;
}

/// Waits until so many transactions wait for a lock.
async fn until_waiting(half: &Half, transactions: u64) {
    let mut conn = half.conn().await;
    loop {
        let query = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'";
        let waiting: Option<u64> = conn.query_first(query).await.unwrap();
        if waiting == Some(transactions) {
            return;
        }
        // The server looks afresh only when nobody has asked for a tenth of a second.
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    }
}

/// Found by the simulation (seed 318): two agents of a site have counted the old slots and stand before the undo's first
/// transaction. The second one of them must not mark the slot again, or what the first one undoes is undone twice.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_agents_that_begin_the_undo_at_once_the_second_one_marks_nothing() {
    // The slot that both of them have counted, and the first one takes away.
    let old = "INSERT INTO ghostlight.applied VALUES ('a log of before', 1, 4, 'aws', 0, NULL)";
    let split = Split::new("two", &[old], TAIL).await;
    let half = &split.pair.a;
    let mut lock = half.conn().await;
    lock.query_drop("START TRANSACTION").await.unwrap();
    lock.query_drop("SELECT epoch FROM ghostlight.site WHERE id = 1 FOR UPDATE").await.unwrap();
    let second = async {
        until_waiting(half, 1).await;
        split.reinstate().await
    };
    let unlock = async {
        until_waiting(half, 2).await;
        lock.query_drop("COMMIT").await.unwrap();
    };
    let (first, second, ()) = tokio::join!(split.reinstate(), second, unlock);
    first.unwrap();
    assert!(matches!(second, Err(StandbyError::EpochMoved(_))), "{second:?}");
    split.check_undone().await;
    // The agent's loop begins again, and finds it done.
    split.reinstate().await.unwrap();
    let follower = split.follows().await;
    split.pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_database_that_somebody_wrote_to_stops_the_undo_by_name() {
    let split = Split::new("wrote", &[], TAIL).await;
    // Known only to the undo: written under the mark of a peer, so that no reader of the log takes it for local.
    split
        .pair
        .a
        .run(&[
            "BEGIN",
            "INSERT INTO ghostlight.applied VALUES ('somebody', 1, 4, 'somebody', 1, NULL)",
            "UPDATE shop.t SET b = 'not what the tail left' WHERE id = 1002",
            "COMMIT",
        ])
        .await;
    let e = split.reinstate().await.unwrap_err();
    let StandbyError::Conflict(why) = &e else { panic!("{e}") };
    for word in ["shop.t", "1002", "not what the tail left", "quarantine 2"] {
        assert!(why.contains(word), "{why}");
    }
    let rows: u64 = split.pair.a.scalar("SELECT COUNT(*) FROM shop.t WHERE id = 1002").await;
    assert_eq!(rows, 1, "nothing was overwritten");
}

/// A mistake made on purpose: the last line of the tail is taken for undone, and was not.
#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_was_skipped_is_noticed() {
    let tail = ["INSERT INTO shop.t (id) VALUES (2000)", "UPDATE shop.t SET a = -1 WHERE id = 7"];
    let split = Split::new("skipped", &[], &tail).await;
    let there = quarantine::folder(&split.data).join("2");
    let (progress, _) = watch::channel(FollowProgress::default());
    let mut run = Box::pin(reinstate::run(split.config(), progress, Shutdown::new()));
    poll_fn(|cx| match (run.as_mut().poll(cx), there.exists()) {
        (_, true) => Poll::Ready(()),
        (Poll::Ready(done), false) => panic!("{done:?} without a quarantine"),
        (Poll::Pending, false) => Poll::Pending,
    })
    .await;
    drop(run);
    let new = &split.pair.b.stream;
    split
        .pair
        .a
        .run(&[
            "DELETE FROM ghostlight.applied",
            &format!("INSERT INTO ghostlight.applied VALUES ('{new}', 1, 4, 'aws', 2, 'undo:1')"),
        ])
        .await;
    let e = split.reinstate().await.unwrap_err();
    assert!(matches!(&e, StandbyError::Conflict(why) if why.contains("not what it was before")), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_behind_the_exported_tail_is_noticed_before_anything_is_attached() {
    let split = Split::new("behind", &[], TAIL).await;
    let (progress, _) = watch::channel(FollowProgress::default());
    // Stopped once the quarantine is there.
    let mut run = Box::pin(reinstate::run(split.config(), progress, Shutdown::new()));
    let there = quarantine::folder(&split.data).join("2");
    poll_fn(|cx| match (run.as_mut().poll(cx), there.exists()) {
        (_, true) => Poll::Ready(()),
        (Poll::Ready(done), false) => panic!("{done:?} without a quarantine"),
        (Poll::Pending, false) => Poll::Pending,
    })
    .await;
    split.pair.a.run(&["INSERT INTO shop.t (id) VALUES (777777)"]).await;
    drop(run);
    let e = split.reinstate().await.unwrap_err();
    assert!(matches!(&e, StandbyError::Conflict(why) if why.contains("fenced")), "{e}");
    let attached: u64 =
        split.pair.a.scalar("SELECT COUNT(*) FROM ghostlight.applied WHERE pending IS NULL").await;
    assert_eq!(attached, 0);
}

/// The tail cannot be undone, and the quarantine says so and holds it all the same.
async fn check_irreparable(name: &str, before: &[&str], tail: &[&str], lines_expected: u64, words: &str) {
    let split = Split::new(name, before, tail).await;
    let then = split.pair.a.content().await;
    let e = split.reinstate().await.unwrap_err();
    assert!(matches!(&e, StandbyError::CannotBeUndone(why) if why.contains(words)), "{e}");
    assert_eq!(split.pair.a.content().await, then, "nothing was touched");
    let quarantine = split.quarantine();
    assert_eq!(quarantine.manifest().counts.lines, lines_expected);
    assert_eq!(quarantine.outcome().unwrap().unwrap().done, Done::Resynchronised);
    // Again the same.
    assert!(matches!(split.reinstate().await, Err(StandbyError::CannotBeUndone(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_with_definitions_cannot_be_undone() {
    let tail = ["ALTER TABLE shop.t ADD COLUMN c INT", "INSERT INTO shop.t (id, c) VALUES (2000, 1)"];
    check_irreparable("ddl", &[], &tail, 2, "ADD COLUMN").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_cascaded_cannot_be_undone_and_one_that_could_have_can() {
    let tables = [
        "CREATE TABLE shop.parent (id INT PRIMARY KEY)",
        "CREATE TABLE shop.child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES shop.parent (id) ON DELETE CASCADE)",
        "INSERT INTO shop.parent VALUES (1), (2)",
        "INSERT INTO shop.child VALUES (1, 1), (2, 1)",
    ];
    check_irreparable("cascade", &tables, &["DELETE FROM shop.parent WHERE id = 1"], 1, "cascade").await;
    let harmless = ["INSERT INTO shop.parent VALUES (3)", "INSERT INTO shop.child VALUES (3, 3)"];
    let split = Split::new("children", &tables, &harmless).await;
    split.reinstate().await.unwrap();
    split.check_undone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_under_triggers_cannot_be_undone() {
    let split = Split::new("trigger", &[], &["INSERT INTO shop.t (id) VALUES (2000)"]).await;
    // A trigger never passes the stream; here it was made by hand, as one that `check` warned of.
    split
        .pair
        .a
        .run(&[
            "CREATE TABLE shop.seen (n INT AUTO_INCREMENT PRIMARY KEY)",
            "CREATE TRIGGER shop.see BEFORE DELETE ON shop.t FOR EACH ROW INSERT INTO shop.seen () VALUES ()",
        ])
        .await;
    let e = split.reinstate().await.unwrap_err();
    assert!(matches!(&e, StandbyError::CannotBeUndone(why) if why.contains("trigger")), "{e}");
    assert_eq!(lines(&split.quarantine())[0].table, "shop.t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_no_longer_holds_the_tail_says_so() {
    let split = Split::new("purged", &[], TAIL).await;
    let operator = DatabaseConfig { user: DRILL_USER.into(), ..split.pair.a.database.clone() };
    let mut conn = operator.open().await.unwrap();
    // The server keeps a file for a reader whose connection is gone until it has noticed that, at its next write.
    crate::pair::eventually("the log's beginning is gone", async || {
        conn.query_drop("FLUSH BINARY LOGS").await.unwrap();
        let newest: (String, u64) = conn.query("SHOW BINARY LOGS").await.unwrap().pop().unwrap();
        conn.query_drop(format!("PURGE BINARY LOGS TO '{}'", newest.0)).await.unwrap();
        let left: Vec<(String, u64)> = conn.query("SHOW BINARY LOGS").await.unwrap();
        left.len() == 1
    })
    .await;
    let e = split.reinstate().await.unwrap_err();
    assert!(matches!(&e, StandbyError::CannotBeUndone(why) if why.contains("any more")), "{e}");
    assert!(!split.quarantine().manifest().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_which_nobody_knows_where_it_ended_is_not_undone() {
    let mut split = Split::new("unknown", &[], TAIL).await;
    split.pair.a.run(&["UPDATE ghostlight.site SET stream='another'"]).await;
    let e = split.reinstate().await.unwrap_err();
    assert!(matches!(&e, StandbyError::CannotBeUndone(why) if why.contains("knows of no failover")), "{e}");
    // Nor one whose history ended epochs ago.
    split.pair.a.run(&[&format!("UPDATE ghostlight.site SET stream='{}'", split.pair.a.stream)]).await;
    split.pair.b.raise(3, &split.pair.b.site).await;
    fenced(&split.pair.a, 3, &split.pair.b.site, 3).await;
    split.shipping = split.pair.ship(&split.pair.b, 3).await;
    split.epoch = 3;
    let e = split.reinstate().await.unwrap_err();
    assert!(matches!(&e, StandbyError::CannotBeUndone(why) if why.contains("history ended")), "{e}");
    assert!(split.quarantine().manifest().complete, "and yet the whole tail is kept");
}

/// A forced failover: the old primary had gone on alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_alone_is_quarantined_and_not_called_unacknowledged() {
    let tail = ["UPDATE ghostlight.site SET mode='solo'", "INSERT INTO shop.t (id) VALUES (2000)"];
    let split = Split::new("alone", &[], &tail).await;
    split.reinstate().await.unwrap();
    let proof = &split.quarantine().manifest().proof.clone();
    assert_eq!(proof.acknowledged, Acknowledged::Possibly);
    assert!(proof.because.contains("solo"), "{}", proof.because);
}

#[tokio::test(flavor = "multi_thread")]
async fn forth_and_back_neither_tail_nor_undo_travels() {
    let mut split = Split::new("forth", &[], TAIL).await;
    split.reinstate().await.unwrap();
    let follower = split.follows().await;
    split.pair.b.run(&["INSERT INTO shop.t (id, b) VALUES (3000, 'of epoch 2')"]).await;
    let goal: Position = split.pair.b.end_of_log().await;
    crate::pair::reached(&mut split.shipping.watermarks.clone(), &goal).await;
    split.pair.b.run(&["UPDATE ghostlight.site SET mode='sync', token=token+1"]).await;
    let goal: Position = split.pair.b.end_of_log().await;
    crate::pair::reached(&mut split.shipping.watermarks.clone(), &goal).await;
    follower.stop().await;
    // The link is cut, b writes a tail of its own, and a is promoted again.
    let common = split.pair.b.content().await;
    split.pair.b.run(&["DELETE FROM shop.t WHERE id < 50", "INSERT INTO shop.t (id) VALUES (3001)"]).await;
    promoted(&mut split.pair.a, 3, 2).await;
    split.pair.a.run(&["INSERT INTO shop.t (id, b) VALUES (4000, 'of epoch 3')"]).await;
    fenced(&split.pair.b, 3, &split.pair.a.site, 3).await;
    let shipping = split.pair.ship(&split.pair.a, 3).await;
    let standby = StandbyConfig {
        incarnation: Incarnation(3),
        ..split.pair.config(&split.pair.b, &shipping, &split.pair.a.site, 3)
    };
    let data = split.data.join("b");
    let config = ReinstateConfig { standby: standby.clone(), data: data.clone(), register: None };
    let (progress, _) = watch::channel(FollowProgress::default());
    reinstate::run(config, progress, Shutdown::new()).await.unwrap();
    assert_eq!(split.pair.b.content().await, common);
    assert_eq!(counts(&data, "3"), (2, 50));
    let follower = follow(standby);
    let goal = split.pair.a.end_of_log().await;
    crate::pair::reached(&mut shipping.watermarks.clone(), &goal).await;
    split.pair.check_equal().await;
    let there: u64 = split.pair.b.scalar("SELECT COUNT(*) FROM shop.t WHERE id IN (3000, 4000)").await;
    assert_eq!(there, 2);
    follower.stop().await;
}

fn counts(data: &Path, id: &str) -> (u64, u64) {
    let counts = quarantine::find(data, id).unwrap().unwrap().manifest().counts;
    (counts.transactions, counts.lines)
}
