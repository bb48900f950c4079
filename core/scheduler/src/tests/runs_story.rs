//! A cron job over leader changes and the two days on which clocks change, told line by line.

use super::fixture::{Cluster, With, app, batch, cron};
use std::fmt::Write;
use taffeta_model::{
    Command, Decision, Firing, Millis, Missed, MissedPolicy, Place, Schedule, Trigger, UnixMillis, rfc3339,
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// 2026-10-24T00:00:00Z: the night after, clocks in Vienna go from 03:00 back to 02:00.
const OCTOBER: UnixMillis = UnixMillis(1_792_800_000_000);
/// 2027-03-27T12:00:00Z: the night after, clocks in Vienna go from 02:00 to 03:00.
const MARCH: UnixMillis = UnixMillis(1_806_148_800_000);

struct Story {
    c: Cluster,
    lines: String,
}

impl Story {
    fn tell(&mut self, what: &str) {
        writeln!(self.lines, "{}  {what}", rfc3339(self.c.ring.date())).unwrap();
    }

    /// Turns until nothing is left to do, and tells what was decided.
    fn lead(&mut self) {
        loop {
            let plan = self.c.turn();
            if plan.commands.is_empty() {
                return;
            }
            for command in plan.commands {
                match command {
                    Command::Fire(firings) => firings.iter().for_each(|firing| self.tell(&told(firing))),
                    Command::Place(placements) => {
                        placements.iter().for_each(|p| self.tell(&format!("{} placed", p.task.short())));
                    }
                    Command::Finish { task, exit, .. } => self.tell(&format!("{} {exit}", task.short())),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Leads until that time, awake only when the plan asks for it; each task ends a minute after it was placed.
    fn lead_for(&mut self, millis: u64) {
        let end = Millis(self.c.now.0 + millis);
        loop {
            self.lead();
            let works = self.c.state.tasks.values().any(|task| matches!(task.place, Place::On { .. }));
            let wake =
                self.c.plan().wake_at.unwrap_or(end).min(if works { Millis(self.c.now.0 + MINUTE) } else { end });
            if wake >= end {
                return self.c.pass(end.0 - self.c.now.0);
            }
            self.c.pass(wake.0 - self.c.now.0);
            if works {
                self.c.end("shop/report", 0);
                self.c.end("shop/mail", 0);
            }
        }
    }

    fn jump(&mut self, date: UnixMillis) {
        let since = date.0 - self.c.ring.date().0;
        self.c.pass(since);
    }
}

fn told(firing: &Firing) -> String {
    let job = &firing.job;
    match &firing.decision {
        Decision::Start(Trigger::Slot(slot)) => format!("{job} starts, due {}", rfc3339(*slot)),
        Decision::Start(trigger) => format!("{job} starts, {trigger}"),
        Decision::Queue(slot) => format!("{job} waits, due {}", rfc3339(*slot)),
        Decision::Miss { last, count, why, .. } => format!("{job} misses {count} up to {}: {why}", rfc3339(*last)),
        Decision::Placed => format!("{job} has started"),
        Decision::Over => format!("{job} is over"),
        Decision::Expired => format!("{job} has taken too long"),
    }
}

#[test]
fn a_nightly_job_over_leader_changes_and_changes_of_the_clock() {
    let mut c = Cluster::of(1);
    c.ring.see_date(OCTOBER);
    let mut report = cron("@daily").missed(MissedPolicy::Run).epsilon(900);
    report.cron.as_mut().unwrap().schedule = Schedule::new("30 2 * * *", Some("Europe/Vienna")).unwrap();
    c.deploy(&app("shop", &[("report", report), ("mail", batch(1).after(&["report"]))]));
    let mut story = Story { c, lines: String::new() };

    story.lead_for(12 * HOUR);
    story.tell("-- the night with two hours from 02:00 to 03:00");
    story.lead_for(12 * HOUR + 30 * MINUTE);
    story.tell("-- the leader dies in the instant of the slot, its decision on its way");
    let late = story.c.plan();
    story.c.new_leader();
    story.lead();
    story.tell("-- that decision comes after the new leader's");
    late.commands.iter().for_each(|command| story.c.apply(command));
    story.lead_for(HOUR);
    story.tell("-- it is 02:30 again");
    story.lead_for(10 * HOUR);

    story.tell("-- nobody leads until ten minutes after the next slot");
    story.jump(UnixMillis(OCTOBER.0 + 49 * HOUR + 40 * MINUTE));
    story.c.new_leader();
    story.lead_for(HOUR);
    story.tell("-- nobody leads for three nights");
    story.c.without_leader(72 * HOUR);
    story.lead_for(HOUR);

    story.tell("-- nobody leads all winter");
    story.jump(MARCH);
    story.c.new_leader();
    story.lead_for(HOUR);
    story.tell("-- the night without the hour from 02:00 to 03:00");
    story.lead_for(24 * HOUR);
    assert_eq!(story.lines.trim_end(), EXPECTED.trim());
    let why = story
        .c
        .runs("shop/report")
        .history
        .iter()
        .filter(|past| past.to_string().contains(&Missed::NoLeader.to_string()));
    assert_eq!(why.count(), 2);
}

const EXPECTED: &str = "
2026-10-24T00:30:00Z  report starts, due 2026-10-24T00:30:00Z
2026-10-24T00:30:00Z  report.1 placed
2026-10-24T00:30:00Z  report has started
2026-10-24T00:31:00Z  report.1 exited with 0
2026-10-24T00:31:00Z  report is over
2026-10-24T00:31:00Z  mail starts, after the jobs before it
2026-10-24T00:31:00Z  mail.1 placed
2026-10-24T00:31:00Z  mail has started
2026-10-24T00:32:00Z  mail.1 exited with 0
2026-10-24T00:32:00Z  mail is over
2026-10-24T12:00:00Z  -- the night with two hours from 02:00 to 03:00
2026-10-25T00:30:00Z  -- the leader dies in the instant of the slot, its decision on its way
2026-10-25T00:30:00Z  report starts, due 2026-10-25T00:30:00Z
2026-10-25T00:30:00Z  report.1 placed
2026-10-25T00:30:00Z  report has started
2026-10-25T00:30:00Z  -- that decision comes after the new leader's
2026-10-25T00:31:00Z  report.1 exited with 0
2026-10-25T00:31:00Z  report is over
2026-10-25T00:31:00Z  mail starts, after the jobs before it
2026-10-25T00:31:00Z  mail.1 placed
2026-10-25T00:31:00Z  mail has started
2026-10-25T00:32:00Z  mail.1 exited with 0
2026-10-25T00:32:00Z  mail is over
2026-10-25T01:30:00Z  -- it is 02:30 again
2026-10-25T11:30:00Z  -- nobody leads until ten minutes after the next slot
2026-10-26T01:40:00Z  report starts, due 2026-10-26T01:30:00Z
2026-10-26T01:40:00Z  report.1 placed
2026-10-26T01:40:00Z  report has started
2026-10-26T01:41:00Z  report.1 exited with 0
2026-10-26T01:41:00Z  report is over
2026-10-26T01:41:00Z  mail starts, after the jobs before it
2026-10-26T01:41:00Z  mail.1 placed
2026-10-26T01:41:00Z  mail has started
2026-10-26T01:42:00Z  mail.1 exited with 0
2026-10-26T01:42:00Z  mail is over
2026-10-26T02:40:00Z  -- nobody leads for three nights
2026-10-29T02:40:00Z  report misses 2 up to 2026-10-28T01:30:00Z: nobody led the cluster in time
2026-10-29T02:40:00Z  report starts, due 2026-10-29T01:30:00Z
2026-10-29T02:40:00Z  report.1 placed
2026-10-29T02:40:00Z  report has started
2026-10-29T02:41:00Z  report.1 exited with 0
2026-10-29T02:41:00Z  report is over
2026-10-29T02:41:00Z  mail starts, after the jobs before it
2026-10-29T02:41:00Z  mail.1 placed
2026-10-29T02:41:00Z  mail has started
2026-10-29T02:42:00Z  mail.1 exited with 0
2026-10-29T02:42:00Z  mail is over
2026-10-29T03:40:00Z  -- nobody leads all winter
2027-03-27T12:00:00Z  report misses 148 up to 2027-03-26T01:30:00Z: nobody led the cluster in time
2027-03-27T12:00:00Z  report starts, due 2027-03-27T01:30:00Z
2027-03-27T12:00:00Z  report.1 placed
2027-03-27T12:00:00Z  report has started
2027-03-27T12:01:00Z  report.1 exited with 0
2027-03-27T12:01:00Z  report is over
2027-03-27T12:01:00Z  mail starts, after the jobs before it
2027-03-27T12:01:00Z  mail.1 placed
2027-03-27T12:01:00Z  mail has started
2027-03-27T12:02:00Z  mail.1 exited with 0
2027-03-27T12:02:00Z  mail is over
2027-03-27T13:00:00Z  -- the night without the hour from 02:00 to 03:00
2027-03-28T01:00:00Z  report starts, due 2027-03-28T01:00:00Z
2027-03-28T01:00:00Z  report.1 placed
2027-03-28T01:00:00Z  report has started
2027-03-28T01:01:00Z  report.1 exited with 0
2027-03-28T01:01:00Z  report is over
2027-03-28T01:01:00Z  mail starts, after the jobs before it
2027-03-28T01:01:00Z  mail.1 placed
2027-03-28T01:01:00Z  mail has started
2027-03-28T01:02:00Z  mail.1 exited with 0
2027-03-28T01:02:00Z  mail is over
";
