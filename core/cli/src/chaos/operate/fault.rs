//! Single faults: begin, end, list; and single probes.

use super::{
    super::args::{AllowArgs, HaltArgs, InjectArgs, ProbeArgs, StateArgs},
    connect::connect,
    fresh_seed, tables,
};
use crate::{
    args::ApiFlags,
    failure::{Failure, Outcome},
    output::{print, remark, show},
};
use std::time::{Duration, Instant};
use taffeta_chaos_operator::{
    Fabric, Limits, Single, Verdict, Wrong, ask,
    format::{Look, Strike},
    inject as begin,
};
use taffeta_node::api::{FaultState, FaultView};
use tokio::time::sleep;

/// How long after its end a fault may take to be confirmed undone.
const CONFIRM_MAX: Duration = Duration::from_secs(45);
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
    let views = begin(&fabric, &single).await?;
    show(args.output.format, &views, |views| tables::faults(views))
}

pub(super) async fn stop(before: ApiFlags, args: HaltArgs) -> Outcome {
    if !args.all && args.id.is_none() && args.run.is_none() {
        return Err(Failure::wrong("what is to be stopped?").help("name a fault's ID, --run NAME, or --all"));
    }
    let fabric = connect(before, args.fabric)?;
    if args.all {
        let stopped = fabric.stop(&args.reason).await?;
        print(&tables::stopped(&stopped))?;
        if !stopped.not_undone.is_empty() {
            let left: Vec<String> =
                stopped.not_undone.iter().map(|view| format!("{} at {}", view.fault, view.node)).collect();
            return Err(not_confirmed(&left));
        }
        if !stopped.unreachable.is_empty() {
            return Err(not_confirmed(&stopped.unreachable));
        }
        return Ok(());
    }
    let chaos = fabric.chaos().await?;
    let meant = |view: &&FaultView| match &args.id {
        Some(id) => view.id == *id,
        None => Some(&view.run) == args.run.as_ref() && is_on(view),
    };
    let meant: Vec<FaultView> = chaos.faults.iter().filter(meant).cloned().collect();
    if let (Some(id), true) = (&args.id, meant.is_empty()) {
        return Err(Failure::failed(format!("no fault `{id}` is known")).help("`taffeta chaos status` lists them"));
    }
    let mut left = vec![];
    for view in &meant {
        match fabric.undo(&view.node, &view.id).await? {
            Some(undone) if is_on(&undone) => left.push(format!("{} at {}", view.fault, view.node)),
            Some(_) | None => remark(&format!("undone: {} at {}", view.fault, view.node)),
        }
    }
    if left.is_empty() { Ok(()) } else { Err(not_confirmed(&left)) }
}

fn not_confirmed(what: &[String]) -> Failure {
    Failure::experiment(Verdict::NotHealed, format!("it is not confirmed that all is undone: {}", what.join(", ")))
        .help("each node undoes its faults at their deadline, whatever happens; see `taffeta chaos status`")
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
        wait(&fabric, args.run.as_deref()).await?;
    }
    let mut chaos = fabric.chaos().await?;
    chaos.faults.retain(|view| args.run.as_ref().is_none_or(|run| view.run == *run));
    show(args.output.format, &chaos, tables::chaos)
}

/// Waits until no fault of the run is on any more, at the latest a while after the last deadline.
async fn wait(fabric: &Fabric, run: Option<&str>) -> Outcome {
    let began = Instant::now();
    let mut over: Option<Instant> = None;
    loop {
        let chaos = fabric.chaos().await;
        let silent = chaos.as_ref().map_or(true, |chaos| chaos.nodes.iter().any(|node| !node.answers && node.chaos));
        let on = chaos.map(|chaos| chaos.faults.into_iter().filter(|f| is_on(f) && run.is_none_or(|run| f.run == run)));
        let left: Vec<FaultView> = on.map(Iterator::collect).unwrap_or_default();
        if left.is_empty() && !silent {
            return Ok(());
        }
        let due = left.iter().filter(|view| view.state == FaultState::Active).count();
        over = if due == 0 { over.or_else(|| Some(Instant::now())) } else { None };
        if over.is_some_and(|over| over.elapsed() > CONFIRM_MAX) || began.elapsed() > WAIT_MAX {
            let mut left: Vec<String> = left.iter().map(|view| format!("{} at {}", view.fault, view.node)).collect();
            if left.is_empty() {
                left.push("a machine does not answer".into());
            }
            return Err(not_confirmed(&left));
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
