//! The end that a person asks for, where something is to be cleaned up first.

use crate::failure::{Failure, Outcome};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The wish that this process ends: Ctrl-C, SIGTERM, or the terminal's own end.
pub(crate) struct End(Vec<Signal>);

impl End {
    /// From here on these signals no longer end the process by themselves.
    pub(crate) fn listen() -> Outcome<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let signals: std::io::Result<Vec<Signal>> = kinds.into_iter().map(signal).collect();
        signals.map(Self).map_err(|e| Failure::failed(format!("cannot listen for signals: {e}")))
    }

    /// Returns when there was one. Safe to cancel.
    pub(crate) async fn wait(&mut self) {
        std::future::poll_fn(|context| {
            let any = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if any { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}
