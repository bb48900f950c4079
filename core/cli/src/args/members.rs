//! Flags of the verbs about machines, and what the cluster keeps: tokens, quotas, secrets, authorities, backups.

use super::{ApiFlags, NodeFlags, OutputFlag, ReadArgs};
use crate::units;
use clap::{Args, Subcommand};
use std::{path::PathBuf, time::Duration};
use taffeta_model::{Cpus, SecretName, TeamName, TokenId};

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// The data folder of the stopped node [env: TAFFETA_DATA] [default: /var/lib/taffeta as root, else
    /// $XDG_STATE_HOME/taffeta]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Another survivor to compare with: its data folder, or what `taffeta recover -o json` printed there; may be repeated
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) compare: Vec<PathBuf>,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
    /// Do it although a compared survivor knows more: give up what only that one knows
    #[arg(long, requires = "yes")]
    pub(crate) force: bool,
    /// Take the CA key from the data folder of a node that was a voter
    #[arg(long, value_name = "DIR", requires = "yes")]
    pub(crate) ca_from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Print a new join token, alone, on stdout
    Create(TokenArgs),
    /// List the join tokens; their secrets are stored nowhere
    List(ReadArgs),
    /// Let a join token be good for nothing; who has joined with it stays
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Its id, as `token list` shows it
    pub(crate) id: TokenId,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// The machine's name or id
    pub(crate) node: String,
    /// End it: the machine takes tasks again
    #[arg(long, conflicts_with = "wait")]
    pub(crate) off: bool,
    /// Wait until its services run elsewhere and its batch tasks have ended; daemons stay
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait; the drain goes on after that
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = units::duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuotaVerb {
    /// Set a team's limits, instead of those that were set before; what is left out has none
    Set(QuotaSetArgs),
    /// List the quotas, with what is used of them
    List(ReadArgs),
    /// Let a team use what there is
    Remove(QuotaRemoveArgs),
}

#[derive(Debug, Args)]
#[group(id = "limit", multiple = true, required = true, args = ["cpus", "memory", "disk", "resource", "share"])]
pub(crate) struct QuotaSetArgs {
    /// The team, as apps name it: team = "red"
    pub(crate) team: TeamName,
    /// Most processors, as 8 or 0.5
    #[arg(long, value_name = "N", value_parser = units::cpus)]
    pub(crate) cpus: Option<Cpus>,
    /// Most memory, as 64GiB
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) memory: Option<u64>,
    /// Most disk, as 1000GiB
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) disk: Option<u64>,
    /// Most of a countable resource, as gpu=2; may be repeated
    #[arg(long, value_name = "NAME=N", value_parser = units::resource)]
    pub(crate) resource: Vec<(String, u64)>,
    /// When room is short and priorities are equal, the team gets this many parts of the pool [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(taffeta_model::SHARE_MAX)))]
    pub(crate) share: Option<u32>,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct QuotaRemoveArgs {
    /// The team
    pub(crate) team: TeamName,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The machine's name or id
    pub(crate) node: String,
    /// Remove it although it is running: it stops its tasks and ends
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaVerb {
    /// Show which CA signs, which one is still believed, and for whom a rotation waits
    Status(ReadArgs),
    /// Let a new CA sign; the former one is believed until every member has a certificate of the new one
    Rotate(ChangeArgs),
    /// End the former CA, which otherwise happens by itself
    Finish(FinishArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct FinishArgs {
    /// Do it although members have no certificate of the new CA yet: they have to join anew
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// What whoever holds it may become
    #[arg(long, default_value = "node", value_parser = ["node"])]
    pub(crate) role: String,
    /// How long it is good for
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::duration)]
    pub(crate) ttl: Duration,
    /// How often it may be used [default: any number of times]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: Option<u32>,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretVerb {
    /// Set a secret, or give it a new version; the value is read from stdin, as it is
    Set(SecretSetArgs),
    /// List the secrets, without their values
    List(ReadArgs),
    /// Remove a secret
    Remove(SecretRemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SecretSetArgs {
    /// The secret: 1 to 63 of a-z, A-Z, 0-9, `-`, `_` and `.`
    pub(crate) name: SecretName,
    /// Read the value from this file instead
    #[arg(long, value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct SecretRemoveArgs {
    /// The secret
    pub(crate) name: SecretName,
    /// Also while apps use it: their running tasks keep it, and no other task can start
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to write, `-` for stdout; with --inspect the file to read
    pub(crate) file: PathBuf,
    /// Say what is in a backup; needs neither a node nor the recovery key
    #[arg(long)]
    pub(crate) inspect: bool,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    pub(crate) file: PathBuf,
    /// The recovery key, which the first node wrote at its first start
    #[arg(long, value_name = "FILE")]
    pub(crate) recovery_key: PathBuf,
    /// The folder to make; it must be empty or not there [env: TAFFETA_DATA] [default: /var/lib/taffeta as root, else
    /// $XDG_STATE_HOME/taffeta]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}
