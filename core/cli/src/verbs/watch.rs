//! Verbs that follow what happens.

use super::{Client, tables};
use crate::{
    failure::{Failure, Outcome, one_line},
    output::{Format, print, remark, show_list},
};
use taffeta_node::{api::Event, client::Received};

pub(super) async fn events(client: Client, format: Format) -> Outcome {
    show_list(format, &client.recent_events().await?, "nothing has happened yet", tables::events)
}

pub(super) async fn follow_events(client: Client, format: Format) -> Outcome {
    let mut stream = client.events(None).await?;
    loop {
        match stream.next_event().await? {
            Received::Event(event) => print(&line(&event, format)?)?,
            Received::Lagged(missed) => remark(&format!("{missed} events were missed here")),
        }
    }
}

fn line(event: &Event, format: Format) -> Outcome<String> {
    match format {
        Format::Table => {
            Ok(format!("{}   {:16} {}   {}", event.at, event.kind, event.subject, one_line(&event.message)))
        }
        Format::Json => {
            serde_json::to_string(event).map_err(|e| Failure::failed(format!("an event cannot be printed: {e}")))
        }
    }
}
