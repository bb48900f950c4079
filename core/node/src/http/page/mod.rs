//! The web page: the ring, machines, apps, tasks and recent events, rendered here and live by a few lines of script.
//!
//! No external asset and no build step. All that comes from the cluster is escaped by maud; the policy sent along lets
//! a browser run the page's own script only, so that even an escape that failed could do nothing.

pub(super) mod login;
mod ring;
mod tables;

pub(super) use login::{login, take_login};

use super::body::parse_query;
use super::refusal::Refusal;
use super::server::Shared;
use crate::api::{ApiError, AppView, Event, NodeView, StatusView, TaskView};
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;
use std::sync::Arc;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("live.js");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    fragment: Option<String>,
}

/// What one rendering shows. Each part may be missing for a reason of its own.
struct Seen {
    status: Result<StatusView, ApiError>,
    nodes: Result<Vec<NodeView>, ApiError>,
    apps: Result<Vec<AppView>, ApiError>,
    tasks: Result<Vec<TaskView>, ApiError>,
    events: Vec<Event>,
}

/// The web page; with `fragment` only what is inside of its `<main>`.
#[utoipa::path(get, path = "/", params(("fragment" = Option<String>, Query, description = "`1`: the inner part alone")),
    responses((status = 200, body = String, content_type = "text/html"),
        (status = 401, body = String, content_type = "text/html", description = "A form that asks for the token")))]
pub(super) async fn show(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, Refusal> {
    let query: PageQuery = parse_query(&uri)?;
    let seen = look(&shared).await;
    let content = content(&seen);
    if query.fragment.is_some() {
        return Ok(Html(content.into_string()).into_response());
    }
    let title = seen.status.as_ref().map_or_else(|_| "Taffeta".into(), |s| format!("{} · Taffeta", s.node));
    Ok(document(
        &title,
        &html! {
            p #lost role="status" hidden { "Disconnected from the node. What you see may be old; trying again …" }
            main { (content) }
            script { (PreEscaped(SCRIPT)) }
        },
    ))
}

async fn look(shared: &Shared) -> Seen {
    let backend = &shared.backend;
    let (status, nodes, apps, tasks) =
        tokio::join!(backend.status(), backend.nodes(), backend.apps(), backend.tasks(None));
    Seen { status, nodes, apps, tasks, events: backend.events().0 }
}

fn content(seen: &Seen) -> Markup {
    let voters = seen.status.as_ref().map(|s| s.voters.as_slice()).unwrap_or_default();
    html! {
        (part(&seen.status, tables::strip))
        (part(&seen.nodes, |nodes| html! {
            section.side {
                (ring::draw(nodes, voters))
                (tables::machines(nodes, voters))
            }
        }))
        (part(&seen.apps, |apps| tables::apps(apps)))
        (part(&seen.tasks, |tasks| tables::tasks(tasks)))
        (tables::events(&seen.events))
    }
}

/// A part, or why it cannot be shown.
fn part<T>(seen: &Result<T, ApiError>, render: impl FnOnce(&T) -> Markup) -> Markup {
    match seen {
        Ok(seen) => render(seen),
        Err(e) => html! {
            section { p.bad { (e.message) @if let Some(help) = &e.help { " — " (help) } } }
        },
    }
}

/// A whole page around its body.
fn document(title: &str, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    let mut answer = Html(page.into_string()).into_response();
    if let Ok(policy) = HeaderValue::try_from(policy()) {
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// Only the style and the script above, and only talk with this node.
fn policy() -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(taffeta_net::sha256(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// How a state of a machine or task looks. The state's own word always stands beside it.
fn look_of(state: &str) -> &'static str {
    match state {
        "alive" | "healthy" | "running" | "finished" => "good",
        "suspect" | "draining" | "waiting" | "starting" | "stopping" | "unhealthy" => "warn",
        "down" | "failed" | "lost" => "bad",
        _ => "off",
    }
}
