//! Watching that faults are undone, and that a run may go on.

use super::{Abort, Runner, Tell, inject::Begun};
use crate::scene::Scene;
use std::time::Duration;
use taffeta_node::api::FaultState;
use tokio::{
    sync::watch::{self, Receiver, Sender},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Pause between two looks at what the nodes say of their faults.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long the quorum may be gone without anybody having allowed it: several elections.
const NO_QUORUM_MAX: Duration = Duration::from_secs(15);

/// Whether all is undone.
#[derive(Clone, Debug)]
pub(super) enum Mended {
    /// Every fault is known to be undone.
    All,
    /// These were not in time, in words; at the end they were.
    Late(Vec<String>),
    /// These are not, in words.
    Not(Vec<String>),
}

impl Mended {
    /// What is known at the very end: what was late may have been undone meanwhile.
    pub(super) fn at_the_end(self, runner: &Runner) -> Self {
        let left = open(runner);
        match self {
            _ if !left.is_empty() => Self::Not(left.iter().map(|begun| words_and_why(runner, begun)).collect()),
            Self::Not(late) => Self::Late(late),
            Self::All | Self::Late(_) => self,
        }
    }
}

/// The faults that are not known to be undone.
fn open(runner: &Runner) -> Vec<Begun> {
    runner.faults().begun.iter().filter(|begun| !begun.undone).cloned().collect()
}

/// Looks at the faults for ever.
pub(super) struct Mender {
    alarm: Receiver<Option<String>>,
}

impl Mender {
    pub(super) fn start(runner: &Runner, watchers: &mut JoinSet<()>) -> Self {
        let (raise, alarm) = watch::channel(None);
        watchers.spawn(look_for_ever(runner.clone(), raise));
        Self { alarm }
    }

    /// Returns when the run may not go on, and says why. Safe to cancel.
    pub(super) async fn safeguard(&self) -> String {
        let mut alarm = self.alarm.clone();
        match alarm.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // It ends only with the run.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until every fault is over by itself and confirmed.
    pub(super) async fn wait_until_due(&self, runner: &Runner, tell: &mut dyn Tell) -> Mended {
        loop {
            let left = open(runner);
            let Some(last) = left.iter().map(|begun| begun.due).max() else { return Mended::All };
            if runner.scene.now() > last + runner.confirm {
                // Nobody has confirmed it. It is asked for once more, then told.
                return self.undo_all(runner).await;
            }
            let due = last.saturating_sub(runner.scene.now()).as_secs();
            let names: Vec<String> = left.iter().map(words).collect();
            match due {
                0 => tell.doing(&format!("healing: {}", names.join(", "))),
                due => tell.doing(&format!("{due} s more: {}", names.join(", "))),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Undoes everything now, and waits until that is confirmed.
    pub(super) async fn undo_all(&self, runner: &Runner) -> Mended {
        let until = runner.scene.now() + runner.confirm;
        loop {
            let left = open(runner);
            if left.is_empty() {
                return Mended::All;
            }
            if runner.scene.now() > until {
                return Mended::Not(left.iter().map(words).collect());
            }
            let mut undone = JoinSet::new();
            for begun in left {
                let runner = runner.clone();
                undone.spawn(async move { undo(&runner, &begun.id, &begun.hit.node).await });
            }
            // A machine that stands still takes the question and gives no answer.
            let _ = timeout(until.saturating_sub(runner.scene.now()) + LOOK_EVERY, undone.join_all()).await;
            sleep(LOOK_EVERY).await;
        }
    }
}

fn words(begun: &Begun) -> String {
    format!("{} at {}", begun.hit.fault, begun.hit.node)
}

/// The same with what was heard of it last, if that was no good news.
fn words_and_why(runner: &Runner, begun: &Begun) -> String {
    let timeline = runner.scene.timeline();
    let why = timeline.faults.iter().find(|span| span.id == begun.id).and_then(|span| span.error.as_ref());
    why.map_or_else(|| words(begun), |why| format!("{} ({why})", words(begun)))
}

async fn undo(runner: &Runner, id: &str, node: &str) {
    match runner.fabric.undo(node, id).await {
        Ok(Some(view)) if view.state == FaultState::Undone => runner.mark_undone(id),
        Ok(Some(view)) => runner.note(id, |span| span.error = view.error.clone()),
        // The machine may just be starting: who does not know it now may know it in a moment. The watcher decides.
        Ok(None) => {}
        Err(e) => runner.note(id, |span| span.error = Some(e.message)),
    }
}

/// Takes in what the nodes say, and raises an alarm when the run may not go on.
async fn look_for_ever(runner: Runner, raise: Sender<Option<String>>) {
    loop {
        sleep(LOOK_EVERY).await;
        let open = open(&runner);
        if let Ok(chaos) = runner.fabric.chaos().await {
            for view in &chaos.faults {
                match view.state {
                    FaultState::Undone => runner.mark_undone(&view.id),
                    FaultState::NotUndone => runner.note(&view.id, |span| span.error = view.error.clone()),
                    FaultState::Planned | FaultState::Active => {}
                }
            }
            for begun in &open {
                // A machine that answers and knows nothing of it, long after its end: it is over there.
                let answers = chaos.nodes.iter().any(|node| node.node == begun.hit.node && node.answers);
                let unknown = !chaos.faults.iter().any(|view| view.id == begun.id);
                if answers && unknown && runner.scene.now() > begun.due + Duration::from_secs(5) {
                    runner.mark_undone(&begun.id);
                }
            }
            if let Some(blocked) = chaos.blocked {
                let why = if blocked.reason.is_empty() { "no reason given".into() } else { blocked.reason };
                raise.send_replace(Some(format!("faults were blocked by {}: {why}", blocked.by)));
            }
        }
        if !runner.options.limits.allow_quorum_loss && has_no_quorum(&runner.scene) {
            raise.send_replace(Some(format!(
                "no quorum for {} s, and nobody has allowed that",
                NO_QUORUM_MAX.as_secs()
            )));
        }
    }
}

fn has_no_quorum(scene: &Scene) -> bool {
    let timeline = scene.timeline();
    let Some(last) = timeline.samples.last() else { return false };
    let since = timeline.samples.iter().rev().take_while(|sample| !sample.quorum).last();
    since.is_some_and(|first| last.at_s - first.at_s > NO_QUORUM_MAX.as_secs_f64())
}

impl From<Abort> for String {
    fn from(abort: Abort) -> Self {
        abort.0
    }
}
