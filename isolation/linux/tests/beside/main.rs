//! What is around a task, with real processes: its outputs, commands beside it, its files, and the protocol of its shim.

mod commands;
mod files;
mod logs;
mod protocol;
#[path = "../support/mod.rs"]
mod support;
