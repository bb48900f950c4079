//! The fabric as a library: [`Fabric`] assembles a node, drives its machines and answers its users.
//!
//! The pure machines decide (`taffeta-swim`, `taffeta-catalogue`, `taffeta-agent`, `taffeta-scheduler`); here each has a
//! loop that feeds it and performs what it says. Everything that touches the world comes in through [`World`]. Left out:
//! the command line, which uses [`Fabric`] and nothing else.

pub mod api;
mod backend;
mod birth;
pub mod client;
mod config;
mod consensus;
mod dns_options;
mod doors;
mod events;
mod fabric;
mod folder;
mod generation;
mod gossip;
mod http;
mod inspect;
mod lead;
mod machine;
mod names;
mod node;
mod raft;
mod resolve;
mod ring;
mod seek;
mod service;
mod start_error;
mod tasks;
mod view;
mod wire;
mod world;

pub use config::{DNS_PORT, DOMAIN, FABRIC_PORT, FabricConfig, HTTP_PORT, RingPreset, Serve};
pub use dns_options::{DnsAlias, DnsOptions, DnsUpstream};
pub use fabric::{Endpoint, Fabric, PUBLISHED_MAX, Publish};
pub use folder::Folder;
pub use gossip::Sets;
pub use inspect::Inspect;
pub use start_error::StartError;
pub use taffeta_model as model;
pub use taffeta_net::{InvalidToken, JoinToken};
pub use world::{Prober, SystemProber, World};
