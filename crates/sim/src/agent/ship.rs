//! The primary's side of the link, as `replicate::ship` does it: nothing is sent unless this site is primary in the
//! epoch that the peer asked for, and a peer is dropped the moment that changes.

use model::{Epoch, Incarnation, Watermark};

use super::{Agent, Purpose};
use crate::{
    context::Context,
    message::{Answer, Entry, Frame, Message, Sql, SqlAnswer, Want, Who},
};

/// Proof of life on an idle link.
const ALIVE_MS: u64 = 200;

/// The peer's connection.
pub(super) struct Ship {
    connection: u64,
    peer: Who,
    epoch: Epoch,
    incarnation: Incarnation,
    sent_at: u64,
}

impl Agent {
    pub(super) fn hello(
        &mut self,
        ctx: &mut Context<'_>,
        peer: Who,
        connection: u64,
        epoch: Epoch,
        incarnation: Incarnation,
        want: Want,
    ) {
        let stream =
            self.look.as_ref().and_then(|(_, look)| look.site.as_ref()).map(|s| &s.end_of_log.stream);
        let same = match &want {
            Want::Log(position) => Some(&position.stream) == stream,
            Want::Copy | Want::Failovers => true,
        };
        if self.primary_in != Some(epoch) || !same {
            let why = "not primary in that epoch, or another log".into();
            self.link(ctx, peer, connection, Frame::Refused(why));
            return;
        }
        match want {
            Want::Log(position) => {
                self.ship = Some(Ship { connection, peer, epoch, incarnation, sent_at: ctx.now });
                self.link(ctx, peer, connection, Frame::Alive);
                self.sql(ctx, Sql::Dump { from: position.offset, connection }, Purpose::Subscribed);
            }
            Want::Copy => {
                self.ship = Some(Ship { connection, peer, epoch, incarnation, sent_at: ctx.now });
                self.sql(ctx, Sql::Copy, Purpose::Ship { connection });
            }
            Want::Failovers => {
                self.ship = Some(Ship { connection, peer, epoch, incarnation, sent_at: ctx.now });
                self.sql(ctx, Sql::Failovers, Purpose::Ship { connection });
            }
        }
    }

    pub(super) fn link(&mut self, ctx: &mut Context<'_>, to: Who, connection: u64, frame: Frame) {
        let from = ctx.me;
        ctx.send(to, Message::Link { from, connection, frame });
    }

    /// Nothing of an epoch is sent by whoever is not its primary any more.
    pub(super) fn check_authority(&mut self) {
        if self.ship.as_ref().is_some_and(|ship| Some(ship.epoch) != self.primary_in) {
            self.ship = None;
        }
    }

    pub(super) fn forward_log(&mut self, ctx: &mut Context<'_>, connection: u64, entries: Vec<Entry>) {
        let Some(ship) = self.ship.as_mut().filter(|ship| ship.connection == connection) else { return };
        ship.sent_at = ctx.now;
        let peer = ship.peer;
        self.link(ctx, peer, connection, Frame::Log(entries));
    }

    pub(super) fn tick_ship(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now;
        if let Some(ship) = self.ship.as_mut().filter(|ship| now >= ship.sent_at + ALIVE_MS) {
            ship.sent_at = now;
            let (peer, connection) = (ship.peer, ship.connection);
            self.link(ctx, peer, connection, Frame::Alive);
        }
    }

    pub(super) fn ship_answered(&mut self, ctx: &mut Context<'_>, connection: u64, answer: Option<Answer>) {
        let Some(ship) = self.ship.as_ref().filter(|ship| ship.connection == connection) else { return };
        let peer = ship.peer;
        let frame = match answer {
            Some(Answer::Sql(SqlAnswer::Copy(copied))) => Frame::Copy(copied),
            Some(Answer::Sql(SqlAnswer::Failovers(records))) => Frame::Failovers(records),
            _ => Frame::Refused("the database does not answer".into()),
        };
        self.link(ctx, peer, connection, frame);
    }

    /// A watermark that is not of this stream, epoch and incarnation is not believed.
    pub(super) fn take_watermark(&mut self, ctx: &mut Context<'_>, connection: u64, new: Watermark) {
        let stream =
            self.look.as_ref().and_then(|(_, look)| look.site.as_ref()).map(|s| &s.end_of_log.stream);
        let Some(ship) = self.ship.as_ref().filter(|ship| ship.connection == connection) else { return };
        if new.epoch != ship.epoch
            || Some(&new.position.stream) != stream
            || new.incarnation != ship.incarnation
        {
            return;
        }
        let behind = self.watermark.as_ref().is_some_and(|old| {
            old.epoch == new.epoch
                && old.incarnation == new.incarnation
                && old.position.has_reached(&new.position)
        });
        if behind {
            return;
        }
        self.watermark = Some(new.clone());
        let mut out = Vec::new();
        self.barrier.watermark(&new, &mut out);
        self.tell_barrier(ctx, out);
        self.step_mode(ctx, replicate::mode::Event::Watermark(new));
    }
}
