//! Verbs that show what is there.

use super::{Client, tables};
use crate::{
    args::JobPath,
    failure::{Failure, Outcome},
    output::{Format, print, remark, show, show_list},
};
use taffeta_model::{AppName, TaskId};
use taffeta_node::api::ErrorCode;

pub(super) async fn apps(client: Client, format: Format) -> Outcome {
    show_list(format, &client.apps().await?, "no apps; deploy one: `taffeta deploy FILE`", tables::apps)
}

pub(super) async fn runs(client: Client, format: Format, what: JobPath) -> Outcome {
    let JobPath { app, job } = what;
    let apps = client.apps().await?;
    let Some(known) = apps.into_iter().find(|known| known.app == app.as_str()) else {
        return Err(Failure::failed(format!("there is no app `{app}`")).help("`taffeta apps` lists them"));
    };
    let Some(known) = known.jobs.into_iter().find(|known| known.name == job.as_str()) else {
        return Err(Failure::failed(format!("the app `{app}` has no job `{job}`")).help("`taffeta apps` lists them"));
    };
    if let Some(next) = &known.next {
        remark(&format!("due next at {next}"));
    }
    show_list(format, &known.runs, "no runs yet", tables::runs)
}

pub(super) async fn ps(client: Client, format: Format, app: Option<AppName>) -> Outcome {
    let empty = match &app {
        Some(app) => format!("no tasks of `{app}`; see `taffeta apps`"),
        None => "no tasks".into(),
    };
    show_list(format, &client.tasks(app).await?, &empty, tables::tasks)
}

pub(super) async fn nodes(client: Client, format: Format) -> Outcome {
    show_list(format, &client.nodes().await?, "no machines are known here yet", tables::nodes)
}

pub(super) async fn services(client: Client, format: Format) -> Outcome {
    show_list(format, &client.services().await?, "no services", tables::services)
}

pub(super) async fn tokens(client: Client, format: Format) -> Outcome {
    show_list(format, &client.tokens().await?, "no join tokens; make one: `taffeta token create`", tables::tokens)
}

pub(super) async fn authorities(client: Client, format: Format) -> Outcome {
    show(format, &client.authorities().await?, tables::authorities)
}

pub(super) async fn status(client: Client, format: Format) -> Outcome {
    let status = client.status().await?;
    show(format, &status, tables::status)?;
    if status.ready {
        return Ok(());
    }
    remark(&format!("{} is not ready: it has not joined, cannot be given tasks yet, or knows no leader", status.node));
    Err(Failure::silent(ErrorCode::NoQuorum))
}

pub(super) async fn leader(client: Client, format: Format) -> Outcome {
    match (client.leader().await?, format) {
        (Some(leader), _) => show(format, &leader, tables::leader),
        (None, Format::Json) => {
            print("null")?;
            Err(Failure::silent(ErrorCode::NoQuorum))
        }
        (None, Format::Table) => Err(Failure::new(ErrorCode::NoQuorum, "no leader is known here")
            .help("tasks and names go on; a majority of the voters must be up to elect one: `taffeta nodes`")),
    }
}

pub(super) async fn why(client: Client, format: Format, task: TaskId) -> Outcome {
    show(format, &client.why(task).await?, tables::why)
}

pub(super) async fn resolve(client: Client, format: Format, name: String, record_type: String) -> Outcome {
    show(format, &client.resolve(name, record_type.to_ascii_uppercase()).await?, tables::resolved)
}
