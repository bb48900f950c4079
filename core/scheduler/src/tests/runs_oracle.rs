//! Random histories of cron jobs against an oracle that keeps a list of all slots and what became of each.

use super::fixture::{Cluster, With, app, batch, cron};
use proptest::{collection::vec, prelude::*, sample::select};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{
    Calendar, Command, Decision, Firing, Job, Liveness, Missed, MissedPolicy, NodeId, Overlap, Place, QUEUE_MAX, Runs,
    Trigger, UnixMillis,
};

/// What became of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Started,
    Waits,
    Missed(Missed),
}

/// The oracle.
struct Oracle {
    calendar: Calendar,
    job: Job,
    walked: UnixMillis,
    /// Slots up to there without a fate.
    open: BTreeSet<UnixMillis>,
    /// Of each slot that was decided about.
    fates: BTreeMap<UnixMillis, Fate>,
    /// How often a run of the job, and of the one after it, began.
    begun: (u64, u64),
}

impl Oracle {
    fn of(c: &Cluster, job: &Job) -> Self {
        let deployed = c.ring.date();
        let calendar = job.cron.as_ref().unwrap().schedule.calendar(deployed).unwrap();
        let (walked, open) = (UnixMillis(deployed.0 - 1), BTreeSet::new());
        Self { calendar, job: job.clone(), walked, open, fates: BTreeMap::new(), begun: (0, 0) }
    }

    /// Walks all slots up to `date`, one by one; gives those without a fate.
    fn due(&mut self, date: UnixMillis) -> Vec<UnixMillis> {
        while let Some(next) = self.calendar.next_after(self.walked).filter(|next| *next <= date) {
            self.open.insert(next);
            self.walked = next;
        }
        self.open.range(..=date).copied().collect()
    }

    fn decided(&mut self, slot: UnixMillis, fate: Fate) -> Option<Fate> {
        self.open.remove(&slot);
        self.fates.insert(slot, fate)
    }

    fn is_late(&self, slot: UnixMillis, date: UnixMillis) -> bool {
        slot + self.job.cron.as_ref().unwrap().epsilon < date
    }

    /// Judges a decision by the runs before it, and notes what became of the slots.
    fn note(&mut self, firing: &Firing, before: &Runs) -> Result<(), TestCaseError> {
        let cron = self.job.cron.clone().unwrap();
        let due = self.due(firing.now);
        match &firing.decision {
            Decision::Start(Trigger::Slot(slot)) => {
                self.begun.0 += 1;
                let runs = before.current.is_some();
                prop_assert!(!runs || cron.overlap == Overlap::Replace, "two runs at once");
                if self.decided(*slot, Fate::Started) == Some(Fate::Waits) {
                    prop_assert_eq!(before.queue.first(), Some(slot), "those that wait go in order");
                    return Ok(());
                }
                prop_assert_eq!(due.first(), Some(slot), "the oldest slot is decided about first");
                prop_assert!(before.queue.is_empty(), "one that waits comes first");
                if self.is_late(*slot, firing.now) {
                    prop_assert!(cron.missed == MissedPolicy::Run && due.len() == 1, "{slot:?} is late: {due:?}");
                }
                prop_assert!(cron.overlap != Overlap::Replace || due.len() == 1);
            }
            Decision::Queue(slot) => {
                prop_assert_eq!(self.decided(*slot, Fate::Waits), None);
                prop_assert_eq!(due.first(), Some(slot));
                prop_assert!(cron.overlap == Overlap::Queue && before.current.is_some());
                let made_up = cron.missed == MissedPolicy::Run && due.len() == 1;
                prop_assert!(made_up || !self.is_late(*slot, firing.now));
            }
            Decision::Miss { first, last, count, why } => {
                let missed: Vec<UnixMillis> = due.iter().copied().filter(|slot| slot <= last).collect();
                prop_assert_eq!((missed.first(), missed.last()), (Some(first), Some(last)));
                prop_assert_eq!(missed.len().min(1000), *count as usize);
                let newer = due.len() > missed.len();
                for slot in missed {
                    prop_assert_eq!(self.decided(slot, Fate::Missed(*why)), None, "{:?} has a fate already", slot);
                    let right = match why {
                        Missed::NoLeader => {
                            self.is_late(slot, firing.now) && (cron.missed == MissedPolicy::Skip || newer)
                        }
                        Missed::Overlap => cron.overlap == Overlap::Skip && before.current.is_some(),
                        Missed::QueueFull => before.queue.len() == QUEUE_MAX && before.current.is_some(),
                        Missed::Newer => cron.overlap == Overlap::Replace && newer,
                        Missed::Changed => false,
                        Missed::NoInstance => self.job.count == 0,
                    };
                    prop_assert!(right, "{:?} is missed for a wrong reason: {}", slot, why);
                }
            }
            Decision::Start(Trigger::After) => self.begun.1 += 1,
            Decision::Start(Trigger::Deploy | Trigger::ByHand { .. }) => prop_assert!(false, "{firing:?}"),
            Decision::Placed | Decision::Over | Decision::Expired => {}
        }
        Ok(())
    }

    /// While somebody leads, each slot that is due has a fate, and its history tells of it.
    fn invariant_each_due_slot_has_a_fate(&mut self, c: &Cluster) -> Result<(), TestCaseError> {
        let runs = c.runs("shop/report");
        prop_assert_eq!(self.due(c.ring.date()), vec![], "passed over");
        let waits: Vec<UnixMillis> =
            self.fates.iter().filter(|(_, fate)| **fate == Fate::Waits).map(|(slot, _)| *slot).collect();
        prop_assert_eq!(&waits, &runs.queue);
        let newest = self.fates.keys().next_back();
        prop_assert!(newest.is_none_or(|newest| runs.handled >= *newest));
        if let Some((slot, Fate::Missed(why))) = self.fates.last_key_value() {
            let told = c.history("shop/report");
            let told =
                told.len() == 20 || told.iter().any(|line| line.contains("missed") && line.ends_with(&why.to_string()));
            prop_assert!(told, "nothing tells of {:?}: {:?}", slot, c.history("shop/report"));
        }
        Ok(())
    }
}

/// Turns until nothing is left to do. Each decision on runs is written twice, as by a leader that does not know whether
/// it was the first time.
fn lead(c: &mut Cluster, oracle: &mut Oracle, old: &mut Vec<Command>) -> Result<(), TestCaseError> {
    for _ in 0..200 {
        let (anew, plan) = (c.plan(), c.scheduler.borrow_mut().plan(c.now, &c.state, &mut c.ring));
        prop_assert_eq!(&plan.commands, &anew.commands, "the scheduler missed a change");
        if plan.commands.is_empty() {
            return oracle.invariant_each_due_slot_has_a_fate(c);
        }
        for command in &plan.commands {
            let Command::Fire(firings) = command else {
                c.apply(command);
                continue;
            };
            for firing in firings {
                let job = format!("shop/{}", firing.job);
                let before = c.runs(&job).clone();
                c.apply(&Command::Fire(vec![firing.clone()]));
                prop_assert_eq!(c.runs(&job).changed, c.state.applied, "{:?} came to nothing", firing);
                oracle.note(firing, &before)?;
                write_again(c, std::slice::from_ref(firing))?;
                old.push(Command::Fire(vec![firing.clone()]));
            }
        }
    }
    Err(TestCaseError::fail(format!("no end to the decisions: {:?}", c.plan())))
}

/// Turns until nothing is left to do. `sum` is a job after `report` and `mail`, which has begun that often: it begins only
/// when both have finished more often than that.
fn lead_after_two(c: &mut Cluster, begun: &mut u64) -> Result<(), TestCaseError> {
    for _ in 0..200 {
        let plan = c.scheduler.borrow_mut().plan(c.now, &c.state, &mut c.ring);
        if plan.commands.is_empty() {
            return Ok(());
        }
        for command in &plan.commands {
            let Command::Fire(firings) = command else {
                c.apply(command);
                continue;
            };
            for firing in firings {
                if firing.job.as_str() == "sum" && firing.decision == Decision::Start(Trigger::After) {
                    *begun += 1;
                    prop_assert!(*begun <= least_finished(c), "it begins for the {begun}. time: {firing:?}");
                }
                c.apply(&Command::Fire(vec![firing.clone()]));
            }
        }
    }
    Err(TestCaseError::fail(format!("no end to the decisions: {:?}", c.plan())))
}

/// How often both jobs have finished.
fn least_finished(c: &Cluster) -> u64 {
    c.runs("shop/report").finished.min(c.runs("shop/mail").finished)
}

/// What was decided once changes nothing a second time.
fn write_again(c: &mut Cluster, firings: &[Firing]) -> Result<(), TestCaseError> {
    let (apps, tasks) = (c.state.apps.clone(), c.state.tasks.clone());
    c.apply(&Command::Fire(firings.to_vec()));
    prop_assert!(apps == c.state.apps && tasks == c.state.tasks, "done twice: {:?}", firings);
    Ok(())
}

/// What may happen to a cron job.
#[derive(Clone, Debug)]
enum Event {
    /// Time, while somebody leads.
    Pass(u64),
    /// Time, while nobody does.
    Leaderless(u64),
    /// Another leader, whose clock is off by so many seconds.
    NewLeader(i64),
    /// All that runs ends so, of the job or of the one after it.
    End(bool, i32),
    Run,
    See(u64, Liveness),
    /// An old decision comes to the log late.
    Stale(usize),
}

fn happen(c: &mut Cluster, event: &Event, old: &[Command]) -> Result<(), TestCaseError> {
    match event {
        Event::Pass(millis) => c.pass(*millis),
        Event::Leaderless(millis) => c.without_leader(*millis),
        Event::NewLeader(skew) => {
            c.new_leader();
            let date = c.ring.date().0.saturating_add_signed(skew * 1000);
            c.ring.see_date(UnixMillis(date));
        }
        Event::End(first, exit) => c.end(if *first { "shop/report" } else { "shop/mail" }, *exit),
        Event::Run => {
            let (job, now) = ("report".parse().unwrap(), c.ring.date());
            if c.runs("shop/report").current.is_none() && c.state.apps.values().all(|app| app.app.jobs[&job].count > 0)
            {
                c.apply(&Command::Run { app: "shop".parse().unwrap(), job, args: vec![], now });
            }
        }
        Event::See(i, liveness) => c.see(i % 2 + 1, *liveness, true),
        Event::Stale(i) => {
            if let Some(Command::Fire(firings)) = i.checked_rem(old.len()).map(|i| &old[i]) {
                write_again(c, firings)?;
            }
        }
    }
    Ok(())
}

fn an_event() -> impl Strategy<Value = Event> {
    use Liveness::{Alive, Down, Suspect};
    prop_oneof![
        5 => (0..200_000_u64).prop_map(Event::Pass),
        2 => (0..1_200_000_u64).prop_map(Event::Leaderless),
        2 => select(vec![0, 0, 0, 1, -1, 40, -40]).prop_map(Event::NewLeader),
        5 => (any::<bool>(), select(vec![0, 0, 1])).prop_map(|(first, exit)| Event::End(first, exit)),
        1 => Just(Event::Run),
        1 => (0..2_u64, select(vec![Alive, Alive, Suspect, Down])).prop_map(|(i, liveness)| Event::See(i, liveness)),
        2 => any::<usize>().prop_map(Event::Stale),
    ]
}

fn a_job() -> impl Strategy<Value = Job> {
    let schedule =
        select(vec!["* * * * *", "*/7 * * * *", "R//PT90S", "R5//PT2M", "0,30 * * * *", "R//PT1S", "@hourly"]);
    let overlap = select(vec![Overlap::Skip, Overlap::Queue, Overlap::Replace]);
    let missed = select(vec![MissedPolicy::Skip, MissedPolicy::Run]);
    let deadline = prop::option::of(60..600_u64);
    (schedule, overlap, missed, 0..300_u64, 0..3_u32, deadline).prop_map(
        |(schedule, overlap, missed, epsilon, count, deadline)| {
            let job = cron(schedule).overlap(overlap).missed(missed).epsilon(epsilon).count(count);
            Job { deadline: deadline.map(Duration::from_secs), ..job }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Each slot that is due while somebody leads starts once, or is told as missed for a reason that is true; and each
    /// run has the run after it.
    #[test]
    fn each_slot_starts_once_or_is_missed_for_a_reason(job in a_job(), events in vec(an_event(), 1..30)) {
        let (mut c, mut old) = (Cluster::of(2), vec![]);
        c.pass(1);
        c.deploy(&app("shop", &[("report", job.clone()), ("mail", batch(1).after(&["report"]))]));
        let mut oracle = Oracle::of(&c, &job);
        lead(&mut c, &mut oracle, &mut old)?;
        for event in events {
            happen(&mut c, &event, &old)?;
            lead(&mut c, &mut oracle, &mut old)?;
        }
        (1..=2).for_each(|i| c.see(i, Liveness::Alive, false));
        // All goes well, and the clock stands still: what waits runs, one after the other.
        for _ in 0..100 {
            c.all_well();
            lead(&mut c, &mut oracle, &mut old)?;
        }
        let (report, mail) = (c.runs("shop/report"), c.runs("shop/mail"));
        prop_assert!(report.current.is_none() && report.queue.is_empty() && mail.current.is_none());
        prop_assert_eq!(report.finished, oracle.begun.1, "each run that ended well has the run after it");
        let placed = c.state.tasks.values().filter(|task| matches!(task.place, Place::On { .. }));
        prop_assert_eq!(placed.map(|task| task.node()).collect::<BTreeSet<Option<NodeId>>>().len(), 0);
    }

    /// A job after two others runs when both have finished at least as often as it, and in the end as often as the one
    /// that has finished least.
    #[test]
    fn a_job_after_two_runs_as_often_as_both_have_finished(
        report in a_job(),
        mail in a_job(),
        events in vec(an_event(), 1..30),
    ) {
        let (mut c, mut begun) = (Cluster::of(2), 0);
        c.pass(1);
        let sum = batch(1).after(&["report", "mail"]);
        c.deploy(&app("shop", &[("report", report), ("mail", mail), ("sum", sum)]));
        lead_after_two(&mut c, &mut begun)?;
        for event in events {
            happen(&mut c, &event, &[])?;
            c.end("shop/sum", 0);
            lead_after_two(&mut c, &mut begun)?;
        }
        (1..=2).for_each(|i| c.see(i, Liveness::Alive, false));
        for _ in 0..100 {
            c.all_well();
            lead_after_two(&mut c, &mut begun)?;
        }
        prop_assert!(c.runs("shop/sum").current.is_none());
        prop_assert_eq!(begun, least_finished(&c));
    }
}
