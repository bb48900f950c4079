//! What the page says in words: the strip, the tables, the events.

use super::look_of;
use crate::api::{AppView, Event, NodeView, ResourcesView, Role, StatusView, TaskView};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Rows of a table: more make a browser slow, and the command line shows all.
const ROWS_MAX: usize = 500;

/// Events on the page, newest first.
const EVENTS_MAX: usize = 50;

/// The cluster in one line.
pub(super) fn strip(status: &StatusView) -> Markup {
    let counts = &status.nodes;
    html! {
        section {
            h1 { "Taffeta" small { " seen from " (status.node) @if !status.ready { " (not ready)" } } }
            dl.strip {
                (fact("cluster", html! { code { (status.cluster) } }))
                (fact("generation", html! { (status.generation) }))
                (fact("leader", html! {
                    @match &status.leader { Some(name) => { "♛ " (name) }, None => span.bad { "none" } }
                }))
                (fact("quorum", html! {
                    @if status.quorum { span.good { "yes" } } @else { span.bad { "no: nothing can be changed" } }
                }))
                (fact("machines", html! {
                    span.good { (counts.alive) " alive" }
                    @if counts.suspect > 0 { " " span.warn { (counts.suspect) " suspect" } }
                    @if counts.down > 0 { " " span.bad { (counts.down) " down" } }
                }))
                (fact("apps", html! { (status.apps) }))
                (fact("tasks", html! {
                    @for (state, count) in &status.tasks { span.(look_of(state)) { (count) " " (state) } " " }
                }))
                (fact("version", html! { (status.version) }))
            }
            @if status.chaos > 0 {
                p.note { strong.bad { (status.chaos) @if status.chaos == 1 { " fault is" } @else { " faults are" } " on on purpose" }
                    ": the cluster is being tried out. " code { "taffeta chaos status" } " tells which, "
                    code { "taffeta chaos stop" } " ends all" }
            }
            @if status.chaos_blocked { p.note { "No fault may be brought about on purpose: " code { "taffeta chaos allow" } " lifts that" } }
            @for note in &status.notes { p.note { (note) } }
        }
    }
}

fn fact(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// The machines.
pub(super) fn machines(nodes: &[NodeView], voters: &[String]) -> Markup {
    let row = |node: &NodeView| {
        html! {
            td { strong { (node.name) } }
            td { (state(&node.state)) }
            td { (role(node, voters)) }
            td { code { (node.address) } }
            td { (node.zone) }
            td.number { (node.tasks) }
            td { (used(&node.used, &node.resources)) }
        }
    };
    table("Machines", &["name", "state", "role", "address", "zone", "tasks", "used of offered"], nodes, "nodes", row)
}

fn role(node: &NodeView, voters: &[String]) -> Markup {
    html! {
        @match node.role {
            Role::Leader => "♛ leader",
            Role::Voter => "voter",
            Role::Learner => "learner",
            Role::Member => @if voters.contains(&node.name) { "voter" } @else { "member" },
        }
    }
}

fn used(used: &ResourcesView, all: &ResourcesView) -> String {
    format!("{:.2} of {:.2} cpus, {} of {}", used.cpus, all.cpus, size(used.memory), size(all.memory))
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes >= 10 * 1024 * MIB { format!("{} GiB", bytes / (1024 * MIB)) } else { format!("{} MiB", bytes / MIB) }
}

/// The apps with their jobs.
pub(super) fn apps(apps: &[AppView]) -> Markup {
    let row = |app: &AppView| {
        html! {
            td { strong { (app.app) } }
            td { @if app.healthy { span.good { "healthy" } } @else { span.warn { "not yet" } } }
            td {
                @for job in &app.jobs {
                    span.job.(if job.ready >= job.count { "good" } else { "warn" }) {
                        (job.name) " " (job.ready) "/" (job.count)
                        @if job.kind != "service" { " " (job.kind) }
                    }
                    " "
                }
            }
            td.number { (app.version) }
            td { time { (app.deployed_at) } }
        }
    };
    table("Apps", &["app", "state", "jobs: ready of wanted", "version", "deployed"], apps, "apps", row)
}

/// The tasks.
pub(super) fn tasks(tasks: &[TaskView]) -> Markup {
    let row = |task: &TaskView| {
        html! {
            td { strong { (task.app) "/" (task.task) } }
            td { (state(&task.state)) }
            td { (task.node.as_deref().unwrap_or("–")) }
            td { code { (task.address.as_deref().unwrap_or("–")) } }
            td { (ports(&task.ports)) }
            td.number { (task.restarts) }
            td { (task.reason) @if let Some(code) = task.exit_code { " (exit status " (code) ")" } }
        }
    };
    table("Tasks", &["task", "state", "machine", "address", "ports", "restarts", "reason"], tasks, "ps", row)
}

fn ports(ports: &BTreeMap<String, u16>) -> String {
    ports.iter().map(|(name, port)| format!("{name} {port}")).collect::<Vec<_>>().join(", ")
}

fn state(state: &str) -> Markup {
    html! { span.(look_of(state)) { "● " (state) } }
}

fn table<T>(title: &str, heads: &[&str], rows: &[T], verb: &str, row: impl Fn(&T) -> Markup) -> Markup {
    let shown = &rows[..rows.len().min(ROWS_MAX)];
    html! {
        section {
            h2 { (title) small { " " (rows.len()) } }
            @if rows.is_empty() { p.none { "none" } } @else {
                div.scroll { table {
                    thead { tr { @for head in heads { th scope="col" { (head) } } } }
                    tbody { @for item in shown { tr { (row(item)) } } }
                } }
            }
            @if rows.len() > shown.len() {
                p.none { "and " (rows.len() - shown.len()) " more: " code { "taffeta " (verb) } }
            }
        }
    }
}

/// What happened last.
pub(super) fn events(events: &[Event]) -> Markup {
    html! {
        section {
            h2 { "Events" }
            @if events.is_empty() { p.none { "none" } }
            ol.events {
                @for event in events.iter().rev().take(EVENTS_MAX) {
                    li { time { (event.at) } " " code { (event.kind) } " " strong { (event.subject) } " " (event.message) }
                }
            }
        }
    }
}
