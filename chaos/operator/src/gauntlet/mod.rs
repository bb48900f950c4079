//! All ready-made experiments, one after the other, with clients that ask and write meanwhile; and what came of it.

mod orphans;

use crate::{
    fabric::Fabric,
    format::{Experiment, Given},
    load::sweep_writes,
    plan::Limits,
    ready::READY,
    run::{Options, Report, Tell, Verdict, run},
    timeline::{Request, Tally, worse},
};
use orphans::orphans;
use serde::Serialize;
use std::time::{Duration, Instant};
use taffeta_node::api::ApiError;
use tokio::{sync::watch, time::sleep};

/// How long the cluster may take to be whole before an experiment: the one before has just ended.
const STEADY_MAX: Duration = Duration::from_secs(60);
/// How long tasks that are to end may take to do so.
const ORPHANS_MAX: Duration = Duration::from_secs(15);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a gauntlet is to be.
#[derive(Clone, Debug)]
pub struct Gauntlet {
    /// No experiment begins after so long.
    pub lasts: Duration,
    /// Decides what is drawn.
    pub seed: u64,
    /// What a person allows; an experiment that needs more is left out.
    pub limits: Limits,
    /// Only these, by name; all if empty.
    pub only: Vec<String>,
    /// Whether the cluster is a demo that was started for it: then its processes and pages can be seen from here.
    pub own_demo: bool,
}

/// What came of a gauntlet.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scoreboard {
    /// What decided the draws.
    pub seed: u64,
    /// Whether the cluster was a demo that was started for it.
    pub own_demo: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// An experiment each.
    pub rows: Vec<Row>,
    /// All together: sums, and the worst of the times.
    pub total: Row,
}

/// What came of one experiment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// Its name.
    pub experiment: String,
    /// `held`, `deviated`, ...
    pub verdict: String,
    /// Why, if it did not hold.
    pub why: Vec<String>,
    /// Names, pages and writes that were asked for.
    pub requests: u64,
    /// Pages that were answered.
    pub pages: u64,
    /// Those that failed.
    pub failed: u64,
    /// Seconds in which requests of a kind failed one after the other, all together.
    pub out_s: f64,
    /// The longest of these.
    pub longest_s: f64,
    /// Until another one led.
    pub new_leader_s: Option<f64>,
    /// Until all names were right.
    pub names_right_s: Option<f64>,
    /// Until all instances served.
    pub full_strength_s: Option<f64>,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Promises about writes that were broken, above all acknowledged ones that are gone.
    pub lost: usize,
    /// Processes of tasks that nobody knows; `None` if the machines are not this one.
    pub orphans: Option<usize>,
}

impl Row {
    fn new(name: &str, report: &Report, orphans: Option<usize>) -> Self {
        let tallies: Vec<&Tally> = report.timeline.requests.values().collect();
        let unread = report.written.as_ref().is_some_and(|written| written.unread.is_some());
        Self {
            experiment: name.into(),
            verdict: report.verdict.to_string(),
            why: report.why.clone(),
            requests: tallies.iter().map(|tally| tally.right + tally.failed).sum(),
            pages: report.timeline.requests.get(&Request::Page).map(|tally| tally.right).unwrap_or_default(),
            failed: tallies.iter().map(|tally| tally.failed).sum(),
            out_s: tallies.iter().map(|tally| tally.out_s).sum(),
            longest_s: tallies.iter().map(|tally| tally.longest_s).fold(0.0, f64::max),
            new_leader_s: report.timeline.new_leader_s(),
            names_right_s: report.timeline.names_right_s(),
            full_strength_s: report.timeline.full_strength_s(),
            acknowledged: report.written.as_ref().map(|written| written.acknowledged).unwrap_or_default(),
            lost: report.written.as_ref().map(|written| written.violations.len()).unwrap_or_default()
                + usize::from(unread),
            orphans,
        }
    }

    /// One that could not even begin.
    fn not_run(name: &str, why: String) -> Self {
        Self { experiment: name.into(), verdict: "not run".into(), why: vec![why], ..Self::default() }
    }

    /// Takes another row in.
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.pages += other.pages;
        self.failed += other.failed;
        self.out_s += other.out_s;
        self.longest_s = self.longest_s.max(other.longest_s);
        self.new_leader_s = worse(self.new_leader_s, other.new_leader_s);
        self.names_right_s = worse(self.names_right_s, other.names_right_s);
        self.full_strength_s = worse(self.full_strength_s, other.full_strength_s);
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.orphans = self.orphans.max(other.orphans);
        if other.verdict != Verdict::Held.to_string() {
            self.verdict.clone_from(&other.verdict);
        }
    }
}

impl Scoreboard {
    /// Whether it is not confirmed that everything is undone.
    pub fn is_not_healed(&self) -> bool {
        self.rows.iter().any(|row| row.verdict == Verdict::NotHealed.to_string())
    }

    /// Whether every experiment held, no write was lost and no process was left; and whether there was anything to be
    /// lost: writes in each, and in a demo of its own pages, and processes that can be seen.
    pub fn is_clean(&self) -> bool {
        let held = Verdict::Held.to_string();
        let clean = |row: &Row| {
            let seen = row.acknowledged > 0 && (!self.own_demo || row.pages > 0 && row.orphans.is_some());
            row.verdict == held && row.lost == 0 && row.orphans.unwrap_or_default() == 0 && seen
        };
        !self.rows.is_empty() && self.rows.iter().all(clean)
    }
}

/// Runs it. `abort` turning true ends the experiment that is running, and the gauntlet. `each` gets every report. Fails
/// only if no node can be asked before anything was done.
pub async fn gauntlet(
    fabric: &Fabric,
    wish: &Gauntlet,
    tell: &mut dyn Tell,
    abort: &watch::Receiver<bool>,
    mut each: impl FnMut(&str, &Report),
) -> Result<Scoreboard, ApiError> {
    let began = Instant::now();
    let mut board = Scoreboard { seed: wish.seed, own_demo: wish.own_demo, ..Scoreboard::default() };
    let chosen =
        READY.into_iter().filter(|ready| wish.only.is_empty() || wish.only.iter().any(|name| name == ready.name));
    let chosen: Vec<_> = chosen.filter(|ready| !ready.breaks_quorum || wish.limits.allow_quorum_loss).collect();
    for (turn, ready) in chosen.iter().cycle().enumerate() {
        if began.elapsed() >= wish.lasts || *abort.borrow() {
            break;
        }
        // What comes with the program is tested to read.
        let Ok(experiment) = Experiment::read(ready.text, ready.name, &Given::default()) else { break };
        wait_steady(&experiment, fabric, tell, abort).await;
        if *abort.borrow() {
            break;
        }
        tell.told(&format!("{:7.1} s  {}: {}", began.elapsed().as_secs_f64(), ready.name, experiment.title));
        let options = Options {
            seed: wish.seed.wrapping_add(turn as u64),
            // Only what says so itself may break it.
            limits: Limits { allow_quorum_loss: ready.breaks_quorum },
            strict: false,
            load: true,
            writing: true,
        };
        let mut ended = abort.clone();
        let abort = async move {
            let _ = ended.wait_for(|ended| *ended).await; // whoever could say so is gone: so is the person
            "it was ended by a person".to_owned()
        };
        let report = match run(&experiment, fabric, options, tell, abort).await {
            Ok(report) => report,
            Err(e) if board.rows.is_empty() => return Err(e),
            // What was found before is told.
            Err(e) => {
                board.rows.push(Row::not_run(ready.name, e.message));
                break;
            }
        };
        let left = settle(fabric, tell).await;
        let row = Row::new(ready.name, &report, left);
        tell.told(&format!(
            "           {}{}",
            row.verdict,
            row.why.first().map(|why| format!(": {why}")).unwrap_or_default()
        ));
        each(ready.name, &report);
        board.rows.push(row);
        if let Some(written) = &report.written {
            sweep_writes(fabric, written).await;
        }
        if report.verdict == Verdict::NotHealed {
            break; // what comes next would be about two things
        }
    }
    board.seconds = began.elapsed().as_secs_f64();
    board.total = Row { experiment: "all".into(), verdict: Verdict::Held.to_string(), ..Row::default() };
    board.rows.iter().for_each(|row| board.total.add(row));
    Ok(board)
}

/// Waits until the hypothesis holds; whether it does is the run's to say.
async fn wait_steady(experiment: &Experiment, fabric: &Fabric, tell: &mut dyn Tell, abort: &watch::Receiver<bool>) {
    let until = Instant::now() + STEADY_MAX;
    while Instant::now() < until && !*abort.borrow() {
        match crate::run::check(experiment, fabric).await {
            Some(state) if !state.is_met() => tell.doing(&format!("waiting: {}", state.why().unwrap_or_default())),
            Some(_) | None => return,
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Waits until no process is left that nobody knows.
async fn settle(fabric: &Fabric, tell: &mut dyn Tell) -> Option<usize> {
    let until = Instant::now() + ORPHANS_MAX;
    loop {
        let tasks = fabric.tasks().await.ok()?;
        let left = orphans(&tasks)?;
        if left.is_empty() || Instant::now() > until {
            left.iter().for_each(|orphan| tell.told(&format!("           orphan: {orphan}")));
            return Some(left.len());
        }
        tell.doing(&format!("waiting for the end of {}", left.join(", ")));
        sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Scoreboard};
    use crate::run::Verdict;

    fn clean(own_demo: bool, change: impl Fn(&mut Row)) -> bool {
        let mut row =
            Row { verdict: Verdict::Held.to_string(), pages: 5, acknowledged: 5, orphans: Some(0), ..Row::default() };
        change(&mut row);
        Scoreboard { own_demo, rows: vec![row], ..Scoreboard::default() }.is_clean()
    }

    #[test]
    fn a_scoreboard_is_clean_only_if_there_was_something_to_be_lost() {
        assert!(clean(true, |_| {}) && clean(false, |_| {}));
        for own_demo in [true, false] {
            assert!(!clean(own_demo, |row| row.acknowledged = 0));
            assert!(!clean(own_demo, |row| row.lost = 1));
            assert!(!clean(own_demo, |row| row.orphans = Some(1)));
            assert!(!clean(own_demo, |row| row.verdict = Verdict::Deviated.to_string()));
            assert_eq!(clean(own_demo, |row| row.orphans = None), !own_demo);
            assert_eq!(clean(own_demo, |row| row.pages = 0), !own_demo);
        }
        assert!(!Scoreboard::default().is_clean(), "nothing was run");
        assert_eq!(Row::not_run("kill-leader", "no answer".into()).why, ["no answer"]);
    }
}
