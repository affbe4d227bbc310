//! The witness's register: the shipped judgement and the shipped leases, on two copies in memory instead of two files.
//!
//! A change is written to the copy, then to the file, and only then told, as `cloud::local::register_file` does. A
//! torn write stops it between two of these steps; after the restart the shipped [`newest`] says which copy counts.

use std::time::Duration;

use cloud::{
    local::register_file::{Leases, newest},
    register::judge,
};
use model::{
    Register as Record,
    register::{Approval, CasReply, Orders},
};

use crate::{
    context::{Caller, Context, Input},
    message::{Answer, Ask, Message, site},
};

/// Where a write is torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Before anything was written.
    Before,
    /// Between copy and file.
    Between,
    /// When both are written and nobody has been told.
    After,
}

/// The register.
#[derive(Debug)]
pub struct Register {
    file: Record,
    copy: Record,
    leases: Leases,
    lease_ms: u64,
    orders: Orders,
    /// The next change is torn there.
    pub tear: Option<Tear>,
    /// It has just been torn: the process dies now.
    pub torn: bool,
}

impl Register {
    /// The first primary is `nhn`, its standby is in life 1.
    pub fn new(lease_ms: u64) -> Register {
        let mut first = Record::first(site(0), 0);
        first.version = 2;
        first.standby_incarnation = model::Incarnation(1);
        let leases = Leases::new(0, Duration::ZERO);
        Register {
            copy: first.clone(),
            file: first,
            leases,
            lease_ms,
            orders: Orders::default(),
            tear: None,
            torn: false,
        }
    }

    /// What is told to whoever reads it.
    pub fn record(&self) -> &Record {
        &self.file
    }

    /// An operator approves a failover.
    pub fn approve(&mut self, approval: Approval) {
        self.orders.version += 1;
        self.orders.approval = Some(approval);
    }

    /// It starts again, with what stands on its disk.
    pub fn start(&mut self, now_ms: u64) {
        if let Some(newest) = newest(&self.file, &self.copy).cloned() {
            self.copy = newest.clone();
            self.file = newest;
        }
        self.leases = Leases::new(now_ms, Duration::from_millis(self.lease_ms));
        self.torn = false;
    }

    /// Takes what happens.
    pub fn take(&mut self, ctx: &mut Context<'_>, input: Input) {
        let Input::Message(Message::Ask { from, life, call, ask }) = input else { return };
        let caller = Caller { who: from, life, call };
        match ask {
            Ask::ReadOrders => ctx.answer(caller, Answer::Orders(Box::new(self.orders.clone()))),
            Ask::ReadRegister => ctx.answer(caller, Answer::Register(self.file.clone())),
            Ask::Lease(request) => {
                let reply = self.leases.ask(ctx.now, request);
                ctx.answer(caller, Answer::Lease(reply));
            }
            Ask::Cas(request) => {
                let Ok(reply) = judge(&self.file, request) else {
                    ctx.answer(caller, Answer::No);
                    return;
                };
                if let CasReply::Swapped(record) = &reply
                    && *record != self.file
                {
                    if self.write(record) {
                        ctx.say(|| format!("is torn while it writes version {}", record.version));
                        return;
                    }
                    ctx.truth.register_moved(record);
                    let Record { version, epoch, primary, mode, standby_incarnation, .. } = record;
                    ctx.say(|| {
                        format!(
                            "version {version}: epoch {epoch} of {primary}, {mode}, life {standby_incarnation}, by the {from} ({})",
                            record.why
                        )
                    });
                } else if matches!(reply, CasReply::Stale(_)) {
                    ctx.say(|| format!("somebody was faster than the {from}"));
                }
                ctx.answer(caller, Answer::Cas(reply));
            }
            _ => ctx.answer(caller, Answer::No),
        }
    }

    /// Whether the write is torn.
    fn write(&mut self, record: &Record) -> bool {
        let tear = self.tear.take();
        self.torn = tear.is_some();
        if tear == Some(Tear::Before) {
            return true;
        }
        self.copy = record.clone();
        if tear == Some(Tear::Between) {
            return true;
        }
        self.file = record.clone();
        self.torn
    }
}
