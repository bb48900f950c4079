//! Answers as text for people.

use crate::{
    output::{or_dash, table},
    units::bytes_in_words,
};
use jiff::Timestamp;
use std::collections::BTreeMap;
use taffeta_node::api::{
    AppView, AuthoritiesView, Event, FolderView, LeaderView, NodeView, PlanView, ResolveView, RunView, ServiceView,
    StatusView, TaskView, TokenEntry, WhyView,
};

pub(super) fn apps(apps: &[AppView]) -> String {
    let now = Timestamp::now();
    let rows = apps.iter().map(|app| {
        let jobs: Vec<String> =
            app.jobs.iter().map(|job| format!("{} {}/{}", job.name, job.ready, job.count)).collect();
        let health = if app.healthy { "healthy" } else { "not yet healthy" };
        vec![app.app.clone(), app.version.to_string(), age(now, &app.deployed_at), health.into(), jobs.join(", ")]
    });
    table(&["APP", "VERSION", "AGE", "STATE", "READY"], rows)
}

pub(super) fn runs(runs: &[RunView]) -> String {
    let rows = runs.iter().map(|run| {
        let time = |at: &Option<String>| or_dash(at.clone().unwrap_or_default());
        vec![run.what.clone(), time(&run.started_at), time(&run.ended_at), run.result.clone()]
    });
    table(&["RUN", "STARTED", "ENDED", "RESULT"], rows)
}

pub(super) fn folder(folder: &FolderView) -> String {
    let rows = folder.entries.iter().map(|entry| {
        vec![entry.kind.clone(), entry.mode.clone(), entry.size.to_string(), entry.modified.clone(), entry.name.clone()]
    });
    table(&["KIND", "MODE", "SIZE", "MODIFIED", "NAME"], rows)
}

pub(super) fn tasks(tasks: &[TaskView]) -> String {
    let now = Timestamp::now();
    let rows = tasks.iter().map(|task| {
        vec![
            format!("{}/{}", task.app, task.task),
            task.kind.clone(),
            task.state.clone(),
            or_dash(task.node.clone().unwrap_or_default()),
            or_dash(task.address.clone().unwrap_or_default()),
            or_dash(ports(&task.ports)),
            task.restarts.to_string(),
            task.started_at.as_deref().map_or_else(|| "-".into(), |at| age(now, at)),
            task.reason.clone(),
        ]
    });
    table(&["TASK", "KIND", "STATE", "NODE", "ADDRESS", "PORTS", "RESTARTS", "AGE", "REASON"], rows)
}

pub(super) fn tokens(tokens: &[TokenEntry]) -> String {
    let now = Timestamp::now();
    let rows = tokens.iter().map(|token| {
        vec![
            token.id.clone(),
            token.role.clone(),
            token.expires_at.clone(),
            token.uses_left.map_or_else(|| "any".into(), |left| left.to_string()),
            token.used.to_string(),
            age(now, &token.created_at),
        ]
    });
    table(&["ID", "ROLE", "EXPIRES", "USES LEFT", "USED", "AGE"], rows)
}

pub(super) fn authorities(view: &AuthoritiesView) -> String {
    let rows = view.authorities.iter().map(|ca| {
        let state = if ca.signs { "signs" } else { "believed" };
        vec![ca.hash.clone(), state.into(), ca.since.clone().unwrap_or_else(|| "-".into())]
    });
    let mut text = table(&["CA", "STATE", "SINCE"], rows);
    text += &format!("\nthe certificate of {} ends at {}", view.node, view.certificate_expires_at);
    if view.rotating {
        let waiting = if view.waiting.is_empty() { "nobody".into() } else { view.waiting.join(", ") };
        text += &format!("\na rotation is under way; without a certificate of the new CA: {waiting}");
    }
    text
}

pub(super) fn nodes(nodes: &[NodeView]) -> String {
    let rows = nodes.iter().map(|node| {
        let (have, used) = (&node.resources, &node.used);
        vec![
            node.name.clone(),
            state(node),
            format!("{:?}", node.role).to_ascii_lowercase(),
            node.address.clone(),
            or_dash(node.zone.clone()),
            node.rtt_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms")),
            node.tasks.to_string(),
            format!("{}/{}", cpus(used.cpus), cpus(have.cpus)),
            format!("{}/{}", bytes_in_words(used.memory), bytes_in_words(have.memory)),
            or_dash(node.version.clone()),
            node.id.clone(),
        ]
    });
    let header = &["NAME", "STATE", "ROLE", "ADDRESS", "ZONE", "RTT", "TASKS", "CPUS", "MEMORY", "VERSION", "ID"];
    let mut text = table(header, rows);
    for node in nodes.iter().filter(|node| !node.not_isolated.is_empty()) {
        text += &format!("\n{} does not set tasks apart in full: {}", node.name, node.not_isolated.join("; "));
    }
    text
}

/// How it is, and what else keeps tasks from it.
fn state(node: &NodeView) -> String {
    let mut state = node.state.clone();
    if let Some(until) = &node.maintained_until {
        state += &format!(" (maintenance until {until})");
    }
    if node.unsteady_until.is_some() {
        state += " (unsteady)";
    }
    state
}

pub(super) fn services(services: &[ServiceView]) -> String {
    let rows = services.iter().flat_map(|service| {
        service.instances.iter().map(|instance| {
            vec![
                service.name.clone(),
                instance.instance.clone(),
                instance.node.clone(),
                instance.address.clone(),
                or_dash(ports(&instance.ports)),
                instance.state.clone(),
                if instance.serving { "yes" } else { "no" }.into(),
            ]
        })
    });
    table(&["NAME", "INSTANCE", "NODE", "ADDRESS", "PORTS", "STATE", "IN DNS"], rows)
}

pub(super) fn status(status: &StatusView) -> String {
    let nodes = status.nodes;
    let tasks: Vec<String> = status.tasks.iter().map(|(state, number)| format!("{number} {state}")).collect();
    let mut rows = vec![
        ("node", status.node.clone()),
        ("ready", yes(status.ready)),
        ("cluster", format!("{} (generation {})", status.cluster, status.generation)),
        ("leader", or_dash(status.leader.clone().unwrap_or_default())),
        ("quorum", yes(status.quorum)),
        ("voters", voters(status)),
        ("stand-bys", or_dash(status.standbys.join(", "))),
        ("nodes", format!("{} alive, {} suspect, {} down", nodes.alive, nodes.suspect, nodes.down)),
        ("apps", status.apps.to_string()),
        ("tasks", or_dash(tasks.join(", "))),
        ("version", status.version.clone()),
    ];
    if status.chaos > 0 {
        let faults = if status.chaos == 1 { "fault is" } else { "faults are" };
        rows.push(("CHAOS", format!("{} {faults} on on purpose: `taffeta chaos status`", status.chaos)));
    }
    if status.chaos_blocked {
        rows.push(("chaos", "no fault may be brought about on purpose: `taffeta chaos allow`".into()));
    }
    rows.extend(status.notes.iter().map(|note| ("note", note.clone())));
    pairs(&rows)
}

/// As in `n1, n2, n3 (n3 does not answer)`.
fn voters(status: &StatusView) -> String {
    let missing = match status.missing_voters.as_slice() {
        [] => String::new(),
        [one] => format!(" ({one} does not answer)"),
        more => format!(" ({} do not answer)", more.join(", ")),
    };
    format!("{}{missing}", or_dash(status.voters.join(", ")))
}

pub(super) fn leader(leader: &LeaderView) -> String {
    let rows = [leader.name.clone(), leader.id.clone(), leader.term.to_string(), leader.address.clone()];
    table(&["NAME", "ID", "TERM", "ADDRESS"], [rows.to_vec()])
}

pub(super) fn why(why: &WhyView) -> String {
    let place = why.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let mut lines = vec![format!("{} is {}{place}", why.task, why.state)];
    lines.extend(why.reasons.iter().map(|reason| format!("  {reason}")));
    lines.join("\n")
}

pub(super) fn resolved(answer: &ResolveView) -> String {
    let mut text = format!("{} {}: {}\n", answer.name, answer.record_type, answer.status);
    let records = answer.records.iter().chain(&answer.additional);
    let rows: Vec<_> = records
        .map(|record| {
            vec![record.name.clone(), record.ttl.to_string(), record.record_type.clone(), record.data.clone()]
        })
        .collect();
    if !rows.is_empty() {
        text += &format!("{}\n", table(&["NAME", "TTL", "TYPE", "DATA"], rows));
    }
    let behind = answer.behind.iter().map(|of| {
        let port = of.port.map(|port| format!(":{port}")).unwrap_or_default();
        let source = of.source.map(|s| format!("{}.{}, {:.1} s ago", s.epoch, s.seq, s.age_s));
        vec![
            of.instance.clone(),
            of.node.clone(),
            format!("{}{port}", of.address),
            of.reason.clone(),
            or_dash(source.unwrap_or_default()),
        ]
    });
    let behind: Vec<_> = behind.collect();
    if !behind.is_empty() {
        text += &format!("{}\n", table(&["INSTANCE", "NODE", "ADDRESS", "WHY", "RECORD"], behind));
    }
    for note in &answer.notes {
        text += &format!("note: {note}\n");
    }
    text
}

pub(super) fn plan(plan: &PlanView) -> String {
    let rows = plan.steps.iter().map(|step| {
        let node = or_dash(step.node.clone().unwrap_or_default());
        vec![format!("{}/{}", plan.app, step.task), step.action.clone(), node, step.reason.clone()]
    });
    table(&["TASK", "ACTION", "NODE", "REASON"], rows)
}

pub(super) fn events(events: &[Event]) -> String {
    let rows = events.iter().map(|e| vec![e.at.clone(), e.kind.clone(), e.subject.clone(), e.message.clone()]);
    table(&["AT", "KIND", "SUBJECT", "MESSAGE"], rows)
}

/// Names and values, one a line.
pub(super) fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = rows.iter().map(|(name, value)| format!("{name:width$}   {}", crate::failure::one_line(value)));
    lines.collect::<Vec<_>>().join("\n")
}

fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.into()
}

fn ports(ports: &BTreeMap<String, u16>) -> String {
    ports.iter().map(|(name, port)| format!("{name}:{port}")).collect::<Vec<_>>().join(",")
}

/// Two digits say enough about a share of a processor.
fn cpus(cpus: f64) -> String {
    let text = format!("{cpus:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `42s`, `5m`, `3h`, `2d`; the text itself if it is no point in time.
fn age(now: Timestamp, since: &str) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return since.to_owned() };
    match now.duration_since(since).as_secs() {
        s @ ..=119 => format!("{}s", s.max(0)), // clocks of two machines differ
        s @ 120..=7_199 => format!("{}m", s / 60),
        s @ 7_200..=172_799 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::{age, apps, cpus, pairs};
    use taffeta_node::api::{AppView, JobView};

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        for (since, words) in [
            ("2026-11-22T12:00:05Z", "0s"),
            ("2026-11-22T11:58:30Z", "90s"),
            ("2026-11-22T11:00:00Z", "60m"),
            ("2026-11-20T12:00:01Z", "47h"),
            ("2026-11-12T12:00:00Z", "10d"),
            ("yesterday", "yesterday"),
        ] {
            assert_eq!(age(now, since), words);
        }
    }

    #[test]
    fn columns_stand_below_their_headings_without_borders() {
        let job = JobView {
            name: "web".into(),
            kind: "service".into(),
            count: 3,
            ready: 2,
            revision: 7,
            next: None,
            autoscale: None,
            runs: vec![],
        };
        let app = AppView {
            app: "shop".into(),
            version: 1,
            deployed_at: "?".into(),
            healthy: false,
            paused: false,
            versions: vec![],
            returned: None,
            jobs: vec![job],
        };
        assert_eq!(
            apps(&[app]),
            "APP    VERSION   AGE   STATE             READY\n\
             shop   1         ?     not yet healthy   web 2/3"
        );
    }

    #[test]
    fn what_others_wrote_cannot_break_a_line() {
        assert_eq!(pairs(&[("a", "x\ny\x1b[31m".into()), ("long", "z".into())]), "a      x y [31m\nlong   z");
    }

    #[test]
    fn a_share_of_a_processor_has_two_digits_at_most() {
        assert_eq!([0.05, 0.25, 2.0, 10.0, 0.0].map(cpus), ["0.05", "0.25", "2", "10", "0"]);
    }
}
