//! Keeps the log's bytes bounded. openraft counts entries; a few of them may be as long as an app file allows.

use crate::{
    log::{Excess, LogStore},
    types::Raft,
};
use std::time::Duration;

/// Pause after each step. The next one is only due when entries or a snapshot have come meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks for a snapshot and a purge whenever the log is heavy, for ever.
pub(crate) async fn slim(log: LogStore, raft: Raft) {
    loop {
        log.heavy().await;
        let Some(Excess { last, covered }) = log.excess() else { continue };
        let trigger = raft.trigger();
        let asked = match covered.filter(|covered| *covered >= last) {
            Some(_) => trigger.purge_log(last).await,
            None => trigger.snapshot().await,
        };
        if asked.is_err() {
            return; // consensus has ended
        }
        tokio::time::sleep(PAUSE).await;
    }
}
