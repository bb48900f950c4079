//! The verbs and their flags. What is left out of a flag's type, as addresses, is parsed in `settings`, where the
//! environment and the file say the same.

mod apps;
mod members;
mod tasks;
mod upkeep;

pub(crate) use apps::{
    DeployArgs, PlanArgs, PsArgs, RestartArgs, RollbackArgs, RunArgs, RunsArgs, ScaleArgs, StopArgs, WhyArgs,
};
pub(crate) use members::{
    BackupArgs, CaVerb, DrainArgs, QuotaSetArgs, QuotaVerb, RecoverArgs, RemoveArgs, RestoreArgs, SecretVerb,
    TokenArgs, TokenVerb,
};
pub(crate) use tasks::{ExecArgs, FilesArgs, LogsArgs, Since, Tail};
pub(crate) use upkeep::{MaintenanceArgs, VolumeVerb};

use crate::{chaos::ChaosVerb, dns::DnsVerb, output::Format};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::{path::PathBuf, str::FromStr};
use taffeta_model::{AppName, InvalidName, JobName};

/// An embedded microservice fabric: one binary on every machine runs tasks, keeps them running and answers DNS for them
#[derive(Debug, Parser)]
#[command(
    name = "taffeta",
    version,
    arg_required_else_help = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    max_term_width = 110,
    after_help = "Exit codes: 0 done, 1 it failed, 2 the command or file is wrong, 3 refused, 4 timed out waiting.\n\
                  Begin with `taffeta demo`."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) before: ApiFlags,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start nodes on 127.0.0.1-N in a temporary folder, deploy the example shop, and show what to try
    Demo(DemoArgs),
    /// Run a node in the foreground; the first one creates the cluster, others --join it
    Up(UpArgs),
    /// Make tokens with which machines join, list and revoke them
    #[command(subcommand, subcommand_value_name = "VERB", arg_required_else_help = true)]
    Token(TokenVerb),
    /// Apply an app file
    Deploy(DeployArgs),
    /// Show what deploy would change and where tasks would land; changes nothing
    Plan(PlanArgs),
    /// List the apps
    Apps(ReadArgs),
    /// List the tasks
    Ps(PsArgs),
    /// List the machines
    Nodes(ReadArgs),
    /// Show the cluster as one node sees it; exits 3 until the node is ready
    Status(ReadArgs),
    /// Show which machine leads; exits 3 if none does
    Leader(ReadArgs),
    /// List the services and the instances that DNS gives out
    Services(ReadArgs),
    /// Say why a task waits, failed or moved, in words
    Why(WhyArgs),
    /// Change the number of instances of a service or batch job
    Scale(ScaleArgs),
    /// End an app and remove it
    Stop(StopArgs),
    /// Start the instances of a service, or of a whole app, anew
    Restart(RestartArgs),
    /// Go back to a version of an app before the present one
    Rollback(RollbackArgs),
    /// Stop an update for now: no older instance is replaced
    Pause(StopArgs),
    /// Go on with a paused update
    Resume(StopArgs),
    /// Let the newer version take over, which came as a canary or unseen
    Promote(RestartArgs),
    /// Run a batch or cron job now, once
    Run(RunArgs),
    /// Show the runs of a batch or cron job, and when it is due next
    Runs(RunsArgs),
    /// Let a machine's services move elsewhere, and no new tasks come to it
    Drain(DrainArgs),
    /// Let a machine be drained at certain times, again and again; without a machine, list when
    Maintenance(MaintenanceArgs),
    /// Show where tasks keep their data, let one begin anew, and drop what nobody needs
    #[command(subcommand, subcommand_value_name = "VERB", arg_required_else_help = true)]
    Volume(VolumeVerb),
    /// Take a machine out of the cluster for good; its name and address are free then
    Remove(RemoveArgs),
    /// Say what the tasks of a team's apps may ask for together, and its share when room is short
    #[command(subcommand, subcommand_value_name = "VERB", arg_required_else_help = true)]
    Quota(QuotaVerb),
    /// Show and replace the CA that signs the nodes' certificates
    #[command(subcommand, subcommand_value_name = "VERB", arg_required_else_help = true)]
    Ca(CaVerb),
    /// Print what a task has written
    Logs(LogsArgs),
    /// Run a command beside a task, in its folder, with its environment and inside of its limits
    Exec(ExecArgs),
    /// List what is in a task's folder, or fetch a file of it
    Files(FilesArgs),
    /// Print what DNS answers for a name, and why
    Resolve(ResolveArgs),
    /// Print what has happened, and with -f what happens
    Events(EventsArgs),
    /// Keep values that tasks need and nobody may see
    #[command(subcommand, subcommand_value_name = "VERB", arg_required_else_help = true)]
    Secret(SecretVerb),
    /// Write a backup of the cluster to a file, or say what is in one
    Backup(BackupArgs),
    /// Make a data folder from a backup, when all voters are lost for good
    Restore(RestoreArgs),
    /// Let this machine's own resolver ask the node
    #[command(subcommand, subcommand_value_name = "VERB", arg_required_else_help = true)]
    Dns(DnsVerb),
    /// Break things on purpose, on real nodes or in a simulator, and see whether the fabric keeps its promises
    #[command(
        subcommand,
        subcommand_value_name = "VERB",
        subcommand_help_heading = "Verbs",
        arg_required_else_help = true
    )]
    Chaos(ChaosVerb),
    /// After the quorum is lost for good: make this stopped node the beginning of a new generation; shows first what it
    /// knows, and changes nothing without --yes
    Recover(RecoverArgs),
    /// Say what sets tasks apart on this machine, what does not and why, and what to do; exits 1 if anything is missing
    Doctor(DoctorArgs),
    /// Print the configuration, and where each value came from
    Config(ConfigArgs),
    /// Print a script that completes this program's verbs and flags in a shell
    Completions(CompletionsArgs),
    /// Print the version
    Version(VersionArgs),
}

/// Which node is asked, and with what right.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ApiFlags {
    /// The node to ask: http://HOST:PORT, or unix:PATH for its socket [env: TAFFETA_API] [default: http://127.0.0.1:7480]
    #[arg(long, value_name = "URL")]
    pub(crate) api: Option<String>,
    /// The API's token; without one, DATA/admin.token is read if it is there [env: TAFFETA_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// The data folder in which admin.token is looked for [env: TAFFETA_DATA] [default: /var/lib/taffeta as root]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl ApiFlags {
    /// These, and where they say nothing, those before the verb.
    pub(crate) fn or(self, before: Self) -> Self {
        Self { api: self.api.or(before.api), token: self.token.or(before.token), data: self.data.or(before.data) }
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutputFlag {
    /// How to print the answer
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    /// The data folder of the node that is to run here [env: TAFFETA_DATA] [default: /var/lib/taffeta as root]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many nodes; each is a process on its own loopback address
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) nodes: u8,
    /// Leave the fabric empty instead of deploying the example shop
    #[arg(long)]
    pub(crate) no_shop: bool,
    /// Let every node be hurt on purpose: `taffeta chaos`; one that is killed so comes back by itself
    #[arg(long)]
    pub(crate) chaos: bool,
    /// Clean up and end with 0 once all is healthy and resolves; 4 if that takes more than a minute
    #[arg(long)]
    pub(crate) exit_when_ready: bool,
}

/// How a node runs. What is not given is what the data folder remembers, or else the default.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NodeFlags {
    /// Name of this machine, unique in the ring [env: TAFFETA_NAME] [default: its host name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where the fabric listens (QUIC); a loopback address moves the defaults of --http and --dns there [env:
    /// TAFFETA_ADDRESS] [default: 0.0.0.0:7400]
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) address: Option<String>,
    /// Where other machines reach this one, if that is another address [env: TAFFETA_ADVERTISE]
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) advertise: Option<String>,
    /// Where the HTTP API and the web page listen [env: TAFFETA_HTTP] [default: 127.0.0.1:7480]
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) http: Option<String>,
    /// Where DNS listens, UDP and TCP [env: TAFFETA_DNS] [default: 127.0.0.1:7453]
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) dns: Option<String>,
    /// Another zone that DNS serves with the same names, so that clients need not change at once: ZONE, or
    /// ZONE=fabric|mesos|consul|kubernetes for the way names are written there; may be repeated [env: TAFFETA_DNS_ALIAS,
    /// separated by commas]
    #[arg(long, value_name = "ZONE[=SCHEME]")]
    pub(crate) dns_alias: Vec<String>,
    /// A resolver for names outside the fabric, for all or for those below a suffix, or none; may be repeated [env:
    /// TAFFETA_DNS_UPSTREAM, separated by commas] [default: the machine's]
    #[arg(long, value_name = "[SUFFIX=]IP[:PORT]")]
    pub(crate) dns_upstream: Vec<String>,
    /// A network that may transfer the zone (AXFR), as 10.0.0.0/8; may be repeated [env: TAFFETA_DNS_TRANSFER, separated
    /// by commas] [default: nobody]
    #[arg(long, value_name = "NETWORK")]
    pub(crate) dns_transfer: Vec<String>,
    /// Most DNS replies of one kind a second to one network outside this machine; 0 for no limit [env:
    /// TAFFETA_DNS_RATE] [default: 1000]
    #[arg(long, value_name = "N")]
    pub(crate) dns_rate: Option<String>,
    /// How long DNS answers may be cached; the same on all machines [env: TAFFETA_DNS_TTL] [default: 1]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) dns_ttl: Option<String>,
    /// Where DNS over TLS listens [env: TAFFETA_DNS_TLS] [default: nowhere]
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) dns_tls: Option<String>,
    /// Where DNS over HTTPS listens [env: TAFFETA_DNS_HTTPS] [default: nowhere]
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) dns_https: Option<String>,
    /// Where DNS over QUIC listens [env: TAFFETA_DNS_QUIC] [default: nowhere]
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) dns_quic: Option<String>,
    /// Certificate chain in PEM for the encrypted listeners [env: TAFFETA_DNS_CERT] [default: the node's own]
    #[arg(long, value_name = "FILE")]
    pub(crate) dns_cert: Option<String>,
    /// Its private key in PEM [env: TAFFETA_DNS_KEY]
    #[arg(long, value_name = "FILE")]
    pub(crate) dns_key: Option<String>,
    /// Where tasks are answered on port 53, at an address that no other machine reaches, or off: then they see the
    /// machine's own resolv.conf [env: TAFFETA_TASK_DNS] [default: an address of 127.84.0.0/16]
    #[arg(long, value_name = "IP|off")]
    pub(crate) task_dns: Option<String>,
    /// A path of this machine that tasks may be given by `mounts`, with all below it, only to be read with :ro; may be
    /// repeated; none for none [env: TAFFETA_ALLOW_HOST_PATH, separated by commas] [default: none]
    #[arg(long, value_name = "PATH[:ro]")]
    pub(crate) allow_host_path: Vec<String>,
    /// Largest file that is fetched for a task, as 2GiB [env: TAFFETA_FETCH_MAX] [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) fetch_max: Option<String>,
    /// Most disk that fetched files take together; those used least lately go [env: TAFFETA_FETCH_CACHE] [default: 10GiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) fetch_cache: Option<String>,
    /// How long one file may take to be fetched [env: TAFFETA_FETCH_TIMEOUT] [default: 600]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) fetch_timeout: Option<String>,
    /// Zone of this machine, as a rack or a site: tasks are spread over zones [env: TAFFETA_ZONE]
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// An attribute that constraints may ask for; may be repeated [env: TAFFETA_ATTR, separated by commas]
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) attr: Vec<String>,
    /// Processors that are offered to tasks, as 2 or 0.5 [env: TAFFETA_CPUS] [default: what the machine has]
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<String>,
    /// Memory that is offered to tasks, as 8GiB [env: TAFFETA_MEMORY] [default: what the machine has, less 256MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Disk that is offered to tasks, as 100GiB [env: TAFFETA_DISK] [default: what is free where the data folder is]
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk: Option<String>,
    /// A countable resource that the machine has, as gpu=2; may be repeated [env: TAFFETA_RESOURCE, separated by commas]
    #[arg(long, value_name = "NAME=N")]
    pub(crate) resource: Vec<String>,
    /// A member of the cluster to join; may be repeated [env: TAFFETA_JOIN, separated by commas]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) join: Vec<String>,
    /// Give up joining after so many seconds [env: TAFFETA_JOIN_TIMEOUT] [default: never]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) join_timeout: Option<String>,
    /// How quickly the ring judges its members: lan, or wan for machines on several continents; the same on all of them
    /// [env: TAFFETA_RING] [default: lan]
    #[arg(long, value_name = "lan|wan")]
    pub(crate) ring: Option<String>,
    /// Do not let the kernel cut large sends into packets (GSO): some network cards fail at it [env: TAFFETA_NO_GSO]
    #[arg(long)]
    pub(crate) no_gso: bool,
    /// Answer the API without a token; on a loopback address only [env: TAFFETA_API_OPEN]
    #[arg(long)]
    pub(crate) api_open: bool,
    /// Run tasks even where this machine cannot isolate them completely [env: TAFFETA_BEST_EFFORT]
    #[arg(long)]
    pub(crate) best_effort: bool,
    /// Let this node be hurt on purpose by whoever has the token in its data folder's chaos.token; not remembered [env:
    /// TAFFETA_CHAOS]
    #[arg(long)]
    pub(crate) chaos: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// The folder that makes this node itself: a folder that is a member already needs no --join and no --token
    /// [env: TAFFETA_DATA] [default: /var/lib/taffeta as root, else $XDG_STATE_HOME/taffeta]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The token to join with, from `taffeta token create` on a member [env: TAFFETA_JOIN_TOKEN]
    #[arg(long, value_name = "TOKEN", alias = "join-token")]
    pub(crate) token: Option<String>,
    /// The data folder was moved here: it is all that the node had, at its newest, and the original never starts again
    #[arg(long)]
    pub(crate) moved: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ResolveArgs {
    /// A name, as web.shop or web.shop.fabric.internal
    pub(crate) name: String,
    /// The type of record: A, AAAA, SRV, TXT, PTR, ...
    #[arg(value_name = "TYPE", default_value = "A")]
    pub(crate) record_type: String,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Go on with what happens; with -o json one object a line
    #[arg(short, long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// The token to join with [env: TAFFETA_JOIN_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) join_token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// `APP/SERVICE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobPath {
    pub(crate) app: AppName,
    pub(crate) job: JobName,
}

impl FromStr for JobPath {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (app, job) = s.split_once('/').ok_or("write APP/SERVICE, as shop/web")?;
        let wrong = |e: InvalidName| e.to_string();
        Ok(Self { app: AppName::new(app).map_err(wrong)?, job: JobName::new(job).map_err(wrong)? })
    }
}

/// `APP` or `APP/SERVICE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppOrJob {
    pub(crate) app: AppName,
    pub(crate) job: Option<JobName>,
}

impl FromStr for AppOrJob {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if s.contains('/') {
            let JobPath { app, job } = s.parse()?;
            return Ok(Self { app, job: Some(job) });
        }
        Ok(Self { app: AppName::new(s).map_err(|e| e.to_string())?, job: None })
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_and_flag_says_what_it_is_for() {
        fn check(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} has no sentence");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{path}: {} has no help", arg.get_id());
            }
            command.get_subcommands().for_each(|inner| check(inner, &format!("{path} {}", inner.get_name())));
        }
        check(&Cli::command(), "taffeta");
    }
}
