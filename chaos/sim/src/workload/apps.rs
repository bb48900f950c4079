//! The apps that the operator deploys: services with and without checks, a batch job that others wait for, work that
//! asks for much, fixed ports.

use rand::{RngExt, rngs::SmallRng};

/// Which app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// Two services behind a migration, and one that is exclusive.
    Shop,
    /// A service with a fixed port, one on each machine at most.
    Edge,
    /// Batch work that asks for much.
    Bulk,
}

impl Shape {
    pub(crate) const ALL: [Self; 3] = [Self::Shop, Self::Edge, Self::Bulk];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Edge => "edge",
            Self::Bulk => "bulk",
        }
    }

    /// A service of it, if it has any.
    pub(crate) fn service(self) -> Option<&'static str> {
        match self {
            Self::Shop => Some("web"),
            Self::Edge => Some("gate"),
            Self::Bulk => None,
        }
    }
}

/// One version of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct App {
    pub(crate) shape: Shape,
    pub(crate) version: u32,
    pub(crate) count: u32,
    /// MiB that each bulk task asks for.
    pub(crate) memory: u32,
}

impl App {
    /// Any version of it.
    pub(crate) fn any(rng: &mut SmallRng, shape: Shape, version: u32) -> Self {
        let memory = if rng.random_bool(0.3) { 3_000 } else { 200 };
        // More bulk than there are machines, so that some of it has to wait.
        let most = if shape == Shape::Bulk { 8 } else { 4 };
        Self { shape, version, count: rng.random_range(1..=most), memory }
    }

    /// A version that fits on `machines`, whatever else runs there.
    pub(crate) fn modest(shape: Shape, version: u32, machines: u32) -> Self {
        Self { shape, version, count: machines.min(3), memory: 100 }
    }

    /// As an app file.
    pub(crate) fn file(&self) -> String {
        let Self { shape, version, count, memory } = self;
        let weight = 1 + version % 20;
        let health = r#"{ http = "/health", port = "http", every = "1s", timeout = "500ms" }"#;
        match shape {
            Shape::Shop => format!(
                r#"
app = "shop"
[batch.migrate]
run = ["batch", "good"]
[service.web]
count = {count}
run = ["web", "--port", "$PORT_HTTP"]
ports = ["http"]
cpus = 0.1
memory = "64MiB"
grace = "2s"
health = {health}
env = {{ VERSION = "{version}" }}
after = ["migrate"]
[service.cache]
count = 2
run = ["cache"]
ports = ["http", "admin"]
cpus = 0.1
memory = "64MiB"
grace = "1s"
dns = {{ order = "weighted", weight = {weight} }}
[service.vault]
run = ["vault"]
ports = ["http"]
cpus = 0.1
memory = "64MiB"
grace = "1s"
env = {{ VERSION = "{version}" }}
exclusive = true
"#
            ),
            Shape::Edge => format!(
                r#"
app = "edge"
[service.gate]
count = {count}
run = ["gate"]
ports = [{{ http = 8080 }}]
constraints = ["hostname UNIQUE"]
cpus = 0.1
memory = "64MiB"
grace = "1s"
health = {health}
tags = ["v{version}"]
dns = {{ order = "near" }}
"#
            ),
            Shape::Bulk => format!(
                r#"
app = "bulk"
[batch.crunch]
count = {count}
run = ["batch", "bad"]
cpus = 0.5
memory = "{memory}MiB"
grace = "1s"
[batch.doomed]
run = ["batch", "fails"]
env = {{ VERSION = "{version}" }}
"#
            ),
        }
    }
}
