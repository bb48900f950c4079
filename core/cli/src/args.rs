//! The verbs and their flags. What is left out of a flag's type, as addresses, is parsed in `settings`, where the
//! environment and the file say the same.

mod upkeep;

pub(crate) use upkeep::{MaintenanceArgs, VolumeVerb};

use crate::{chaos::ChaosVerb, dns::DnsVerb, output::Format, units};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::{path::PathBuf, str::FromStr, time::Duration};
use taffeta_model::{AppName, Cpus, InvalidName, JobName, SecretName, TaskId, TeamName, TokenId};

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
    /// Break things on purpose, here in a simulator, and see whether the fabric keeps its promises
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
pub(crate) struct DemoArgs {
    /// How many nodes; each is a process on its own loopback address
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) nodes: u8,
    /// Leave the fabric empty instead of deploying the example shop
    #[arg(long)]
    pub(crate) no_shop: bool,
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

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// The app file (TOML); `-` reads it from stdin
    pub(crate) file: PathBuf,
    /// Wait until every service is healthy and every batch job has finished
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The app file (TOML); `-` reads it from stdin
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Only the tasks of this app
    pub(crate) app: Option<AppName>,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// APP/SERVICE.INDEX, as shop/web.2
    pub(crate) task: TaskId,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// The service or batch job, as shop/web
    #[arg(value_name = "APP/SERVICE")]
    pub(crate) job: JobPath,
    /// The number of instances
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(taffeta_model::COUNT_MAX)))]
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// The app
    pub(crate) app: AppName,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// A service as shop/web, or a whole app as shop
    #[arg(value_name = "APP[/SERVICE]")]
    pub(crate) what: AppOrJob,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The app
    pub(crate) app: AppName,
    /// The version; without it the newest that was not given up
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<u64>,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The batch or cron job, as shop/report
    #[arg(value_name = "APP/JOB")]
    pub(crate) job: JobPath,
    /// Arguments that are appended to the job's own
    #[arg(last = true, value_name = "ARG")]
    pub(crate) args: Vec<String>,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// The batch or cron job, as shop/report
    #[arg(value_name = "APP/JOB")]
    pub(crate) job: JobPath,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on with what the task writes, until it has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// What it wrote to stderr instead of stdout
    #[arg(long)]
    pub(crate) stderr: bool,
    /// How much of the end to begin with
    #[arg(long, value_name = "BYTES", default_value = "64KiB", value_parser = units::size)]
    pub(crate) tail: u64,
    /// APP/SERVICE.INDEX, as shop/web.2
    pub(crate) task: TaskId,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
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
