//! The node's HTTP side: the API under `/v1`, events, metrics, health and the web page.
//!
//! A request walks straight through: `access` lets it in, `routes` finds its handler, `read` or `write` parses it and
//! asks the [`Backend`](crate::api::Backend), `refusal` words what goes wrong. Left out: what the verbs do, which is
//! the backend's, and TLS, since the API is for loopback and trusted networks only.

mod access;
mod bind;
mod body;
mod chaos;
mod events;
mod exec;
mod files;
mod logs;
mod openapi;
mod page;
mod quotas;
mod read;
mod refusal;
mod routes;
mod secrets;
mod server;
mod steer;
mod upkeep;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use server::{HttpConfig, HttpServer};
