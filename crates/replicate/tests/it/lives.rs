//! The lives of a standby's data only go up, whoever announced them.

use model::{Epoch, Incarnation};
use replicate::{row, schema::Birth};

use crate::support::{Bed, attach, aws, nhn};

/// An agent announces life 5 in the register and stands still; its successor announces life 6, fills the data and is in
/// `sync`. Then the first one goes on.
#[tokio::test]
async fn a_life_that_was_announced_before_the_present_one_does_not_begin_any_more() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, aws(), 6).await;
    attach(&mut conn, 1, None).await;
    let before = row::snapshot(&mut conn).await.unwrap();
    for late in [5, 6] {
        let birth = Birth { epoch: Epoch(1), primary: aws(), incarnation: Incarnation(late), seeding: true };
        assert!(!row::fill_anew(&mut conn, &nhn(), &birth).await.unwrap(), "life {late}");
        assert!(!row::begin_life(&mut conn, Epoch(1), &aws(), Incarnation(late)).await.unwrap());
    }
    let after = row::snapshot(&mut conn).await.unwrap();
    assert_eq!((after.row, after.seeding), (before.row, false), "and nothing was changed");
    assert_eq!(row::slots(&mut conn).await.unwrap().len(), 1, "its slot is there");

    let next = Birth { epoch: Epoch(1), primary: aws(), incarnation: Incarnation(7), seeding: true };
    assert!(row::fill_anew(&mut conn, &nhn(), &next).await.unwrap());
    let filled = row::snapshot(&mut conn).await.unwrap();
    assert_eq!((filled.incarnation, filled.seeding), (Incarnation(7), true));
}
