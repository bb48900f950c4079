//! Stores that talk through memory, on a disk of memory and on real files.

mod cluster;
mod damage;
mod full;
mod growth;
mod idle;
mod levels;
mod life;
mod membership;
mod recover;

use super::*;
use crate::{disk::Loaded, rpc::SendError};
use async_trait::async_trait;
pub(crate) use cluster::MemoryDisk;
use cluster::{Cluster, on_both_disks, token, until};
use taffeta_model::{UnixMillis, VERSION};
