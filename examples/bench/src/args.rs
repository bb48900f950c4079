//! The command line.

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use std::{process::ExitCode, time::Duration};

/// Measures taffeta on real nodes of this machine
#[derive(Debug, Parser)]
#[command(name = "taffeta-bench", subcommand_value_name = "NAME", subcommand_help_heading = "Benchmarks")]
#[command(arg_required_else_help = true, disable_help_subcommand = true, max_term_width = 110)]
#[command(after_help = "TAFFETA_BINARY names the binary that is measured; without it, it is this build's own.\n\
                        Exit codes: 0 measured, 1 it failed, 2 the command is wrong, 4 it took too long.")]
pub(crate) struct Cli {
    /// How the figures are printed
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) bench: Bench,
}

/// How figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For scripts: one JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Many nodes: how fast all know of a start, of deaths and of a farewell, and what they use while idle
    Ring(RingArgs),
    /// DNS: what a reply costs beside other servers, and what changes, floods and large zones do to it
    Dns(DnsArgs),
    /// The footprint of one idle node of three
    Node,
    /// Durable writes beside etcd's, the time without a leader after its death, and what idle nodes use
    Store(StoreArgs),
    /// The scheduler on ten thousand machines in memory, a pool against partitions, and tasks on three real nodes
    Scheduler(SchedulerArgs),
    /// A task's start and exit beside crun and bwrap, 200 tasks at once, what they cost, and taking tasks up again
    Isolation(IsolationArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RingArgs {
    /// Nodes, each a process of its own; from 7, so that three may die and most are left
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u8).range(7..=200))]
    pub(crate) nodes: u8,
    /// How many times three nodes are killed at once
    #[arg(long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub(crate) rounds: u8,
    /// Nodes that may be on their way into the ring at any time; by default eight for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) at_once: Option<u8>,
}

#[derive(Debug, Args)]
pub(crate) struct DnsArgs {
    /// Only these cases; all of them by default
    #[arg(long, value_enum, value_name = "CASE", value_delimiter = ',')]
    pub(crate) cases: Vec<DnsCase>,
    /// How long each server is loaded in a round
    #[arg(long, value_name = "SECONDS", default_value_t = 0.4, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Rounds, in each of which every server that is compared has its turn
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) rounds: u8,
    /// Services of the large zone, each of two instances
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(2_000..=500_000))]
    pub(crate) large: u32,
}

/// What is measured of DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum DnsCase {
    /// Addresses of services, of 1,000
    A,
    /// Services with the addresses of their targets, of 1,000
    Srv,
    /// The first in a large zone
    ALarge,
    /// The second in a large zone
    SrvLarge,
    /// The first while the zone changes 100 times a second
    AChanging,
    /// The second while the zone changes 100 times a second
    SrvChanging,
    /// Names that do not exist, each asked for once
    Nxdomain,
    /// Names of others that are in the cache
    Forwarded,
    /// Services, over connections on which questions do not wait for replies
    Tcp,
    /// From the applying of a change in a large zone until a client sees it
    ChangeVisible,
    /// What a flood from one address does to others
    Flood,
    /// How long replies take at a rate that is moderate
    Latency,
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Only these cases; all of them by default
    #[arg(long, value_enum, value_name = "CASE", value_delimiter = ',')]
    pub(crate) cases: Vec<StoreCase>,
    /// How long each store is written to in a round
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Rounds that count, in each of which both stores have their turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) rounds: u8,
    /// How many times the leader is killed
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) kills: u32,
    /// How long idle nodes are watched
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) idle_seconds: u64,
}

/// What is measured of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreCase {
    /// Durable writes of one client
    #[value(name = "durable_writes_1")]
    Writes1,
    /// Durable writes of 64 clients
    #[value(name = "durable_writes_64")]
    Writes64,
    /// Durable writes of 512 clients
    #[value(name = "durable_writes_512")]
    Writes512,
    /// From the leader's death to the next acknowledged write
    #[value(name = "failover_ms")]
    Failover,
    /// Processor and disk while nothing happens
    #[value(name = "idle")]
    Idle,
}

#[derive(Debug, Args)]
pub(crate) struct SchedulerArgs {
    /// Only these cases; all of them by default
    #[arg(long, value_enum, value_name = "CASE", value_delimiter = ',')]
    pub(crate) cases: Vec<SchedulerCase>,
}

/// What is measured of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum SchedulerCase {
    /// Placing 100,000 tasks on 10,000 machines, and what changes of them cost
    Place,
    /// The same, with agents that pull their sets and report
    Agents,
    /// Machines that one pool needs, against partitions
    Utilisation,
    /// A service of 30 instances on three real nodes
    #[value(name = "deploy_30")]
    Deploy30,
    /// Short tasks that come to their end there
    Finished,
}

#[derive(Debug, Args)]
pub(crate) struct IsolationArgs {
    /// Only these cases; all of them by default
    #[arg(long, value_enum, value_name = "CASE", value_delimiter = ',')]
    pub(crate) cases: Vec<IsolationCase>,
    /// Rounds that count, in each of which the product and its peers have their turns
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// How long a node with 200 tasks is watched
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) idle_seconds: u64,
}

/// What is measured of the isolation of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IsolationCase {
    /// From the start of `true` to its exit, beside crun and bwrap
    #[value(name = "plain_true")]
    PlainTrue,
    /// 200 tasks at once on one node
    #[value(name = "start_200")]
    Start200,
    /// Memory of what looks after a task, of 200 tasks and of some without isolation
    #[value(name = "shim_memory")]
    ShimMemory,
    /// Processor time of a node that has 200 tasks and nothing to do
    #[value(name = "idle_200")]
    Idle200,
    /// Taking up the ten tasks of a node that was killed
    #[value(name = "readopt_10")]
    Readopt10,
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s| (0.05..=60.0).contains(s)).ok_or_else(|| "from 0.05 to 60".to_owned())
}

impl Bench {
    /// As on the command line and in the figures.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ring(_) => "ring",
            Self::Dns(_) => "dns",
            Self::Node => "node",
            Self::Store(_) => "store",
            Self::Scheduler(_) => "scheduler",
            Self::Isolation(_) => "isolation",
        }
    }

    /// How long it may take: several times what it does.
    pub(crate) fn limit(&self) -> Duration {
        match self {
            Self::Ring(args) => Duration::from_secs(180 + 60 * u64::from(args.rounds)),
            // Up to six servers have their turn in a round of a case.
            Self::Dns(args) => {
                Duration::from_secs(120) + Duration::from_secs_f64(args.seconds * f64::from(args.rounds) * 6.0 * 12.0)
            }
            Self::Node => Duration::from_secs(120),
            Self::Scheduler(_) => Duration::from_secs(600),
            // A round takes a tenth of a second; 200 tasks take some seconds to come and to go.
            Self::Isolation(args) => Duration::from_secs(300 + u64::from(args.rounds) + args.idle_seconds),
            // Two stores in three cases; a kill takes some seconds until all are back.
            Self::Store(args) => {
                let turns = args.seconds * f64::from(args.rounds + 1) * 6.0;
                let rest = u64::from(args.kills) * 20 + 2 * args.idle_seconds;
                Duration::from_secs_f64(turns * 2.0) + Duration::from_secs(240 + rest)
            }
        }
    }
}

/// The command line, or the exit code after the parser has said what it has to say.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|told| match told.kind() {
        ErrorKind::InvalidSubcommand => {
            let rendered = told.render().to_string();
            let name = rendered.split('\'').nth(1).unwrap_or_default();
            eprintln!("error: there is no benchmark `{name}`\nhelp: there are {}", names().join(", "));
            ExitCode::from(2)
        }
        _ => {
            let _ = told.print(); // nobody reads it any more
            ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2))
        }
    })
}

/// The benchmarks that there are.
fn names() -> Vec<String> {
    Cli::command().get_subcommands().map(|bench| bench.get_name().to_owned()).collect()
}
