//! How slow this node itself seems to be, and what it does before it blames another: Lifeguard (arXiv 1707.00788), as
//! far as Foca allows. Its timers are stretched; its probe is watched; a suspect hears of it first.

use super::{Due, Effect, Swim};
use crate::{Identity, codec, packet};
use foca::{Header, Member, Message, State, Timer};
use std::time::Duration;
use taffeta_model::{Liveness, Millis};

/// Reminders to a suspect, evenly spread over its time to refute.
const REMINDERS: u8 = 3;

impl Swim {
    /// How many times slower than usual this node judges others: 1 while it seems well.
    pub fn slowness(&self) -> u8 {
        self.slowness
    }

    /// How long after now a timer is due, given how slow this node is.
    pub(super) fn stretched(&self, timer: &Timer<Identity>, after: Duration) -> Duration {
        match timer {
            Timer::ProbeRandomMember(_) | Timer::SendIndirectProbe { .. } | Timer::ChangeSuspectToDown { .. } => {
                after * self.slowness.into()
            }
            Timer::PeriodicAnnounce(_)
            | Timer::PeriodicAnnounceDown(_)
            | Timer::PeriodicGossip(_)
            | Timer::RemoveDown(_) => after,
        }
    }

    pub(super) fn become_slower(&mut self, by: u8) {
        self.slowness = self.slowness.saturating_add(by).min(self.config.slowness_max);
    }

    /// Before Foca ends a probe: what it says of this node.
    pub(super) fn judge_probe(&mut self) {
        let Some(probe) = self.codec.notes().probe.take() else { return };
        if probe.answered {
            self.slowness = (self.slowness - 1).max(1);
        }
        // One probe in silence is nothing: others probe this node once in a period on average. Several in a row, of
        // different members, are more likely this node's fault.
        self.silent_probes = if probe.answered || self.heard { 0 } else { self.silent_probes.saturating_add(1) };
        if self.silent_probes >= 2 {
            self.become_slower(1);
        }
        self.heard = false;
    }

    /// The direct probe had no answer: after the indirect ones have had their time, too, a live connection is tried.
    pub(super) fn await_indirect(&mut self, now: Millis) {
        let Some(probe) = self.codec.notes().probe.filter(|probe| !probe.answered) else { return };
        let rest = self.config.probe_period - self.config.probe_timeout;
        self.schedule(now + rest.mul_f64(0.5) * self.slowness.into(), Due::Confirm(probe.target, probe.number));
    }

    pub(super) fn ask_connection(&mut self, target: Identity, number: u8) {
        let waits = self.codec.notes().probe.is_some_and(|p| p.target == target && p.number == number && !p.answered);
        if waits {
            let rest = self.config.probe_period - self.config.probe_timeout;
            self.effects.push(Effect::PingConnection { to: target, within: rest.mul_f64(0.45) });
        }
    }

    /// The member has just answered on a connection, which counts as the answer to a probe of it that is under way.
    pub fn note_answer(&mut self, now: Millis, of: Identity) {
        let (me, probe) = (self.me(), self.codec.notes().probe);
        let Some(probe) = probe.filter(|p| p.target == of && !p.answered) else { return };
        let known = self.foca.iter_membership_state().find(|m| *m.id() == of).map(Member::incarnation);
        let Some(src_incarnation) = known else { return };
        let header = Header { src: of, src_incarnation, dst: me, message: Message::Ack(probe.number) };
        let mut answer = Vec::new();
        codec::put_header(&header, &mut answer).expect("a vector has room");
        self.drive(now, |foca, out| foca.handle_data(&answer, out));
    }

    /// Tells a member that it is suspected, by a probe that it answers; its answer refutes the suspicion here.
    pub(super) fn tell_suspect(&mut self, now: Millis, suspect: Member<Identity>, left: u8) {
        let here = self.table.get(&suspect.id().id);
        if !here.is_some_and(|m| m.identity == *suspect.id() && m.liveness == Liveness::Suspect) {
            return; // refuted, or down
        }
        let src_incarnation = self.codec.notes().refutations;
        let message = Message::Ping(u8::MAX); // no probe of Foca's waits for it
        let header = Header { src: self.me(), src_incarnation, dst: *suspect.id(), message };
        let mut told = Vec::new();
        codec::put_header(&header, &mut told).expect("a vector has room");
        told.extend(1u16.to_be_bytes());
        let update = Member::new(*suspect.id(), suspect.incarnation(), State::Suspect);
        codec::put_member(&update, &mut told).expect("a vector has room");
        self.effects.push(Effect::Send { to: *suspect.id(), packet: packet::join(packet::Kind::Swim, &told) });
        if left > 0 {
            let pause = self.config.suspicion * u32::from(self.slowness) / u32::from(REMINDERS + 1);
            self.schedule(now + pause, Due::Remind(suspect, left - 1));
        }
    }

    /// This node accuses another: the first to hear of it is the accused.
    pub(super) fn note_accusation(&mut self, now: Millis, timer: &Timer<Identity>) {
        if let Timer::ChangeSuspectToDown { member_id, incarnation, token: _ } = timer {
            let suspect = Member::new(*member_id, *incarnation, State::Suspect);
            // A suspect that is probed once more has a chain of reminders already.
            let told = self.timers.values().any(|due| matches!(due, Due::Remind(known, _) if *known == suspect));
            if !told {
                self.schedule(now + Duration::from_millis(1), Due::Remind(suspect, REMINDERS));
            }
        }
    }
}
