//! Decides what a node does with the tasks it was given: which process to start, check, signal, kill and forget.
//!
//! [`Agent`] is a pure machine. Its driver calls [`Agent::reconcile`], performs the [`Action`]s, feeds what came of
//! them back through the `handle_*` methods, and publishes [`Agent::records`] whenever [`Agent::revision`] moved. It
//! sleeps until [`Agent::next_wake`] or the next event. Each action is given once: the machine remembers what is under
//! way and waits for its outcome.
//!
//! Left out on purpose: how a process is made or isolated, how a health check is made, files, sockets and clocks
//! (`taffeta-isolation-*` and `taffeta-node`), who decided the placements (`taffeta-scheduler`), and how records
//! travel (`taffeta-catalogue`).

mod action;
mod agent;
mod env;
mod lease;
mod ports;
mod record;
mod room;
mod run;
mod run_id;
mod slot;
mod vitals;
mod words;

pub use action::{Accepted, Action, FoundRun, FoundState, StaleFence, StartFailure};
pub use agent::{Agent, AgentConfig, UNCONFIRMED_WAIT};
pub use env::{TaskPlace, expand, task_env};
pub use lease::{Grant, Needs};
pub use ports::{PORTS, port_order, port_seed};
pub use run::KILL_AGAIN;
pub use run_id::{InvalidRunId, RunId};
pub use slot::{BACKOFF_FIRST, BACKOFF_MAX, BACKOFF_RESET, PORT_TRIES_MAX};
pub use vitals::{QUICK_CHECK, UNHEALTHY_MIN};

#[cfg(test)]
mod tests;
