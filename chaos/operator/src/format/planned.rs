//! A fault plan of the simulator as an experiment on real nodes, for the faults that both know.

use super::{
    experiment::{Activity, Experiment, Hypothesis, Provider, Rules},
    look::{Look, Scope},
    secrets::Secrets,
    strike::{LASTS_MAX, Place, Strike},
};
use crate::{
    text::{Node, Value, Wrong},
    tolerance::Tolerance,
};
use serde_json::json;
use std::time::Duration;
use taffeta_chaos_plan::{Fault, FaultKind, FaultPlan, PartitionShape, Planned};

pub(super) fn experiment(source: &Node, text: &str, name: &str) -> Result<Experiment, Wrong> {
    let plan: FaultPlan = serde_json::from_str(text).map_err(|e| {
        let told = e.to_string();
        let what = told.rsplit_once(" at line ").map_or(told.as_str(), |(what, _)| what);
        Wrong::at(e.line(), "faults", what)
    })?;
    plan.check().map_err(|e| Wrong::at(line(source, None), "", e.to_string()))?;
    let mut method = vec![];
    let mut before = Duration::ZERO;
    for (index, planned) in plan.faults.iter().enumerate() {
        let field = format!("faults[{index}]");
        let strike = strike(planned).map_err(|wrong| Wrong {
            line: line(source, Some(index)),
            field: field.clone(),
            ..wrong
        })?;
        method.push(Activity {
            name: planned.to_string(),
            is_probe: false,
            provider: Provider::Strike(Box::new(strike)),
            tolerance: None,
            background: false,
            before: planned.at - before,
            after: Duration::ZERO,
            place: (field, line(source, Some(index))),
            source: json!({"type": "action", "name": planned.to_string(), "fault": planned}),
        });
        before = planned.at;
    }
    Ok(Experiment {
        title: format!("fault plan {}", name.rsplit('/').next().unwrap_or(name)),
        description: "The faults of a plan, and all as it was afterwards".into(),
        tags: vec![],
        hypothesis: Some(usual_hypothesis()),
        method,
        rollbacks: vec![],
        rules: Rules::default(),
        ignored: vec![],
        secrets: Secrets::default(),
        source: source.to_json(),
    })
}

/// What every healthy cluster shows.
pub(crate) fn usual_hypothesis() -> Hypothesis {
    let probe = |name: &str, look: Look, expected: serde_json::Value| Activity {
        name: name.into(),
        is_probe: true,
        provider: Provider::Look(look),
        tolerance: Some(Tolerance::Equal(expected)),
        background: false,
        before: Duration::ZERO,
        after: Duration::ZERO,
        place: ("steady-state-hypothesis".into(), 1),
        source: json!({"type": "probe", "name": name}),
    };
    let probes = vec![
        probe("writes are possible", Look::Quorum, json!(true)),
        probe("every name is right at every machine", Look::Names(Scope::default()), json!(1)),
        probe("every service has its full strength", Look::Strength(Scope::default()), json!(1)),
    ];
    Hypothesis { title: "the cluster is whole".into(), probes }
}

fn line(source: &Node, index: Option<usize>) -> usize {
    let faults = source.entry("faults").map(|faults| &faults.value);
    match (faults, index) {
        (Some(Value::List(items)), Some(index)) => items.get(index).map_or(source.line, |item| item.line),
        (Some(_) | None, _) => source.line,
    }
}

fn strike(planned: &Planned) -> Result<Strike, Wrong> {
    let wrong = |what: String| Err(Wrong::at(0, "", what));
    let Planned { lasts, target, fault, .. } = planned;
    if let Some(why) = only_simulated(fault) {
        let what = format!("the fault `{}` is only simulated: {why}", fault.kind());
        let help = "`taffeta chaos sim --plan FILE` performs it; for real nodes leave it out";
        return wrong(what).map_err(|wrong: Wrong| wrong.help(help));
    }
    let one_by_one = *fault == Fault::Rolling;
    let lasts = match lasts {
        Some(lasts) => *lasts,
        None if one_by_one || *fault == Fault::Leader => Duration::from_secs(1),
        None => return wrong("`lasts_ms` is missing: on real nodes every fault has an end".into()),
    };
    if lasts > LASTS_MAX {
        return wrong(format!("lasts_ms is {}; on real nodes at most {}", lasts.as_millis(), LASTS_MAX.as_millis()));
    }
    let fault = if one_by_one { Fault::Stop } else { *fault };
    Ok(Strike { fault, place: Place::Nodes { target: target.clone(), except: None }, peers: None, lasts, one_by_one })
}

/// Why real nodes cannot do it.
fn only_simulated(fault: &Fault) -> Option<&'static str> {
    match fault.kind() {
        FaultKind::Partition => match fault {
            Fault::Partition { shape: PartitionShape::Bridge | PartitionShape::Swizzle } => {
                Some("of partitions, real nodes know split, one-way-in and one-way-out")
            }
            _ => None, // of the kind `Partition` there is nothing else
        },
        FaultKind::Wipe | FaultKind::Remove | FaultKind::Move | FaultKind::Copy => {
            Some("nobody brings back a disk or an identity that is gone")
        }
        FaultKind::QuorumLost => Some("it ends with a recovery, which is an operator's decision"),
        FaultKind::TaskCrash | FaultKind::TaskHang | FaultKind::TaskIgnoreTerm | FaultKind::TaskFailHealth => {
            Some("real tasks are struck by `kill` and `pause` with `task` in an experiment")
        }
        FaultKind::Slow => Some("the kernel shares its time itself; `cpu` takes some of it away"),
        FaultKind::Lie => Some("real nodes do not lie on purpose"),
        FaultKind::Lag => Some("a `partition` that lasts does the same"),
        FaultKind::Upgrade | FaultKind::Rotate => Some("it is an operator's own work, not a fault"),
        FaultKind::KillAgent
        | FaultKind::KillMachine
        | FaultKind::PowerCut
        | FaultKind::Stop
        | FaultKind::Pause
        | FaultKind::DiskFull
        | FaultKind::Loss
        | FaultKind::Delay
        | FaultKind::Duplicate
        | FaultKind::Reorder
        | FaultKind::ClockOffset
        | FaultKind::ClockDrift
        | FaultKind::Rolling
        | FaultKind::Bandwidth
        | FaultKind::Cpu
        | FaultKind::Memory
        | FaultKind::Dns
        | FaultKind::Drain
        | FaultKind::Leader => None,
    }
}
