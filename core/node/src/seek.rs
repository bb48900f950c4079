//! How a member finds the ring again when none of the addresses that it remembers is right: it asks where it was told to
//! join.

use crate::{birth::resolve, node::Core};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// A node that sees most of the ring looks again after this time whether that is still so.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Longest pause between two rounds over the addresses.
const PAUSE_MAX: Duration = Duration::from_secs(20);

impl Core {
    /// While this node sees nobody, or less than half of the ring, it calls whoever is at these addresses, names looked
    /// up anew each time, for ever and with growing pauses.
    pub(crate) async fn run_seek(self: Arc<Self>, addresses: Vec<String>) {
        let mut pause = LOOK_EVERY;
        loop {
            sleep(pause).await;
            let ring = self.ring.state();
            if ring.majority && !ring.alive().is_empty() {
                pause = LOOK_EVERY;
                continue;
            }
            // All at once: most of them may be addresses where nobody is any more.
            futures::future::join_all(addresses.iter().map(|address| self.seek_at(address))).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn seek_at(&self, address: &str) {
        let Ok(resolved) = resolve(address).await else { return }; // refused at start
        if resolved.is_empty() {
            tracing::warn!(address, "this name of --join does not resolve");
        }
        for at in resolved.into_iter().filter(|at| *at != self.settings.advertise) {
            match self.net().meet(at).await {
                Ok(node) => self.ring.meet(vec![(node, at)]),
                Err(error) => tracing::debug!(%at, %error, "nobody of the ring was met"),
            }
        }
    }
}
