//! What a start needs of the machine: a whole folder, a port, the log's files.

use crate::{
    api::ErrorCode,
    folder::{Folder, file},
    start_error::{StartError, store_error},
    world::bind_socket,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use taffeta_model::{NodeId, beat_until};
use taffeta_store::{Files, FolderFiles, Sizes, migrate};
use tokio::time::Instant;

/// Refuses a folder of which a part is missing: it would otherwise be taken for a new one.
pub(crate) fn check_whole(folder: &dyn Folder, data: &std::path::Path) -> Result<(), StartError> {
    let member = folder.read(file::MEMBERSHIP)?.is_some();
    let is_there = |path: &std::path::Path| path.metadata().is_ok_and(|file| file.is_file() && file.len() > 0);
    // An empty log would be taken for a new one, and the node would vote as if it never had.
    let segments = data.join(file::LOG).read_dir().map_or_else(|_| vec![], |all| all.flatten().collect());
    let is_segment = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "log");
    let has_log = is_there(&data.join(file::REDB_LOG))
        || segments.iter().any(|entry| is_segment(entry) && is_there(&entry.path()));
    for (name, whole) in [
        (file::KEY, is_there(&data.join(file::KEY))),
        (file::LOG, has_log),
        (file::STARTS, is_there(&data.join(file::STARTS))),
    ] {
        if member && !whole {
            let message = format!("in the data folder `{name}` is missing or empty: it was not restored whole");
            return Err(StartError::new(ErrorCode::Failed, message)
                .help("restore it whole, or move it away and join again with a new token"));
        }
    }
    Ok(())
}

/// A node of this very process that was shut down a moment ago gives its socket back when its last task has ended, and
/// closes its log in a thread of its own.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) async fn bind_patiently(address: SocketAddr) -> std::io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
    for _ in 0..TRIES {
        match bind_socket(address) {
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => tokio::time::sleep(PAUSE).await,
            bound => return bound,
        }
    }
    bind_socket(address)
}

/// The log's folder, for nobody else to read: it holds the environment of every app. What an earlier version left is
/// taken over.
pub(crate) async fn open_log(data: &std::path::Path, node: NodeId) -> Result<Arc<dyn Files>, StartError> {
    let path = data.join(file::LOG);
    let mut tries = 0;
    let files: Arc<dyn Files> = loop {
        match FolderFiles::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            opened => break Arc::new(opened.map_err(StartError::failed)?),
        }
    };
    migrate(&data.join(file::REDB_LOG), &files, node, Sizes::default()).map_err(|e| store_error(e.into()))?;
    Ok(files)
}

/// When the node's own time begins: now, or at the last beat of a runtime of which it is known when it began. What a node
/// waits for from then on must not have passed while it waited to join.
pub(crate) fn time_zero(began: Option<Instant>) -> Instant {
    began.map_or_else(Instant::now, |began| began + beat_until(began.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use taffeta_model::BEAT;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_node_begins_when_it_has_joined_on_a_beat_of_its_runtime() {
        let began = Instant::now();
        assert_eq!(time_zero(None), began);
        advance(BEAT * 200 + Duration::from_millis(10)).await;
        assert_eq!(time_zero(Some(began)), began + BEAT * 200);
        assert_eq!(time_zero(None), Instant::now());
    }
}
