//! The fabric as a library: [`Fabric`] assembles a node, drives its machines and answers its users.
//!
//! The pure machines decide (`taffeta-swim`, `taffeta-catalogue`, `taffeta-agent`, `taffeta-scheduler`); here each has a
//! loop that feeds it and performs what it says. Everything that touches the world comes in through [`World`]. Left out:
//! the command line, which uses [`Fabric`] and nothing else.
//!
//! What others await of a node is a boxed future: the body of an `async fn` is compiled by each crate that awaits it, and
//! with it would be, in every program and test, nearly all that is here.

pub mod api;
mod around;
mod asking;
mod assemble;
mod authority;
mod autoscale;
mod backend;
mod backup;
mod birth;
mod chaos;
pub mod client;
mod config;
mod consensus;
mod dates;
mod decisions;
mod dns_options;
mod doors;
mod events;
mod exec;
mod fabric;
mod fence;
mod fetch;
mod figures;
mod folder;
mod format;
mod generation;
mod gossip;
mod ground;
mod host_paths;
mod http;
mod inspect;
mod keyring;
mod lead;
mod leases;
mod lives;
mod look;
mod machine;
mod misdeed;
mod names;
mod node;
mod output;
mod place;
mod quotas;
mod raft;
mod recover;
mod removal;
mod renewal;
mod resolve;
mod restore;
mod ring;
mod secrets;
mod seek;
mod service;
mod shelf;
mod start_error;
mod task_dns;
mod task_options;
mod tasks;
mod upkeep;
mod usage;
mod view;
mod volume_use;
mod volume_walk;
mod volumes;
mod voters;
mod wire;
mod world;

pub use chaos::{heal, keeper_main};
pub use config::{DNS_PORT, DOMAIN, FABRIC_PORT, FabricConfig, HTTP_PORT, OfferChanges, RingPreset, Serve};
pub use dns_options::{DnsAlias, DnsOptions, DnsUpstream};
pub use fabric::{Endpoint, Fabric, PUBLISHED_MAX, Publish};
pub use folder::Folder;
pub use gossip::Sets;
pub use inspect::Inspect;
pub use recover::{
    Loss, MemberEntry, PositionView, Recovered, Stopped, StretchView, SurveyView, recover, recover_in, survey,
    survey_in,
};
pub use removal::{LEFT_BEHIND, REMOVED, SHUT_OUT};
pub use restore::{Restored, restore, wrong_backup};
pub use start_error::StartError;
pub use taffeta_model as model;
pub use taffeta_net::{InvalidToken, JoinToken, Lives};
pub use taffeta_secrets::{Backup, BackupError, BackupHeader, InvalidRecoveryKey, RecoveryKey};
pub use task_options::{HostPath, HostPaths, TaskDns, TaskOptions};
pub use world::{Prober, SystemProber, World};
