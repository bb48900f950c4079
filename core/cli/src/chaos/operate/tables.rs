//! What these verbs print for people.

use crate::output::{or_dash, table};
use taffeta_chaos_operator::{Plan, PlannedStrike, Report, Row, Scoreboard, Verdict};
use taffeta_node::api::{ChaosStopView, ChaosView, FaultView};

/// Who would be struck, by what, and what that takes away.
pub(super) fn plan(plan: &Plan) -> String {
    let mut text =
        format!("{}\nseed {}: give it to `run` with --seed, and the same are struck\n", plan.title, plan.seed);
    for strike in &plan.strikes {
        text += &format!("\n{:.1} s   {}: {}\n", strike.at_s, strike.name, strike.fault);
        text += &strikes(strike);
    }
    if plan.strikes.is_empty() {
        text += "\nno fault is in it\n";
    }
    for why in &plan.refusals {
        text += &format!("\nrefused: {why}\n");
    }
    text
}

fn strikes(strike: &PlannedStrike) -> String {
    if let Some(why) = &strike.error {
        return format!("    nobody can be struck: {why}\n");
    }
    let mut text = strike.supposed.as_ref().map(|what| format!("    {what}\n")).unwrap_or_default();
    for hit in &strike.hits {
        let peers = if hit.peers.is_empty() { String::new() } else { format!(" towards {}", hit.peers.join(", ")) };
        text += &format!("    {}{peers}   by {}\n", hit.node, or_dash(hit.backend.clone()));
        text.extend(hit.commands.iter().map(|command| format!("        {command}\n")));
    }
    text += &format!("    takes away: {}\n", strike.blast.words());
    if !strike.blast.tasks.is_empty() {
        text += &format!("    tasks: {}\n", strike.blast.tasks.join(", "));
    }
    text
}

/// What came of a run.
pub(super) fn report(report: &Report) -> String {
    let mut rows = vec![("verdict", report.verdict.to_string())];
    if report.verdict != Verdict::Refused {
        let timeline = &report.timeline;
        rows.push(("another leader after", seconds(timeline.new_leader_s())));
        rows.push(("names right after", seconds(timeline.names_right_s())));
        rows.push(("full strength after", seconds(timeline.full_strength_s())));
        let counted = timeline.requests.values().fold((0, 0, 0.0), |(all, failed, out), tally| {
            (all + tally.right + tally.failed, failed + tally.failed, out + tally.out_s)
        });
        let (all, failed, out) = counted;
        rows.push(("requests failed", format!("{failed} of {all}, over {out:.1} s")));
        if let Some(written) = &report.written {
            let (kept, lost) = (written.acknowledged, written.violations.len());
            rows.push(("writes", format!("{kept} acknowledged, {lost} promises broken")));
        }
    }
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:22}{value}\n")).collect();
    text.extend(report.why.iter().map(|why| format!("  {why}\n")));
    text
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |seconds| format!("{seconds:.1} s"))
}

/// The scoreboard.
pub(super) fn scoreboard(board: &Scoreboard) -> String {
    let header = [
        "EXPERIMENT",
        "VERDICT",
        "REQUESTS",
        "FAILED",
        "FOR",
        "LONGEST",
        "LEADER",
        "NAMES",
        "STRENGTH",
        "WRITES",
        "LOST",
        "ORPHANS",
    ];
    let mut text = table(&header, board.rows.iter().chain([&board.total]).map(row));
    for row in board.rows.iter().filter(|row| !row.why.is_empty()) {
        text += &format!("\n{}: {}", row.experiment, row.why.join("; "));
    }
    text + &format!("\n{:.0} s, seed {}", board.seconds, board.seed)
}

fn row(row: &Row) -> Vec<String> {
    let s = |value: f64| format!("{value:.1} s");
    vec![
        row.experiment.clone(),
        row.verdict.clone(),
        row.requests.to_string(),
        row.failed.to_string(),
        s(row.out_s),
        s(row.longest_s),
        seconds(row.new_leader_s),
        seconds(row.names_right_s),
        seconds(row.full_strength_s),
        row.acknowledged.to_string(),
        row.lost.to_string(),
        row.orphans.map_or_else(|| "?".into(), |orphans| orphans.to_string()),
    ]
}

/// Faults, one a line.
pub(super) fn faults(faults: &[FaultView]) -> String {
    let row = |view: &FaultView| {
        let state = serde_json::to_value(view.state).ok().and_then(|state| Some(state.as_str()?.to_owned()));
        let what = match &view.task {
            Some(task) => format!("{} of {task}", view.fault),
            None => view.fault.to_string(),
        };
        let commands = view.error.clone().unwrap_or_else(|| view.commands.join("; "));
        vec![
            view.id.clone(),
            view.run.clone(),
            view.node.clone(),
            what,
            state.unwrap_or_default(),
            view.ends_at.clone(),
            view.backend.clone(),
            commands,
        ]
    };
    table(&["ID", "RUN", "MACHINE", "FAULT", "STATE", "ENDS", "BY", "DOES"], faults.iter().map(row))
}

/// Who can be hurt how, and what is on.
pub(super) fn chaos(view: &ChaosView) -> String {
    let mut text = match &view.blocked {
        Some(block) => {
            format!("faults are refused since {} ({}): {}\n\n", block.at, block.by, or_dash(block.reason.clone()))
        }
        None => String::new(),
    };
    let nodes = view.nodes.iter().map(|node| {
        let can =
            node.backends.iter().filter(|backend| backend.refused.is_none()).map(|backend| backend.fault.as_str());
        let opted = match (node.answers, node.chaos) {
            (false, _) => "does not answer",
            (true, true) => "yes",
            (true, false) => "no",
        };
        vec![node.node.clone(), opted.into(), or_dash(can.collect::<Vec<_>>().join(" "))]
    });
    text += &table(&["MACHINE", "OPTED IN", "CAN"], nodes);
    if !view.faults.is_empty() {
        text += "\n\n";
        text += &faults(&view.faults);
    }
    text
}

/// What became of a stop.
pub(super) fn stopped(view: &ChaosStopView) -> String {
    let mut text = format!("stopped: {}\n", or_dash(view.stopped.join(", ")));
    if !view.stored {
        text += "there is no quorum: only machines that were reached obey, and only until they are started anew\n";
    }
    if !view.unreachable.is_empty() {
        text += &format!("not reached: {}\n", view.unreachable.join(", "));
    }
    text
}
