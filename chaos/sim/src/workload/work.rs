//! The apps that give the scheduler work: a service that is updated in all the ways there are, with a cron job, a batch job
//! and a daemon beside it, and two services of which one makes way for the other.

use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};

/// Memory of an instance of the service that makes way, in MiB: two of them fill most of a machine.
const FILLER: u32 = 1_400;

/// The most that the team of that service may have, where it is limited: three instances.
pub(crate) const TEAM_MAX: u64 = 3 * FILLER as u64 * (1 << 20);

/// That team.
pub(crate) const TEAM: &str = "red";

/// How the service gets from one version to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Rolling { surge: u32, unavailable: u32 },
    Canary { by_hand: bool },
    BlueGreen { by_hand: bool },
}

/// One version of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// `tide`: the service `front`, the cron job `tick`, the batch job `chore` and the daemon `warden`.
    Tide(Tide),
    /// `low`: the service `filler`, which makes way.
    Low { count: u32 },
    /// `high`: the service `vip`, which is let through.
    High { count: u32 },
}

/// What is different in each version of `tide`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tide {
    pub(crate) version: u32,
    pub(crate) count: u32,
    /// Never gets healthy.
    sick: bool,
    way: Way,
    overlap: &'static str,
    missed: &'static str,
}

impl Way {
    fn any(rng: &mut SmallRng) -> Self {
        let by_hand = rng.random_bool(0.5);
        match rng.random_range(0..5) {
            0 | 1 => Self::Rolling { surge: 0, unavailable: rng.random_range(1..=2) },
            2 => Self::Rolling { surge: rng.random_range(1..=2), unavailable: 0 },
            3 => Self::Canary { by_hand },
            _ => Self::BlueGreen { by_hand },
        }
    }

    /// As a value of the app file; `within`: how long an instance may take to work.
    fn policy(&self, within: &str) -> String {
        let promote = |by_hand: &bool| if *by_hand { "manual" } else { "2s" };
        let own = match self {
            Self::Rolling { surge, unavailable } => format!("max_surge = {surge}, max_unavailable = {unavailable}"),
            Self::Canary { by_hand } => format!(r#"canary = 1, promote = "{}""#, promote(by_hand)),
            Self::BlueGreen { by_hand } => format!(r#"strategy = "blue-green", promote = "{}""#, promote(by_hand)),
        };
        format!(r#"{{ {own}, healthy_within = "{within}" }}"#)
    }
}

impl Tide {
    /// Any version of it.
    pub(crate) fn any(rng: &mut SmallRng, version: u32) -> Self {
        Self {
            version,
            count: rng.random_range(2..=4),
            sick: rng.random_bool(0.25),
            way: Way::any(rng),
            overlap: ["skip", "queue", "replace"].choose(rng).copied().unwrap_or("skip"),
            missed: ["skip", "run"].choose(rng).copied().unwrap_or("skip"),
        }
    }

    /// A version that works and comes to its end by itself.
    pub(crate) fn sound(rng: &mut SmallRng, version: u32) -> Self {
        let way = match Way::any(rng) {
            Way::Canary { .. } => Way::Canary { by_hand: false },
            Way::BlueGreen { .. } => Way::BlueGreen { by_hand: false },
            rolling @ Way::Rolling { .. } => rolling,
        };
        Self { count: 3, sick: false, way, ..Self::any(rng, version) }
    }
}

impl Work {
    pub(crate) fn app(&self) -> &'static str {
        match self {
            Self::Tide(_) => "tide",
            Self::Low { .. } => "low",
            Self::High { .. } => "high",
        }
    }

    /// Its service, and how many instances.
    pub(crate) fn service(&self) -> (&'static str, u32) {
        match self {
            Self::Tide(tide) => ("front", tide.count),
            Self::Low { count } => ("filler", *count),
            Self::High { count } => ("vip", *count),
        }
    }

    /// Its daemon, if it has one.
    pub(crate) fn daemon(&self) -> Option<&'static str> {
        match self {
            Self::Tide(_) => Some("warden"),
            Self::Low { .. } | Self::High { .. } => None,
        }
    }

    /// As an app file.
    pub(crate) fn file(&self) -> String {
        match self {
            Self::Tide(tide) => {
                let Tide { version, count, sick, way, overlap, missed } = tide;
                let (run, policy) = if *sick { ("sick", way.policy("4s")) } else { ("front", way.policy("60s")) };
                format!(
                    r#"
app = "tide"
[service.front]
count = {count}
run = ["{run}"]
ports = ["http"]
cpus = 0.1
memory = "64MiB"
grace = "1s"
health = {{ http = "/health", port = "http", every = "500ms", timeout = "400ms" }}
env = {{ VERSION = "{version}" }}
update = {policy}
[cron.tick]
run = ["batch", "good"]
schedule = "R//PT4S"
epsilon = "2s"
overlap = "{overlap}"
missed = "{missed}"
cpus = 0.1
memory = "32MiB"
grace = "1s"
[batch.chore]
run = ["batch", "good"]
count = 2
cpus = 0.1
memory = "32MiB"
grace = "1s"
[daemon.warden]
run = ["warden"]
cpus = 0.1
memory = "16MiB"
grace = "1s"
env = {{ VERSION = "{version}" }}
"#
                )
            }
            Self::Low { count } => format!(
                r#"
app = "low"
team = "{TEAM}"
[service.filler]
count = {count}
run = ["filler"]
priority = 10
cpus = 0.1
memory = "{FILLER}MiB"
grace = "1s"
update = {{ max_unavailable = 4 }}
"#
            ),
            Self::High { count } => format!(
                r#"
app = "high"
[service.vip]
count = {count}
run = ["vip"]
priority = 90
cpus = 0.1
memory = "3000MiB"
grace = "1s"
"#
            ),
        }
    }
}
