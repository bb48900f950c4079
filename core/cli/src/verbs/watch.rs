//! Verbs that follow what happens.

use super::{Client, tables};
use crate::{
    args::LogsArgs,
    failure::{Failure, Outcome, one_line},
    output::{Format, print, print_bytes, remark, show_list},
};
use taffeta_node::{
    api::{Event, LogRead},
    client::Received,
};

/// Most bytes of one piece of a log: the most that a node gives.
const PIECE_BYTES: u32 = 256 << 10;

pub(super) async fn logs(client: Client, args: LogsArgs) -> Outcome {
    let mut read = LogRead { stderr: args.stderr, offset: None, tail: args.tail, limit: PIECE_BYTES };
    if args.follow {
        let mut stream = client.follow_logs(args.task, read).await?;
        while let Some(bytes) = stream.next_bytes().await? {
            print_bytes(&bytes)?;
        }
        return Ok(());
    }
    let (mut run, mut left) = (None, args.tail);
    loop {
        let chunk = client.logs(args.task.clone(), read.clone()).await?;
        // A task that writes without end, or starts anew, must not keep us here: what was there at first is enough.
        if chunk.bytes.is_empty() || run.as_ref().is_some_and(|run| *run != chunk.run) {
            return Ok(());
        }
        print_bytes(&chunk.bytes)?;
        left = left.saturating_sub(chunk.bytes.len() as u64);
        if left == 0 {
            return Ok(());
        }
        read.offset = Some(chunk.next);
        run = Some(chunk.run);
    }
}

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
