use model::{Epoch, Site, StreamId};

use super::*;

fn order(intent: u64) -> ParkRequest {
    ParkRequest {
        epoch: Epoch(3),
        intent,
        park_ms_max: 1_000,
        parked_max: 2,
        drain_ms_max: 300,
        unpark: Unpark::Sync,
        sync_wait_ms: 100,
    }
}

fn serving(epoch: u64, primary: &str, open: bool, mode: Mode) -> Serving {
    let (site, primary, stream) = (Site::new("nhn"), Site::new(primary), StreamId("s".into()));
    Serving { site, epoch: Epoch(epoch), stream, primary, mode, open }
}

/// A gateway that knows this.
fn knowing(serving: Serving) -> Park {
    let mut park = Park::new();
    park.hear(0, 1, serving);
    park
}

fn waits(park: &mut Park, now_ms: u64) -> bool {
    matches!(park.enter(now_ms, false, None), Entry::Wait { .. })
}

#[test]
fn it_is_drained_when_the_last_answer_that_was_under_way_has_gone() {
    let mut park = knowing(serving(3, "nhn", true, Mode::Sync));
    assert_eq!(park.enter(0, false, None), Entry::Pass { heard: 1 });
    assert_eq!(park.enter(0, false, None), Entry::Pass { heard: 1 });
    park.order(10, order(7)).unwrap();
    assert!(waits(&mut park, 11));
    assert_eq!(park.under_way(), (2, 0));
    park.streams();
    assert_eq!(park.under_way(), (1, 1));
    park.left(Flight::Unanswered);
    park.left(Flight::Streaming);
    assert_eq!(park.under_way(), (0, 0));
}

#[test]
fn what_the_other_gateway_forwarded_runs_out_at_the_old_primary_and_waits_at_the_new_one() {
    let mut old = knowing(serving(3, "nhn", true, Mode::Sync));
    old.order(0, order(7)).unwrap();
    assert_eq!(old.enter(1, true, None), Entry::Pass { heard: 1 });
    assert!(waits(&mut old, 1));
    let mut new = knowing(serving(3, "aws", false, Mode::Sync));
    new.order(0, order(7)).unwrap();
    assert!(matches!(new.enter(1, true, None), Entry::Wait { .. }));
    // Open in the new epoch, but not in sync yet: it still waits.
    assert!(!new.hear(50, 2, serving(4, "nhn", true, Mode::Solo)));
    assert!(matches!(new.enter(51, true, Some(1_000)), Entry::Wait { .. }));
    assert!(new.hear(60, 3, serving(4, "nhn", true, Mode::Sync)));
    assert_eq!(new.enter(61, true, Some(1_000)), Entry::Pass { heard: 3 });
}

#[test]
fn the_old_primarys_gateway_goes_on_when_another_site_is_primary() {
    let mut park = knowing(serving(3, "nhn", true, Mode::Sync));
    park.order(0, order(7)).unwrap();
    assert!(!park.hear(20, 2, serving(3, "nhn", false, Mode::Sync)), "closed, and the epoch is the same");
    assert!(waits(&mut park, 21));
    assert!(park.hear(40, 3, serving(4, "aws", false, Mode::Solo)));
    assert_eq!(park.enter(41, false, Some(1_000)), Entry::Pass { heard: 3 });
    assert!(park.order(42, order(7)).is_err(), "a late repetition parks nothing any more");
}

#[test]
fn the_new_primarys_gateway_waits_for_sync_only_so_long() {
    let mut park = knowing(serving(3, "aws", false, Mode::Sync));
    park.order(0, order(7)).unwrap();
    assert!(!park.hear(200, 2, serving(4, "nhn", false, Mode::Solo)));
    assert!(!park.hear(250, 3, serving(4, "nhn", true, Mode::Solo)));
    assert_eq!(park.wake_at_ms(), Some(350));
    assert!(!park.tick(349));
    assert!(park.tick(350));
    assert_eq!(park.enter(350, false, Some(1_000)), Entry::Pass { heard: 3 });

    let mut at_once = knowing(serving(3, "aws", false, Mode::Sync));
    at_once.order(0, ParkRequest { unpark: Unpark::Solo, ..order(7) }).unwrap();
    assert!(at_once.hear(250, 2, serving(4, "nhn", true, Mode::Solo)));
}

#[test]
fn nothing_waits_for_ever_and_the_queue_has_an_end() {
    let mut park = knowing(serving(3, "nhn", true, Mode::Sync));
    park.order(0, order(7)).unwrap();
    for _ in 0..2 {
        assert_eq!(park.enter(100, false, None), Entry::Wait { until_ms: 1_000 });
        park.waits();
    }
    assert_eq!(park.enter(100, false, None), Entry::Refuse);
    assert_eq!(park.enter(500, false, Some(1_000)), Entry::Wait { until_ms: 1_000 });
    assert_eq!(park.enter(1_000, false, Some(1_000)), Entry::Refuse);
    park.waits_no_more();
    assert_eq!(park.waiting(), 1);
    assert_eq!(park.wake_at_ms(), Some(1_000));
    assert_eq!(park.enter(1_000, false, None), Entry::Pass { heard: 1 }, "it is over, told or not");
    assert!(park.tick(1_000), "whoever leads is gone: the parking ends by itself");
    assert!(!park.is_parked());
}

#[test]
fn a_rollback_lets_go_on_and_is_final_for_its_intent() {
    let mut park = knowing(serving(3, "nhn", true, Mode::Sync));
    park.order(0, order(7)).unwrap();
    assert!(!park.release(6), "an older intent's rollback does not concern this one");
    assert!(park.is_parked());
    assert!(park.release(7));
    assert_eq!(park.enter(5, false, None), Entry::Pass { heard: 1 });
    assert!(park.order(6, order(7)).is_err());
    park.order(7, order(9)).unwrap();
    assert!(waits(&mut park, 8));
}

#[test]
fn another_epoch_is_not_parked() {
    assert!(Park::new().order(0, order(7)).is_err());
    assert!(knowing(serving(4, "aws", false, Mode::Solo)).order(0, order(7)).is_err());
    assert!(knowing(serving(2, "nhn", true, Mode::Sync)).order(0, order(7)).is_err());
}

/// Found by the simulation: whoever asks for the next moment to look at the clock was told one that had passed, for ever.
#[test]
fn a_new_primary_that_closes_again_is_not_waited_for_by_the_clock() {
    let mut park = knowing(serving(3, "aws", false, Mode::Sync));
    park.order(0, order(7)).unwrap();
    assert!(!park.hear(50, 2, serving(4, "nhn", true, Mode::Solo)));
    assert_eq!(park.wake_at_ms(), Some(150), "open, and not sync yet: for so long at most");
    assert!(!park.hear(60, 3, serving(4, "nhn", false, Mode::Solo)));
    assert!(!park.tick(150));
    assert_eq!(park.wake_at_ms(), Some(1_000));
    assert!(park.hear(200, 4, serving(4, "nhn", true, Mode::Solo)), "it has been waited for already");
}
