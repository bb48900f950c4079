//! Clients that go on asking while things break: names at every machine, pages of the instances that these lead to, and
//! writes whose fate is kept.
//!
//! They are clients as a fabric has them: a resolver with two servers, a browser without retries, a writer that asks
//! another machine when one does not answer. Machines that are silenced on purpose are not asked: nobody promises that
//! a dead machine answers. Where all of them are, whoever wants to ask has failed.

mod pages;
mod writes;

pub use writes::{Written, sweep_writes};

use crate::{fabric::Fabric, fleet::Fleet, scene::Scene};
use std::sync::{Arc, Mutex};
use taffeta_history::History;
use tokio::task::JoinSet;

/// Why a request fails while all machines are silenced.
const NOBODY: &str = "no machine is left to be asked";
/// Clients that write, each one write at a time.
const WRITERS: u32 = 2;

/// The clients of one run; gone when it is dropped.
pub(crate) struct Load {
    clients: JoinSet<()>,
    writes: Option<writes::Book>,
}

impl Load {
    /// Lets clients ask for every service that serves HTTP, and write if `writing`.
    pub(crate) async fn start(fabric: &Fabric, scene: &Scene, fleet: &Fleet, writing: bool) -> Self {
        let mut clients = JoinSet::new();
        for service in pages::serving_http(fleet).await {
            clients.spawn(pages::ask_for_ever(scene.clone(), fleet.clone(), service));
        }
        let writes = writing.then(|| writes::Book::new(Arc::new(Mutex::new(History::default()))));
        let alive = alive(fleet);
        for number in writes.iter().flat_map(|_| 1..=WRITERS) {
            let Some(book) = writes.clone() else { break };
            clients.spawn(writes::write_for_ever(fabric.clone(), scene.clone(), book, number, alive.clone()));
        }
        Self { clients, writes }
    }

    /// Ends it. If there were writers, reads what the leader shows and says what became of the writes.
    pub(crate) async fn end(mut self, fabric: &Fabric, scene: &Scene) -> Option<Written> {
        if let Some(book) = &self.writes {
            book.stop();
            // A write that was begun has its fate told: cut off, it would be one that nobody knows.
            while book.is_writing() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        self.clients.shutdown().await;
        match self.writes {
            Some(book) => Some(writes::reckon(fabric, scene, &book).await),
            None => None,
        }
    }
}

/// The machines that a client may hope for.
fn alive(fleet: &Fleet) -> Vec<String> {
    fleet.alive().into_iter().map(String::from).collect()
}

/// Whether all of them are silenced, and not only those that can be asked from here.
fn nobody_is_left(alive: &[String], silent: &[String]) -> bool {
    alive.iter().all(|name| silent.contains(name))
}
