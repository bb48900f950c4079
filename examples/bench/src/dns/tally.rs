//! What became of questions.

use anyhow::{Result, ensure};
use std::net::SocketAddr;

/// What became of the questions of one run of load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Right replies.
    pub(crate) answered: u64,
    /// Replies that are not right, or to no question.
    pub(crate) wrong: u64,
    /// Questions that had no reply in time.
    pub(crate) lost: u64,
    /// Replies of a snapshot older than that of a reply before it on the same socket.
    pub(crate) reordered: u64,
    /// How long the right replies took, in us.
    pub(crate) took_us: Vec<f64>,
}

impl Tally {
    /// Whether it can be measured by: an error if replies are wrong or none, a word on stderr if many are missing.
    pub(crate) fn check(&self, server: SocketAddr) -> Result<()> {
        let Self { answered, wrong, lost, .. } = self;
        ensure!(*wrong == 0, "{wrong} replies of {server} are wrong, {answered} right");
        ensure!(*answered > 0, "the server at {server} answered nothing");
        if *lost * 100 > *answered {
            eprintln!("{lost} questions were lost, {answered} answered by {server}");
        }
        Ok(())
    }
}
