//! What an agent has to do, from what its database says and what the register says.
//!
//! A pure table. It never decides *who* is primary: the register does. It only sees what that means for the data
//! which are found here, and it never continues data of which it cannot be proven that they may be continued.

use model::{
    Epoch, Incarnation, Mode, Register, Site,
    agent::{Fence, Slot},
};

use crate::row::{AppliedSlot, Snapshot};

/// The version of a register that nobody has ever changed. The first primary changes it before it opens: until
/// then there is no service, and nobody else may touch it.
pub const UNTOUCHED: u64 = 1;

/// What a look at the database found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The row and the end of the log; `None`: this database is empty to us.
    pub site: Option<Snapshot>,
    /// The slots.
    pub slots: Vec<AppliedSlot>,
    /// Whether the application can write here.
    pub fence: Fence,
    /// In a database without a row: the schemas that hold tables.
    pub application_schemas: Vec<String>,
    /// Why this database's log must be taken for another one than it was, if so.
    pub begun_anew: Option<String>,
    /// The last epoch to which this database was promoted, if it ever was.
    pub promoted: Option<Epoch>,
}

impl Look {
    /// Whether these data were a standby's to the end: they hold nothing but what was copied from a primary or
    /// applied from its stream. A slot of a later epoch than the last promotion proves it, unless a tail is still being
    /// undone in front of it.
    fn only_what_came_from_a_primary(&self) -> bool {
        let of_later = |s: &AppliedSlot| self.promoted.is_none_or(|promoted| s.slot.epoch > promoted);
        self.slots.iter().any(|s| of_later(s) && !s.is_being_undone())
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Nothing yet.
    Wait(String),
    /// Make this database the first primary.
    Found,
    /// Announce a new life of the standby's data in the register, then make the schema here.
    BeginStandby,
    /// Fill this database, in the life that the register names, then follow.
    Seed(Incarnation),
    /// Apply the primary's stream.
    Follow(Incarnation, Slot),
    /// Announce a new life of these data in the register, then fill them in place: they are a standby's, and cannot
    /// be continued for this reason.
    Resync(String),
    /// Announce a new life of these data in the register: they are those of an old primary, to be taken back.
    BeginReinstatement,
    /// Take these data back, in the life that the register names, then follow.
    Reinstate(Incarnation),
    /// Announce a new life of these data in the register and go on from the slot: they are a standby's, on a server that
    /// has taken another one's place and may be further back than what was told of them.
    BeginLife(String),
    /// Take the writes of this epoch.
    Primary(Epoch),
    /// Wait for an operator: these are a primary's data on a server that has taken another one's place, and nobody has
    /// proved that they hold what the standby applied. They are not copied from, their mode is not moved, nothing is
    /// answered from them.
    Unproven(String),
    /// Wait for the request to promote.
    AwaitPromotion,
    /// Close this database: a newer epoch has begun elsewhere.
    FenceSelf {
        /// The epoch that has begun.
        epoch: Epoch,
        /// Its primary.
        primary: Site,
    },
    /// An operator must look.
    Stop(String),
}

/// The duty of the agent of `site`.
///
/// Without a register (`None`: it was not seen since the start) nothing new is begun; but what the row alone
/// proves goes on: a primary in `sync` is safe without it, and in `solo` its answers need a lease anyway.
pub fn derive(site: &Site, register: Option<&Register>, look: &Look) -> Duty {
    match &look.site {
        None => of_an_empty_database(site, register, look),
        Some(here) if here.row.primary == *site => of_a_primarys_data(site, register, here, look),
        Some(here) => of_a_standbys_data(site, register, here, look),
    }
}

fn of_an_empty_database(site: &Site, register: Option<&Register>, look: &Look) -> Duty {
    let Some(register) = register else {
        return Duty::Wait("the register has not been seen yet".into());
    };
    if register.primary == *site {
        return if register.version == UNTOUCHED && register.epoch == Epoch::FIRST {
            Duty::Found
        } else {
            Duty::Stop(format!(
                "the register names this site primary of epoch {}, but its database is empty; restore its data, \
                 or let the other site be promoted",
                register.epoch
            ))
        };
    }
    if register.version == UNTOUCHED {
        // To begin here would change the register, and then the first primary could not be founded any more.
        return Duty::Wait(format!("the first primary, {}, is not there yet", register.primary));
    }
    if look.application_schemas.is_empty() {
        Duty::BeginStandby
    } else {
        Duty::Stop(format!(
            "this database holds tables ({}) but was never a standby; move them away, or name an empty database",
            look.application_schemas.join(", ")
        ))
    }
}

fn of_a_primarys_data(site: &Site, register: Option<&Register>, here: &Snapshot, look: &Look) -> Duty {
    let epoch = here.row.epoch;
    if let Some(register) = register
        && register.epoch > epoch
        && register.primary != *site
    {
        // Whatever has become of these data, they are closed first.
        return Duty::FenceSelf { epoch: register.epoch, primary: register.primary.clone() };
    }
    if !here.row_speaks() {
        // Not even its mode is believed: that a node lost the change to `sync` is just what cannot be seen in its row.
        return Duty::Unproven(format!(
            "another server answers for this primary's database: the row was written in the log {}, the log here is {}. \
             Whether it holds everything that the standby applied is not proven, so nothing is answered or copied from it. \
             Let the other site be promoted; or, if you know that nothing is missing, take it by `ghostlight reinstate` \
             here and fill the standby anew by `ghostlight seed`",
            here.row.stream, here.end_of_log.stream
        ));
    }
    if let Some(why) = &look.begun_anew
        && here.row.mode == Mode::Sync
    {
        // Not a lost position but a lost primary: what the standby holds may no longer be here.
        return Duty::Stop(format!("this primary's log is not the one that it was: {why}"));
    }
    let Some(register) = register else { return Duty::Primary(epoch) };
    if register.epoch == epoch && register.primary == *site {
        Duty::Primary(epoch)
    } else if register.epoch > epoch {
        Duty::Stop(format!(
            "the register names this site primary of epoch {}, but these data are those of the primary of epoch \
             {epoch}; whether an epoch between them was ever used cannot be seen from here",
            register.epoch
        ))
    } else {
        Duty::Stop(register_behind(register, epoch))
    }
}

fn of_a_standbys_data(site: &Site, register: Option<&Register>, here: &Snapshot, look: &Look) -> Duty {
    let (epoch, primary) = (here.row.epoch, &here.row.primary);
    let slot = look.slots.iter().find(|s| s.slot.epoch == epoch && s.slot.origin == *primary);
    // While a copy is under way the slot follows the stream, but the data are no prefix of it yet.
    let attached = slot.filter(|s| s.is_attached() && !here.seeding);
    let Some(register) = register else {
        return match attached.filter(|_| here.row_speaks()) {
            Some(slot) => Duty::Follow(here.incarnation, slot.slot.clone()),
            None => Duty::Wait("the register has not been seen yet".into()),
        };
    };
    if register.epoch < epoch {
        return Duty::Stop(register_behind(register, epoch));
    }
    if register.primary == *site {
        return if register.epoch == epoch.next() {
            Duty::AwaitPromotion
        } else if register.epoch == epoch {
            Duty::Stop(format!(
                "the promotion of this database to epoch {epoch} was refused; an operator must name the other \
                 site in the register, or bring data that may be promoted"
            ))
        } else {
            Duty::Stop(format!(
                "the register names this site primary of epoch {}, but its data end in epoch {epoch}",
                register.epoch
            ))
        };
    }
    if here.seeding {
        // A copy that was never finished. It holds nothing of its own, so it may begin again at any time.
        return if register.epoch == epoch
            && register.primary == *primary
            && register.standby_incarnation == here.incarnation
        {
            Duty::Seed(here.incarnation)
        } else {
            Duty::BeginStandby
        };
    }
    if attached.is_none() && !look.only_what_came_from_a_primary() {
        if register.epoch > epoch {
            return Duty::FenceSelf { epoch: register.epoch, primary: register.primary.clone() };
        }
        // A life that was announced for these data is noted in their row; nobody can promote them in it while no slot
        // is attached. (The mode may be `sync` already when the slot was attached a moment after this look.)
        let announced = register.standby_incarnation == here.incarnation;
        return if announced { Duty::Reinstate(here.incarnation) } else { Duty::BeginReinstatement };
    }
    let why = if register.epoch > epoch || register.primary != *primary {
        format!(
            "these data belong to epoch {epoch} of {primary}, the service is in epoch {} of {}",
            register.epoch, register.primary
        )
    } else if register.standby_incarnation != here.incarnation {
        format!(
            "these data are life {} of the standby, the register names life {}",
            here.incarnation, register.standby_incarnation
        )
    } else if attached.is_some() && !here.row_speaks() {
        return Duty::BeginLife(format!(
            "another server answers for the standby's database: the row was written in the log {}, the log here is {}",
            here.row.stream, here.end_of_log.stream
        ));
    } else if let Some(slot) = attached {
        return Duty::Follow(here.incarnation, slot.slot.clone());
    } else {
        format!("these data are not a prefix of the primary's: no slot is attached to epoch {epoch}")
    };
    // What a primary wrote last may be the only copy of it; what a standby holds came from somewhere.
    Duty::Resync(why)
}

impl Duty {
    /// The same duty, once the follower in it has found that its place in the primary's log is lost, or that what these
    /// data hold beyond the new primary's cannot be undone.
    #[must_use]
    pub fn with_lost_position(self, why: &str) -> Duty {
        match self {
            Duty::Seed(_) | Duty::Follow(..) | Duty::Reinstate(_) => Duty::Resync(why.to_owned()),
            other => other,
        }
    }
}

fn register_behind(register: &Register, epoch: Epoch) -> String {
    format!(
        "this database has seen epoch {epoch}, the register is at epoch {}: the register has lost a change or is \
         not the right one",
        register.epoch
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Position, StreamId, agent::Row};

    const EMPTY: Look = Look {
        site: None,
        slots: Vec::new(),
        fence: Fence::Closed,
        application_schemas: Vec::new(),
        begun_anew: None,
        promoted: None,
    };

    fn register(version: u64, epoch: u64, primary: &str, incarnation: u64) -> Register {
        Register {
            version,
            epoch: Epoch(epoch),
            primary: Site::new(primary),
            standby_incarnation: Incarnation(incarnation),
            ..Register::first(Site::new("nhn"), 0)
        }
    }

    /// `nhn`'s look at a row; a slot of another site's stream is attached to `slot_epoch` if given.
    fn row(epoch: u64, primary: &str, incarnation: u64, slot_epoch: Option<u64>) -> Look {
        let position = Position { stream: StreamId("theirs".into()), file: 1, offset: 4 };
        Look {
            site: Some(Snapshot {
                row: Row {
                    epoch: Epoch(epoch),
                    primary: Site::new(primary),
                    mode: Mode::Sync,
                    token: 7,
                    stream: StreamId("mine-A".into()),
                },
                end_of_log: Position { stream: StreamId("mine-A".into()), ..position.clone() },
                incarnation: Incarnation(incarnation),
                seeding: false,
            }),
            slots: slot_epoch
                .map(|epoch| AppliedSlot {
                    slot: Slot { position, epoch: Epoch(epoch), origin: Site::new("aws") },
                    pending: None,
                })
                .into_iter()
                .collect(),
            ..EMPTY
        }
    }

    fn seeding(mut look: Look, pending: Option<&str>) -> Look {
        look.site.as_mut().unwrap().seeding = true;
        for slot in &mut look.slots {
            slot.pending = pending.map(str::to_owned);
        }
        look
    }

    fn check(register: impl Into<Option<Register>>, look: Look, expected: &str) {
        let register = register.into();
        let found = match derive(&Site::new("nhn"), register.as_ref(), &look) {
            Duty::Wait(_) => "wait".into(),
            Duty::Found => "found".into(),
            Duty::BeginStandby => "begin standby".into(),
            Duty::Seed(incarnation) => format!("seed {incarnation}"),
            Duty::Follow(incarnation, _) => format!("follow {incarnation}"),
            Duty::BeginReinstatement => "begin reinstatement".into(),
            Duty::Reinstate(incarnation) => format!("reinstate {incarnation}"),
            Duty::BeginLife(_) => "begin life".into(),
            Duty::Primary(epoch) => format!("primary {epoch}"),
            Duty::Unproven(_) => "unproven".into(),
            Duty::Resync(_) => "resync".into(),
            Duty::AwaitPromotion => "await promotion".into(),
            Duty::FenceSelf { epoch, primary } => format!("fence self {epoch} {primary}"),
            Duty::Stop(_) => "stop".into(),
        };
        assert_eq!(found, expected, "register {register:?}, look {look:?}");
    }

    #[test]
    fn an_empty_database_is_founded_once_and_otherwise_filled() {
        check(None, EMPTY, "wait");
        check(register(1, 1, "nhn", 0), EMPTY, "found");
        check(register(2, 1, "nhn", 0), EMPTY, "stop");
        check(register(9, 3, "nhn", 4), EMPTY, "stop");
        check(register(1, 1, "aws", 0), EMPTY, "wait");
        check(register(2, 1, "aws", 0), EMPTY, "begin standby");
        check(register(9, 3, "aws", 4), EMPTY, "begin standby");
        let foreign = Look { application_schemas: vec!["shop".into()], ..EMPTY };
        check(register(1, 1, "nhn", 0), foreign.clone(), "found");
        check(register(2, 1, "aws", 0), foreign, "stop");
    }

    #[test]
    fn a_primary_goes_on_only_in_the_registers_epoch() {
        let mine = || row(2, "nhn", 0, None);
        check(register(5, 2, "nhn", 1), mine(), "primary 2");
        check(None, mine(), "primary 2");
        check(register(6, 3, "aws", 1), mine(), "fence self 3 aws");
        check(register(9, 5, "aws", 1), mine(), "fence self 5 aws");
        check(register(6, 3, "nhn", 1), mine(), "stop");
        check(register(3, 1, "nhn", 1), mine(), "stop");
        check(register(3, 2, "aws", 1), mine(), "stop");
    }

    #[test]
    fn a_primary_whose_log_begins_anew_is_lost_in_sync_and_goes_on_in_solo() {
        let mut look = Look { begun_anew: Some("it went backwards".into()), ..row(2, "nhn", 0, None) };
        check(register(5, 2, "nhn", 1), look.clone(), "stop");
        look.site.as_mut().unwrap().row.mode = Mode::Solo;
        check(register(5, 2, "nhn", 1), look, "primary 2");
    }

    /// The same data on a server that has taken the other one's place.
    fn on_another_server(mut look: Look) -> Look {
        look.site.as_mut().unwrap().end_of_log.stream = StreamId("mine-B".into());
        look
    }

    #[test]
    fn a_primarys_row_that_another_server_wrote_is_not_believed_in_either_mode() {
        let mut look = on_another_server(row(2, "nhn", 0, None));
        let sync = Register { mode: Mode::Sync, ..register(5, 2, "nhn", 1) };
        for mode in [Mode::Sync, Mode::Solo] {
            look.site.as_mut().unwrap().row.mode = mode;
            check(None, look.clone(), "unproven");
            check(sync.clone(), look.clone(), "unproven");
            check(register(5, 2, "nhn", 1), look.clone(), "unproven");
            let anew = Look { begun_anew: Some("it went backwards".into()), ..look.clone() };
            check(register(5, 2, "nhn", 1), anew, "unproven");
            check(register(6, 3, "aws", 1), look.clone(), "fence self 3 aws");
        }
    }

    #[test]
    fn a_standby_on_another_server_announces_a_new_life_before_it_goes_on() {
        check(register(5, 2, "aws", 3), on_another_server(row(2, "aws", 3, Some(2))), "begin life");
        check(None, on_another_server(row(2, "aws", 3, Some(2))), "wait");
        // What is filled anew is announced anyway.
        check(register(5, 2, "aws", 4), on_another_server(row(2, "aws", 3, Some(2))), "resync");
    }

    #[test]
    fn a_primary_whose_log_began_anew_is_still_closed_by_a_newer_epoch() {
        let look = Look { begun_anew: Some("it went backwards".into()), ..row(2, "nhn", 0, None) };
        check(register(6, 3, "aws", 1), look, "fence self 3 aws");
    }

    #[test]
    fn a_standby_follows_only_with_an_attached_slot_in_the_named_life() {
        check(register(5, 2, "aws", 3), row(2, "aws", 3, Some(2)), "follow 3");
        check(None, row(2, "aws", 3, Some(2)), "follow 3");
        check(None, row(2, "aws", 3, None), "wait");
        check(register(5, 1, "aws", 3), row(2, "aws", 3, Some(2)), "stop");
    }

    #[test]
    fn a_standbys_data_that_cannot_be_continued_are_filled_anew_and_a_primarys_are_not() {
        check(register(5, 2, "aws", 3), row(2, "aws", 3, Some(1)), "resync");
        check(register(5, 2, "aws", 4), row(2, "aws", 3, Some(2)), "resync");
        check(register(5, 4, "aws", 3), row(2, "aws", 3, Some(2)), "resync");
        let was_primary = |epoch, look| Look { promoted: Some(Epoch(epoch)), ..look };
        // Standby again since its last promotion, and primary since its last slot.
        check(register(5, 6, "aws", 4), was_primary(2, row(4, "aws", 3, Some(3))), "resync");
        check(register(5, 6, "aws", 4), was_primary(4, row(5, "aws", 3, Some(3))), "fence self 6 aws");
        check(None, row(2, "aws", 3, Some(1)), "wait");
        let lost = derive(&Site::new("nhn"), Some(&register(5, 2, "aws", 3)), &row(2, "aws", 3, Some(2)));
        assert_eq!(lost.with_lost_position("gone"), Duty::Resync("gone".into()));
        let primary = derive(&Site::new("nhn"), None, &row(2, "nhn", 0, None));
        assert_eq!(primary.clone().with_lost_position("gone"), primary);
    }

    #[test]
    fn an_old_primary_announces_itself_and_is_then_taken_back_in_that_life() {
        // It was primary in epoch 1, as the first one or after a promotion in life 3.
        check(register(5, 2, "aws", 3), row(2, "aws", 0, None), "begin reinstatement");
        let promoted = |look| Look { promoted: Some(Epoch(3)), ..look };
        check(register(5, 4, "aws", 5), promoted(row(4, "aws", 3, Some(2))), "begin reinstatement");
        check(register(6, 4, "aws", 6), promoted(row(4, "aws", 6, Some(2))), "reinstate 6");
        let undoing = |mut look: Look| {
            look.slots[0].pending = Some("undo:17".into());
            look
        };
        check(register(6, 4, "aws", 6), undoing(row(4, "aws", 6, Some(4))), "reinstate 6");
        // Another life was announced since.
        check(register(7, 4, "aws", 7), undoing(row(4, "aws", 6, Some(4))), "begin reinstatement");
        let sync = Register { mode: Mode::Sync, ..register(6, 4, "aws", 6) };
        check(sync, promoted(row(4, "aws", 6, Some(2))), "reinstate 6");
        let lost = derive(&Site::new("nhn"), Some(&register(6, 4, "aws", 6)), &row(4, "aws", 6, None));
        assert_eq!(lost.with_lost_position("it has DDL"), Duty::Resync("it has DDL".into()));
        check(register(6, 4, "aws", 6), row(4, "aws", 6, Some(4)), "follow 6");
        check(None, undoing(row(4, "aws", 6, Some(4))), "wait");
        // Named for the next epoch it will refuse: these data are not attached.
        check(register(7, 5, "nhn", 6), undoing(row(4, "aws", 6, Some(4))), "await promotion");
    }

    #[test]
    fn a_standby_named_by_the_register_waits_to_be_promoted_unless_it_was_refused() {
        check(register(6, 3, "nhn", 3), row(2, "aws", 3, Some(2)), "await promotion");
        check(register(6, 3, "nhn", 3), row(3, "aws", 3, Some(2)), "stop");
        check(register(6, 4, "nhn", 3), row(2, "aws", 3, Some(2)), "stop");
    }

    #[test]
    fn an_unfinished_seeding_begins_again_in_its_life_or_in_a_new_one() {
        check(register(5, 2, "aws", 3), seeding(row(2, "aws", 3, None), None), "seed 3");
        check(register(5, 2, "aws", 3), seeding(row(2, "aws", 3, Some(2)), Some("seed:1:1")), "seed 3");
        check(register(5, 2, "aws", 4), seeding(row(2, "aws", 3, None), None), "begin standby");
        check(register(5, 3, "aws", 3), seeding(row(2, "aws", 3, None), None), "begin standby");
        check(register(5, 2, "aws", 3), seeding(row(2, "aws", 3, Some(2)), None), "seed 3");
        check(None, seeding(row(2, "aws", 3, Some(2)), None), "wait");
        check(register(5, 2, "aws", 3), seeding(row(2, "aws", 3, Some(2)), Some("unknown")), "seed 3");
    }

    #[test]
    fn pending_ddl_does_not_detach_a_slot() {
        let mut look = row(2, "aws", 3, Some(2));
        look.slots[0].pending = Some("ddl:7:ab".into());
        check(register(5, 2, "aws", 3), look, "follow 3");
    }
}
