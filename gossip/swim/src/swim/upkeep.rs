//! What the machine does unasked: forgives its own standstill, calls those who are down, renews a declined identity,
//! repeats its farewell.

use super::{Due, Effect, Presence, Swim};
use crate::Identity;
use foca::{State, Timer};
use rand::RngExt;
use std::time::Duration;
use taffeta_model::{Bug, Liveness, Millis, planted};

/// Shortest time between two renewals. Two processes with the same id decline each other for ever: this bounds the noise.
const RENEWAL_GAP: Duration = Duration::from_secs(1);

/// Members called at once by a node that is alone, and in one go by a merge that disputes our verdicts.
const CALLS_MAX: usize = 8;

impl Swim {
    /// If timers are long overdue, this node stood still: a paused machine, an overloaded loop. Answers may wait unread
    /// in its socket, so nobody may be blamed for that time: all timers move by it.
    pub(super) fn forgive_standstill(&mut self, now: Millis) {
        let lag = self.next_timeout().map_or(Duration::ZERO, |due| now.since(due));
        if lag >= self.config.probe_timeout {
            self.become_slower(2);
            let late = std::mem::take(&mut self.timers);
            self.timers = late.into_iter().map(|((due, n), what)| ((due + lag, n), what)).collect();
        }
    }

    /// Others see members alive that are down here: after a partition a verdict stands until the member renews, so tell
    /// it. A few at a time; the rest is met by the periodic calls.
    pub(super) fn call_disputed(&mut self, now: Millis, alive: Vec<Identity>) {
        let disputed = |i: &Identity| {
            let here = self.table.get(&i.id);
            here.is_some_and(|h| h.liveness == Liveness::Down && h.identity == *i)
        };
        let disputed = alive.into_iter().filter(disputed).collect();
        self.call_some(now, disputed, CALLS_MAX);
    }

    fn call_some(&mut self, now: Millis, mut candidates: Vec<Identity>, count: usize) {
        for _ in 0..count.min(candidates.len()) {
            let chosen = candidates.swap_remove(self.rng.random_range(0..candidates.len()));
            self.drive(now, |foca, out| foca.announce(chosen, out));
        }
    }

    /// Calls some of those who are down or were never met: either they have come back, or the ring was divided and is
    /// whole again. Runs also while nobody is known to live, which is how the last of a ring find each other.
    fn reach_out(&mut self, now: Millis) -> Duration {
        let alone = self.foca.num_members() == 0;
        let down = self.table.values().filter(|m| m.liveness == Liveness::Down).map(|m| m.identity);
        let unmet = self.seeds.iter().filter(|seed| !self.table.contains_key(&seed.id)).copied();
        let candidates = down.chain(unmet).collect();
        let (count, next) = if alone {
            (CALLS_MAX, self.config.reach_out_alone_every)
        } else {
            (self.config.reach_out_fanout.into(), self.config.reach_out_every)
        };
        self.call_some(now, candidates, count);
        next
    }

    pub(super) fn reach_out_again(&mut self, now: Millis) {
        if self.presence != Presence::Leaving {
            let next = self.reach_out(now);
            self.schedule(now + next, Due::ReachOut);
        }
    }

    /// Declared down: comes back under a renewed identity, at once unless it did so just before.
    pub(super) fn become_declined(&mut self, now: Millis) {
        self.presence = Presence::Declined;
        if planted(Bug::NeverRenew) {
            return;
        }
        match self.renewed_at.map(|at| at + RENEWAL_GAP) {
            Some(allowed) if allowed > now => self.schedule(allowed, Due::Renew),
            Some(_) | None => self.renew(now),
        }
    }

    pub(super) fn renew(&mut self, now: Millis) {
        if self.presence != Presence::Declined {
            return;
        }
        match self.me().renewed() {
            Some(renewed) => self.become_identity(now, renewed),
            None => self.effects.push(Effect::Fault("renewals are used up: restart the node".into())),
        }
    }

    pub(super) fn become_identity(&mut self, now: Millis, identity: Identity) {
        self.presence = Presence::Present;
        self.renewed_at = Some(now);
        self.digest.remove(&self.me(), Liveness::Alive);
        self.digest.add(&identity, Liveness::Alive);
        self.refuted = 0;
        {
            let mut notes = self.codec.notes();
            (notes.me, notes.refutations, notes.probe) = (identity, 0, None);
        }
        // Foca begins its probes anew; those of before would only take the new one's note away.
        let of_probes =
            |timer: &Timer<Identity>| matches!(timer, Timer::ProbeRandomMember(_) | Timer::SendIndirectProbe { .. });
        self.timers.retain(|_, due| !matches!(due, Due::Foca(timer) if of_probes(timer)));
        self.effects.push(Effect::Renewed(identity));
        self.drive(now, |foca, out| foca.change_identity(identity, out));
        // Applying nothing makes Foca see that it has members, and probe again rather than wait for a packet.
        self.drive(now, |foca, out| foca.apply_many(std::iter::empty(), true, out));
        self.suspect_anew(now);
        self.reach_out(now);
    }

    /// Under another identity Foca takes no timer of before: a suspicion would have no verdict, and its suspect, if it
    /// answers probes, would not hear of it either. All of them begin anew.
    fn suspect_anew(&mut self, now: Millis) {
        let is_old = |due: &Due| matches!(due, Due::Foca(Timer::ChangeSuspectToDown { .. }) | Due::Remind(..));
        self.timers.retain(|_, due| !is_old(due));
        let token = self.timers.values().find_map(|due| match due {
            Due::Foca(Timer::ProbeRandomMember(token)) => Some(*token),
            _ => None,
        });
        let Some(token) = token else { return }; // it probes nobody, as nobody is alive or suspect
        let (me, known) = (self.me().id, self.foca.iter_membership_state());
        let suspects = known.filter(|m| m.state() == State::Suspect && m.id().id != me);
        let suspects: Vec<_> = suspects.map(|m| (*m.id(), m.incarnation())).collect();
        for (member_id, incarnation) in suspects {
            let timer = Timer::ChangeSuspectToDown { member_id, incarnation, token };
            self.note_accusation(now, &timer);
            let after = self.stretched(&timer, self.config.suspicion);
            self.schedule(now + after, Due::Foca(timer));
        }
    }

    pub(super) fn farewell(&mut self, now: Millis, rounds: u8) {
        self.drive(now, |foca, out| foca.gossip(out));
        if rounds > 1 {
            self.schedule(now + self.config.gossip_every, Due::Farewell(rounds - 1));
        }
    }
}
