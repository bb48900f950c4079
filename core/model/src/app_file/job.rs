//! One `[service.NAME]`, `[batch.NAME]`, `[cron.NAME]` or `[daemon.NAME]`.

use super::{
    Shipped,
    autoscale::read_autoscale,
    constraint::{read_constraint, read_preference},
    cron::CronKeys,
    dns::read_dns,
    error::AppFileError,
    fetch::read_fetch,
    health::read_health,
    isolation::{read_isolation, read_rlimits, read_user},
    item::Item,
    logs::read_logs,
    mount::{read_mounts, read_tmpfs},
    update::read_update,
    volume::read_volume,
};
use crate::{
    COUNT_MAX, CpuSet, HISTORY_MAX, IO_WEIGHT_MAX, Job, JobKind, JobName, JobRef, PRIORITY_MAX, PlacementStrategy,
    PortSpec, SecretName,
};
use std::{collections::BTreeMap, num::NonZeroU32};

/// Each key with the example that an error about it shows.
pub(super) const KEYS: [(&str, &str); 48] = [
    ("run", "run = [\"./server\", \"--port\", \"$PORT_HTTP\"]"),
    ("count", "count = 3"),
    ("ports", "ports = [\"http\"]` or `ports = { http = 8080 }"),
    ("cpus", "cpus = 0.25"),
    ("memory", "memory = \"64MiB\""),
    ("disk", "disk = \"1GiB\""),
    ("cpu_quota", "cpu_quota = true"),
    ("cpuset", "cpuset = \"0,2-3\""),
    ("io_weight", "io_weight = 50"),
    ("pids", "pids = 512"),
    ("env", "env = { GREETING = \"hello\" }"),
    ("health", "health = { http = \"/health\", port = \"http\", every = \"1s\" }"),
    ("constraints", "constraints = [\"hostname UNIQUE\"]"),
    ("resources", "resources = { gpu = 1 }"),
    ("prefer", "prefer = [\"disk IS ssd\", { rule = \"zone IS attic\", weight = -50 }]"),
    ("placement", "placement = \"pack\""),
    ("with", "with = [\"cache\"]"),
    ("apart", "apart = [\"shop/db\"]"),
    ("priority", "priority = 70"),
    ("revocable", "revocable = true"),
    ("exclusive", "exclusive = true"),
    ("update", "update = { max_surge = 1, max_unavailable = 0 }"),
    ("autoscale", "autoscale = { min = 2, max = 10, cpu = 0.7 }"),
    ("after", "after = [\"migrate\"]"),
    ("files", "files = [\"server.py\"]"),
    ("tags", "tags = [\"blue\"]"),
    ("dns", "dns = { order = \"near\", answers = 3 }"),
    ("grace", "grace = \"10s\""),
    ("reschedule_after", "reschedule_after = \"5s\""),
    ("retries", "retries = 2"),
    ("schedule", "schedule = \"0 3 * * 1-5\"` or `schedule = \"R/2026-11-22T02:00:00Z/PT24H\""),
    ("timezone", "timezone = \"Europe/Vienna\""),
    ("epsilon", "epsilon = \"15m\"` or `epsilon = \"PT15M\""),
    ("overlap", "overlap = \"queue\""),
    ("missed", "missed = \"run\""),
    ("deadline", "deadline = \"1h\""),
    ("parallel", "parallel = 10"),
    ("history", "history = 5"),
    ("secrets", "secrets = [\"db-password\"]"),
    ("secret_env", "secret_env = { DB_PASSWORD = \"db-password\" }"),
    ("volume", "volume = { name = \"data\", size = \"1GiB\" }"),
    ("mounts", "mounts = [{ host = \"/srv/static\", at = \"/static\", read_only = true }]"),
    ("tmpfs", "tmpfs = [{ at = \"/scratch\", size = \"64MiB\" }]"),
    (
        "fetch",
        "fetch = [\"https://example.org/x.tgz#sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"]",
    ),
    ("isolation", "isolation = \"strict\"` or `isolation = { profile = \"standard\", without = [\"pid-namespace\"] }"),
    ("user", "user = \"www-data\"` or `user = \"1000:1000\""),
    ("rlimits", "rlimits = { nofile = 4096, memlock = \"unlimited\" }"),
    ("logs", "logs = { size = \"8MiB\", files = 4 }"),
];

/// Keys that the product promises and this version does not do yet.
const LATER: [(&str, &str); 1] = [("image", "container images are")];

/// Keys of cron jobs alone, and of those that run to an end.
pub(super) const OF_CRON: [&str; 5] = ["schedule", "timezone", "epsilon", "overlap", "missed"];
pub(super) const OF_BATCH: [&str; 4] = ["retries", "deadline", "parallel", "history"];

/// Most retries of a batch job: with the longest back-off between them a run is not tried for ever.
const RETRIES_MAX: u32 = 1000;
/// The kernel's own limit of process ids (`PID_MAX_LIMIT` on 64 bits).
const PIDS_MAX: u32 = 4_194_304;
/// Least memory: below it not even a C library can be loaded.
const MEMORY_MIN: u64 = 1 << 20;

/// Reads a job's table. Files are read as they are met; `after` and what else lies between fields is checked later.
pub(super) fn read_job(table: &Item<'_>, kind: JobKind, shipped: &mut Shipped<'_>) -> Result<Job, AppFileError> {
    let mut job = Job::new(kind);
    let (mut health, mut autoscale, mut cron) = (None, None, CronKeys::default());
    let mut counted = false;
    for (key, item) in table.entries()? {
        counted |= key == "count";
        if key == "health" {
            health = Some(item); // needs the ports, which may come later
        } else if key == "autoscale" {
            if job.kind != JobKind::Service {
                return Err(with_example(item.error("only a service is scaled by its load"), key));
            }
            autoscale = Some(item); // and so does this
        } else if OF_CRON.contains(&key) {
            cron.read(&job, key, item).map_err(|e| with_example(e, key))?;
        } else {
            read_key(&mut job, key, &item, shipped).map_err(|e| with_example(e, key))?;
        }
    }
    if job.run.is_empty() {
        return Err(with_example(table.missing("run", "the program and its arguments"), "run"));
    }
    if let JobKind::Cron { .. } = kind {
        job.cron = Some(cron.finish(table).map_err(|e| with_example(e, "schedule"))?);
    }
    if let Some(item) = autoscale {
        let scale = read_autoscale(&item, &job.ports).map_err(|e| with_example(e, "autoscale"))?;
        if !counted {
            job.count = scale.min;
        }
        job.autoscale = Some(scale);
    }
    job.health =
        health.map(|item| read_health(&item, &job.ports).map_err(|e| with_example(e, "health"))).transpose()?;
    Ok(job)
}

fn read_key(job: &mut Job, key: &str, item: &Item<'_>, shipped: &mut Shipped<'_>) -> Result<(), AppFileError> {
    match key {
        "run" => job.run = read_run(item)?,
        "count" if job.kind == JobKind::Daemon => {
            return Err(item.error("a daemon has one instance on each machine that matches"));
        }
        "count" => job.count = item.whole("a number of instances", 0, COUNT_MAX)?,
        "ports" => {
            job.ports = read_ports(item)?;
            let allocated = job.ports.iter().filter(|p| p.fixed.is_none()).count();
            job.resources.ports = u32::try_from(allocated).map_err(|_| item.error("too many ports"))?;
        }
        "cpus" => job.resources.cpus = item.cpus()?,
        "memory" => job.resources.memory = read_memory(item)?,
        "disk" => job.resources.disk = item.size()?,
        "cpu_quota" => job.cpu_quota = item.bool()?,
        "cpuset" => {
            let set: Result<CpuSet, _> = item.string()?.parse();
            job.cpuset = Some(set.map_err(|bad| item.error(bad.to_string()))?);
        }
        "io_weight" => job.io_weight = Some(item.whole("a weight", 1, IO_WEIGHT_MAX)?),
        "pids" => job.pids_max = item.whole("a number of processes", 2, PIDS_MAX)?,
        "env" => job.env = read_env(item)?,
        "constraints" => {
            let rules = item.elements("an array of strings")?;
            job.constraints = rules.iter().map(read_constraint).collect::<Result<_, _>>()?;
        }
        "resources" => job.custom = read_custom(item)?,
        "prefer" => {
            let wishes = item.elements("an array of rules, or of tables with a rule and a weight")?;
            job.prefer = wishes.iter().map(read_preference).collect::<Result<_, _>>()?;
        }
        "placement" => {
            job.strategy = match item.string()? {
                "spread" => PlacementStrategy::Spread,
                "pack" => PlacementStrategy::Pack,
                _ => return Err(item.expected("`spread` or `pack`")),
            };
        }
        "with" => job.with = read_job_refs(item)?,
        "apart" => job.apart = read_job_refs(item)?,
        "priority" => {
            let priority = item.whole("a priority", 0, PRIORITY_MAX.into())?;
            job.priority = u8::try_from(priority).map_err(|_| item.error("too high a priority"))?;
        }
        "revocable" => job.revocable = item.bool()?,
        "exclusive" if job.kind == JobKind::Daemon => {
            return Err(item.error("a daemon has its machine for itself and never moves: leave this out"));
        }
        "exclusive" => job.exclusive = item.bool()?,
        "update" => match job.kind {
            JobKind::Service | JobKind::Daemon => job.update = read_update(item, job.kind)?,
            JobKind::Batch { .. } | JobKind::Cron { .. } => {
                return Err(item.error("a job that is changed runs again: there is nothing to replace"));
            }
        },
        "after" => job.after = read_after(item)?,
        "files" => {
            let names = item.elements("an array of file names")?;
            job.files = names.iter().map(|name| shipped.add(name)).collect::<Result<_, _>>()?;
        }
        "tags" => job.tags = item.strings()?,
        "dns" => match job.kind {
            JobKind::Service | JobKind::Daemon => job.dns = read_dns(item)?,
            JobKind::Batch { .. } | JobKind::Cron { .. } => return Err(item.error("only a service has DNS names")),
        },
        "grace" => job.grace = item.duration()?,
        "reschedule_after" => job.reschedule_after = item.duration()?,
        "retries" => match &mut job.kind {
            JobKind::Batch { retries } | JobKind::Cron { retries } => {
                *retries = item.whole("a number of retries", 0, RETRIES_MAX)?;
            }
            JobKind::Service | JobKind::Daemon => {
                return Err(item.error("only a batch or cron job has retries: anything else is always restarted"));
            }
        },
        "deadline" | "parallel" | "history" if !job.kind.is_batch() => {
            return Err(item.error(format!("only a batch or cron job has this: a {} runs for ever", job.kind.table())));
        }
        "deadline" => job.deadline = Some(item.iso_duration()?),
        "parallel" => job.parallel = NonZeroU32::new(item.whole("a number of instances", 1, COUNT_MAX)?),
        "history" => {
            let runs = item.whole("a number of runs", 1, HISTORY_MAX.into())?;
            job.history = u8::try_from(runs).map_err(|_| item.error("too many runs"))?;
        }
        "secrets" => {
            let names = item.elements("an array of names of secrets")?;
            job.secrets = names.iter().map(read_secret).collect::<Result<_, _>>()?;
        }
        "secret_env" => job.secret_env = read_secret_env(item)?,
        "volume" if job.kind == JobKind::Daemon => {
            return Err(item.error("a daemon has no volume: its instances may keep data in folders of their machines"));
        }
        "volume" => job.volume = Some(read_volume(item)?),
        "mounts" => job.mounts = read_mounts(item)?,
        "tmpfs" => job.tmpfs = read_tmpfs(item)?,
        "fetch" => job.fetch = read_fetch(item)?,
        "isolation" => job.isolation = read_isolation(item)?,
        "user" => job.user = Some(read_user(item)?),
        "rlimits" => job.rlimits = read_rlimits(item)?,
        "logs" => job.logs = read_logs(item)?,
        _ => return Err(unknown(item, key, job.kind)),
    }
    Ok(())
}

fn unknown(item: &Item<'_>, key: &str, kind: JobKind) -> AppFileError {
    if let Some((_, what)) = LATER.iter().find(|(later, _)| *later == key) {
        return item.error(format!("{what} not supported by this version"));
    }
    let fits = |key: &&str| match kind {
        JobKind::Service => !OF_BATCH.contains(key) && !OF_CRON.contains(key),
        JobKind::Batch { .. } => !["health", "dns", "update", "autoscale"].contains(key) && !OF_CRON.contains(key),
        JobKind::Cron { .. } => !["health", "dns", "update", "autoscale"].contains(key),
        JobKind::Daemon => {
            !["count", "placement", "autoscale", "exclusive", "volume"].contains(key)
                && !OF_BATCH.contains(key)
                && !OF_CRON.contains(key)
        }
    };
    let known: Vec<&str> = KEYS.iter().map(|(key, _)| *key).filter(fits).collect();
    item.unknown_key(key, &known)
}

fn with_example(error: AppFileError, key: &str) -> AppFileError {
    match KEYS.iter().find(|(known, _)| *known == key) {
        Some((_, example)) => error.help(format!("as in `{example}`")),
        None => error,
    }
}

fn read_run(item: &Item<'_>) -> Result<Vec<String>, AppFileError> {
    let run = item.strings()?;
    if run.first().is_none_or(String::is_empty) {
        return Err(item.error("expected the program and its arguments, found no program"));
    }
    Ok(run)
}

fn read_memory(item: &Item<'_>) -> Result<u64, AppFileError> {
    let memory = item.size()?;
    if memory < MEMORY_MIN { Err(item.error(format!("{memory} bytes; at least 1MiB is needed"))) } else { Ok(memory) }
}

/// Names to be allocated and tables of fixed numbers: `["http", { admin = 9000 }]`, or one table alone.
fn read_ports(item: &Item<'_>) -> Result<Vec<PortSpec>, AppFileError> {
    if item.value().is_table() {
        return read_fixed_ports(item);
    }
    let mut ports = vec![];
    for element in item.elements("an array of port names, or a table of names and numbers")? {
        if element.value().is_table() {
            ports.extend(read_fixed_ports(&element)?);
        } else {
            let name = element.string().map_err(|_| element.expected("a port name or { NAME = NUMBER }"))?;
            ports.push(PortSpec { name: name.into(), fixed: None });
        }
    }
    Ok(ports)
}

fn read_fixed_ports(item: &Item<'_>) -> Result<Vec<PortSpec>, AppFileError> {
    let read = |(name, number): (&str, Item<'_>)| {
        let fixed = number.whole("a port number", 1, u16::MAX.into())?;
        Ok(PortSpec { name: name.into(), fixed: u16::try_from(fixed).ok() })
    };
    item.entries()?.into_iter().map(read).collect()
}

fn read_env(item: &Item<'_>) -> Result<BTreeMap<String, String>, AppFileError> {
    let read = |(name, value): (&str, Item<'_>)| {
        let help = format!("write the value in quotes: `{name} = \"...\"`");
        Ok((name.to_string(), value.string().map_err(|e| e.help(help))?.to_string()))
    };
    item.entries()?.into_iter().map(read).collect()
}

fn read_after(item: &Item<'_>) -> Result<Vec<JobName>, AppFileError> {
    let read = |e: &Item<'_>| JobName::new(e.string()?).map_err(|bad| e.error(bad.to_string()));
    item.elements("an array of job names")?.iter().map(read).collect()
}

fn read_custom(item: &Item<'_>) -> Result<BTreeMap<String, u64>, AppFileError> {
    let read = |(name, number): (&str, Item<'_>)| {
        Ok((name.to_owned(), number.whole("a number of this resource", 1, u32::MAX)?.into()))
    };
    item.entries()?.into_iter().map(read).collect()
}

fn read_job_refs(item: &Item<'_>) -> Result<Vec<JobRef>, AppFileError> {
    let read = |e: &Item<'_>| e.string()?.parse().map_err(|bad: String| e.error(bad));
    item.elements("an array of jobs, as `db` or `shop/db`")?.iter().map(read).collect()
}

fn read_secret(item: &Item<'_>) -> Result<SecretName, AppFileError> {
    SecretName::new(item.string()?).map_err(|e| item.error(e.to_string()))
}

fn read_secret_env(item: &Item<'_>) -> Result<BTreeMap<String, SecretName>, AppFileError> {
    item.entries()?.iter().map(|(name, secret)| Ok(((*name).to_owned(), read_secret(secret)?))).collect()
}
