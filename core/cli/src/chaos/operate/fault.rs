//! Single faults: begin, end, list; and single probes.

use super::{
    super::args::{AllowArgs, HaltArgs, InjectArgs, ProbeArgs, StateArgs},
    HELP,
    connect::connect,
    fresh_seed, tables, unanswered,
};
use crate::{
    args::ApiFlags,
    failure::{Failure, Outcome},
    output::{print, remark, show},
};
use std::time::{Duration, Instant};
use taffeta_chaos_operator::{
    Fabric, Limits, NotInjected, Single, Verdict, Wrong, ask,
    format::{Look, Strike},
    inject as begin,
};
use taffeta_node::api::{FaultState, FaultView};
use tokio::time::sleep;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Longest wait for faults to end: the longest that one may last.
const WAIT_MAX: Duration = Duration::from_secs(3_700);

fn wrong(wrong: Wrong) -> Failure {
    // There is no line in a command.
    Failure::wrong(wrong.what).maybe_help(wrong.help)
}

pub(super) async fn inject(before: ApiFlags, args: InjectArgs) -> Outcome {
    let strike = Strike::from_words(&args.func, &args.arguments()).map_err(wrong)?;
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let single = Single {
        strike,
        run: args.run.clone().unwrap_or_else(|| "inject".into()),
        name: args.name.clone().unwrap_or_else(|| args.func.clone()),
        seed,
        limits: Limits { allow_quorum_loss: args.allow_quorum_loss },
        dry_run: args.dry_run,
    };
    let fabric = connect(before, args.fabric)?;
    remark(&format!("{}; seed {seed}", single.strike));
    let views = begin(&fabric, &single).await.map_err(|e| match e {
        NotInjected::Failed(e) => e.into(),
        NotInjected::NotHealed(why) => Failure::experiment(Verdict::NotHealed, why).help(HELP),
    })?;
    show(args.output.format, &views, |views| tables::faults(views))
}

pub(super) async fn stop(before: ApiFlags, args: HaltArgs) -> Outcome {
    if !args.all && args.id.is_none() && args.run.is_none() {
        return Err(Failure::wrong("what is to be stopped?").help("name a fault's ID, --run NAME, or --all"));
    }
    let fabric = connect(before, args.fabric)?;
    if args.all {
        let stopped = fabric.stop(&args.reason).await.map_err(unanswered)?;
        print(&tables::stopped(&stopped))?;
        let left = stopped.not_undone.iter().map(words);
        let silent = stopped.unreachable.iter().map(|node| format!("{node} does not answer"));
        return confirmed(left.chain(silent).collect());
    }
    let chaos = fabric.chaos().await.map_err(unanswered)?;
    let meant = |view: &&FaultView| match &args.id {
        Some(id) => view.id == *id,
        None => Some(&view.run) == args.run.as_ref() && is_on(view),
    };
    let meant: Vec<FaultView> = chaos.faults.iter().filter(meant).cloned().collect();
    if let (Some(id), true) = (&args.id, meant.is_empty()) {
        return Err(Failure::failed(format!("no fault `{id}` is known")).help("`taffeta chaos status` lists them"));
    }
    let mut left = vec![];
    // All at once: a machine that does not answer keeps no other waiting.
    let undone = meant.into_iter().map(|view| {
        let fabric = fabric.clone();
        tokio::spawn(async move { (fabric.undo(&view.node, &view.id).await, view) })
    });
    for one in undone.collect::<Vec<_>>() {
        let (undone, view) = one.await.map_err(|e| Failure::failed(e.to_string()))?;
        match undone {
            Ok(Some(now)) if is_on(&now) => left.push(words(&now)),
            Ok(Some(_)) => remark(&format!("undone: {} at {}", view.fault, view.node)),
            Ok(None) => remark(&format!("nobody knows it any more: {} at {}", view.fault, view.node)),
            Err(e) if e.code.may_pass() => left.push(format!("{} at {} ({})", view.fault, view.node, e.message)),
            Err(e) => return Err(e.into()),
        }
    }
    confirmed(left)
}

/// A fault, and why it is not undone if that is known.
fn words(view: &FaultView) -> String {
    let why = view.error.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{} at {}{why}", view.fault, view.node)
}

/// That nothing is left that nobody confirms.
fn confirmed(left: Vec<String>) -> Outcome {
    if left.is_empty() {
        return Ok(());
    }
    let what = format!("it is not confirmed that all is undone: {}", left.join(", "));
    Err(Failure::experiment(Verdict::NotHealed, what).help(HELP))
}

fn is_on(view: &FaultView) -> bool {
    matches!(view.state, FaultState::Active | FaultState::NotUndone)
}

pub(super) async fn allow(before: ApiFlags, args: AllowArgs) -> Outcome {
    connect(before, args.fabric)?.allow().await?;
    Ok(())
}

pub(super) async fn status(before: ApiFlags, args: StateArgs) -> Outcome {
    let fabric = connect(before, args.fabric)?;
    if args.wait {
        wait(&fabric, args.run.as_deref(), args.confirm).await?;
    }
    let mut chaos = fabric.chaos().await?;
    chaos.faults.retain(|view| args.run.as_ref().is_none_or(|run| view.run == *run));
    show(args.output.format, &chaos, tables::chaos)
}

/// Waits until no fault of the run is on any more, at the latest so long after the last deadline. A machine that has opted
/// in and does not answer may have one that nobody else knows.
async fn wait(fabric: &Fabric, run: Option<&str>, confirm: Duration) -> Outcome {
    let began = Instant::now();
    let mut over: Option<Instant> = None;
    loop {
        let (on, silent) = match fabric.chaos().await {
            Ok(chaos) => {
                let silent = chaos.nodes.iter().filter(|node| !node.answers && node.chaos);
                let silent: Vec<String> = silent.map(|node| format!("{} does not answer", node.node)).collect();
                let mine = |view: &FaultView| is_on(view) && run.is_none_or(|run| view.run == run);
                (chaos.faults.into_iter().filter(mine).collect(), silent)
            }
            Err(e) => (vec![], vec![e.message]),
        };
        let on: Vec<FaultView> = on;
        if on.is_empty() && silent.is_empty() {
            return Ok(());
        }
        let due = on.iter().any(|view| view.state == FaultState::Active);
        over = if due { None } else { over.or_else(|| Some(Instant::now())) };
        if over.is_some_and(|over| over.elapsed() > confirm) || began.elapsed() > WAIT_MAX {
            return confirmed(on.iter().map(words).chain(silent).collect());
        }
        sleep(LOOK_EVERY).await;
    }
}

pub(super) async fn probe(before: ApiFlags, args: ProbeArgs) -> Outcome {
    let look = Look::from_words(&args.func, &args.arguments()).map_err(wrong)?;
    let fabric = connect(before, args.fabric)?;
    let (found, met) = ask(&fabric, look, args.tolerance.as_deref()).await.map_err(wrong)?;
    let found = found.map_err(Failure::failed)?;
    print(&found.to_string())?;
    match met {
        Some(false) => Err(Failure::failed(format!("this is not {}", args.tolerance.unwrap_or_default()))),
        Some(true) | None => Ok(()),
    }
}
