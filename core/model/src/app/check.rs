//! What must hold between the fields of an app.

use super::{
    ANSWERS_MAX, App, COUNT_MAX, CUSTOM_MAX, Constraint, DnsPolicy, FILE_BYTES_MAX, HISTORY_MAX, Health, HealthProbe,
    IO_WEIGHT_MAX, InvalidApp, JOBS_MAX, Job, JobKind, Operator, PREFERENCE_WEIGHT_MAX, PREFERENCES_MAX, PRIORITY_MAX,
    PortSpec, Preference, UpdatePolicy, WEIGHT_MAX,
};
use crate::{AppName, JOB_SECRETS_MAX, JobName, SURGE_MAX, SecretName};
use std::{collections::BTreeSet, time::Duration};

/// Most text in bytes of all jobs together (arguments, environment, rules, tags): it travels in one log entry.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Most ports and most tags of one job: every node's catalogue holds them once per instance.
const PORTS_MAX: usize = 32;
const TAGS_MAX: usize = 32;

/// Longest tag in bytes: what one character string of a TXT record holds (RFC 1035, 3.3.14).
const TAG_BYTES_MAX: usize = 255;

/// Resources that have keys of their own.
const BUILT_IN: [&str; 4] = ["cpus", "memory", "disk", "ports"];

/// Longest duration: a year is as good as never, and no clock arithmetic overflows by it.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl App {
    /// Checks what holds between fields: known names in `after`, `files` and `health.port`, no cycle, sizes, ranges.
    /// A node calls it again on every deploy, as the command may not come from our own parser.
    pub fn check(&self) -> Result<(), InvalidApp> {
        if self.jobs.is_empty() {
            return Err(invalid("app", "the app has no [service.NAME], [batch.NAME], [cron.NAME] or [daemon.NAME]"));
        }
        if self.jobs.len() > JOBS_MAX {
            return Err(invalid("app", format!("{} jobs; at most {JOBS_MAX} are allowed", self.jobs.len())));
        }
        let bytes: usize = self.files.values().map(|f| f.body.len()).sum();
        if bytes > FILE_BYTES_MAX {
            return Err(invalid("files", format!("{bytes} bytes of files; at most {FILE_BYTES_MAX} are shipped")));
        }
        if let Some(name) = self.files.keys().find(|name| !is_plain_file_name(name)) {
            return Err(invalid("files", format!("`{name}` is not a plain file name")));
        }
        let text: usize = self.jobs.values().map(|job| job.text_bytes()).sum();
        if text > TEXT_BYTES_MAX {
            return Err(invalid("app", format!("{text} bytes of text; at most {TEXT_BYTES_MAX} are kept")));
        }
        for (name, job) in &self.jobs {
            self.check_job(name, job)?;
        }
        self.check_order()
    }

    fn check_job(&self, name: &JobName, job: &Job) -> Result<(), InvalidApp> {
        let at = |field: &str| format!("{}.{name}.{field}", job.kind.table());
        if job.run.first().is_none_or(String::is_empty) {
            return Err(invalid(at("run"), "expected a program and its arguments, as [\"./server\", \"--flag\"]"));
        }
        if job.count > COUNT_MAX {
            return Err(invalid(at("count"), format!("{} instances; at most {COUNT_MAX} are allowed", job.count)));
        }
        job.check_ports().map_err(|message| invalid(at("ports"), message))?;
        job.check_texts().map_err(|(field, message)| invalid(at(field), message))?;
        job.check_secrets().map_err(|(field, message)| invalid(at(field), message))?;
        for file in &job.files {
            if !self.files.contains_key(file) {
                return Err(invalid(at("files"), format!("`{file}` was not shipped with the app")));
            }
        }
        if let Some(health) = &job.health {
            health.check(job).map_err(|(field, message)| invalid(at(field), message))?;
        }
        for (field, duration) in [("grace", job.grace), ("reschedule_after", job.reschedule_after)] {
            if duration > DURATION_MAX {
                return Err(invalid(at(field), "at most a year (8760h) is allowed"));
            }
        }
        if job.dns.weight > WEIGHT_MAX || job.dns.answers.is_some_and(|n| n.get() > ANSWERS_MAX) {
            return Err(invalid(
                at("dns"),
                format!("at most {ANSWERS_MAX} answers and a weight of {WEIGHT_MAX} are allowed"),
            ));
        }
        if job.kind.is_batch() && job.dns != DnsPolicy::default() {
            return Err(invalid(at("dns"), "only a service has DNS names"));
        }
        job.check_placing(&self.name, name).map_err(|(field, message)| invalid(at(field), message))?;
        if job.pids_max < 2 {
            return Err(invalid(at("pids"), "at least 2 processes are needed"));
        }
        if let Some(weight) = job.io_weight.filter(|weight| !(1..=IO_WEIGHT_MAX).contains(weight)) {
            return Err(invalid(at("io_weight"), format!("{weight}; expected a weight from 1 to {IO_WEIGHT_MAX}")));
        }
        if job.kind.is_batch() && job.health.is_some() {
            let message = format!("a {} job has no health check: it is done when it ends with 0", job.kind.table());
            return Err(invalid(at("health"), message));
        }
        if let Some(autoscale) = &job.autoscale {
            autoscale.check(job).map_err(|(field, message)| invalid(at(field), message))?;
        }
        job.check_isolation().map_err(|(field, message)| invalid(at(field), message))?;
        job.check_volume().map_err(|(field, message)| invalid(at(field), message))?;
        job.check_mounts().map_err(|(field, message)| invalid(at(field), message))?;
        job.check_fetch().map_err(|message| invalid(at("fetch"), message))?;
        job.check_logs().map_err(|(field, message)| invalid(at(field), message))?;
        job.check_runs().map_err(|(field, message)| invalid(at(field), message))
    }

    /// Refuses unknown names and cycles in `after`.
    fn check_order(&self) -> Result<(), InvalidApp> {
        let ordered = || self.jobs.iter().filter(|(_, job)| !job.after.is_empty());
        if ordered().next().is_none() {
            return Ok(());
        }
        let recurring = self.recurring();
        for (name, job) in ordered() {
            let at = format!("{}.{name}.after", job.kind.table());
            for earlier in &job.after {
                if !self.jobs.contains_key(earlier) {
                    return Err(invalid(at, format!("`{earlier}` is not a job of this app")));
                }
            }
            self.check_recurring(job, &recurring).map_err(|message| invalid(at.clone(), message))?;
            let mut seen = BTreeSet::new();
            if let Some(cycle) = self.find_cycle(&mut vec![name], &mut seen) {
                return Err(invalid(at, format!("a cycle: {cycle}")));
            }
        }
        Ok(())
    }

    /// After a job that runs again and again comes another run of a batch job, and nothing else.
    fn check_recurring(&self, job: &Job, recurring: &BTreeSet<JobName>) -> Result<(), String> {
        let Some(earlier) = job.after.iter().find(|earlier| recurring.contains(*earlier)) else { return Ok(()) };
        match job.kind {
            JobKind::Batch { .. } => Ok(()),
            JobKind::Cron { .. } => Err(format!(
                "`{earlier}` runs again and again: a job has either a schedule or runs after such a job; make this one a \
                 [batch.NAME]"
            )),
            JobKind::Service | JobKind::Daemon => {
                Err(format!("`{earlier}` runs again and again: only a batch job can come after each of its runs"))
            }
        }
    }

    /// Follows `after` from the last of `path`; gives `a after b after a` when it comes back to its start. `seen` keeps
    /// the walk linear: a job from which the start was not reached once is not walked again.
    fn find_cycle<'a>(&'a self, path: &mut Vec<&'a JobName>, seen: &mut BTreeSet<&'a JobName>) -> Option<String> {
        for earlier in &self.jobs.get(path[path.len() - 1])?.after {
            if earlier == path[0] {
                let names: Vec<&str> = path.iter().map(|n| n.as_str()).chain([path[0].as_str()]).collect();
                return Some(names.join(" after "));
            }
            if !seen.insert(earlier) {
                continue;
            }
            path.push(earlier);
            let found = self.find_cycle(path, seen);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

impl Job {
    fn check_ports(&self) -> Result<(), String> {
        if self.ports.len() > PORTS_MAX {
            return Err(format!("{} ports; at most {PORTS_MAX} are allowed", self.ports.len()));
        }
        let mut names = BTreeSet::new();
        let mut numbers = BTreeSet::new();
        for PortSpec { name, fixed } in &self.ports {
            if JobName::new(name.clone()).is_err() {
                return Err(format!("`{name}` is not a port name: use a-z, 0-9 and `-`"));
            }
            if *fixed == Some(0) {
                return Err("0 is not a port; leave the number out to have one allocated".into());
            }
            if !names.insert(name) {
                return Err(format!("the name `{name}` is given twice"));
            }
            if let Some(number) = fixed.filter(|n| !numbers.insert(*n)) {
                return Err(format!("the number {number} is given twice"));
            }
        }
        if self.resources.ports as usize != self.ports.iter().filter(|p| p.fixed.is_none()).count() {
            return Err("the number of allocated ports does not match".into());
        }
        Ok(())
    }

    /// What the kernel and DNS cannot take is refused here, not on the machine that would start the task.
    fn check_texts(&self) -> Result<(), (&'static str, String)> {
        if self.run.iter().any(|arg| arg.contains('\0')) {
            return Err(("run", "an argument contains a zero byte".into()));
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(("env", format!("`{name}`: a name is not empty and has no `=`; no zero bytes")));
            }
        }
        if self.tags.len() > TAGS_MAX {
            return Err(("tags", format!("{} tags; at most {TAGS_MAX} are allowed", self.tags.len())));
        }
        let bad = |tag: &&String| tag.is_empty() || tag.len() > TAG_BYTES_MAX || tag.contains(char::is_control);
        if let Some(tag) = self.tags.iter().find(bad) {
            return Err(("tags", format!("`{tag}` is not a tag: 1 to {TAG_BYTES_MAX} bytes, no control characters")));
        }
        Ok(())
    }

    fn check_runs(&self) -> Result<(), (&'static str, String)> {
        if self.cron.is_some() != matches!(self.kind, JobKind::Cron { .. }) {
            return Err(("schedule", "a cron job has a schedule, and nothing else has one".into()));
        }
        if self.cron.as_ref().is_some_and(|cron| cron.epsilon > DURATION_MAX) {
            return Err(("epsilon", "at most a year (8760h) is allowed".into()));
        }
        if !self.kind.is_batch() && self.deadline.is_some() {
            return Err(("deadline", "only batch and cron jobs have a deadline".into()));
        }
        if self.deadline.is_some_and(|deadline| !(Duration::from_secs(1)..=DURATION_MAX).contains(&deadline)) {
            return Err(("deadline", "expected at least 1s and at most a year (8760h)".into()));
        }
        if !self.kind.is_batch() && self.parallel.is_some() {
            return Err(("parallel", "only batch and cron jobs run so many instances at once".into()));
        }
        if !(1..=HISTORY_MAX).contains(&self.history) {
            return Err(("history", format!("{}; expected 1 to {HISTORY_MAX} runs", self.history)));
        }
        Ok(())
    }

    fn check_secrets(&self) -> Result<(), (&'static str, String)> {
        let count = self.secrets.len() + self.secret_env.len();
        if count > JOB_SECRETS_MAX {
            return Err(("secrets", format!("{count} secrets; at most {JOB_SECRETS_MAX} are given to one task")));
        }
        for name in self.secret_env.keys() {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(("secret_env", format!("`{name}`: a name is not empty and has no `=`; no zero bytes")));
            }
            if name.starts_with("TAFFETA_") || name.starts_with("PORT_") {
                return Err((
                    "secret_env",
                    format!("`{name}`: names that begin with TAFFETA_ or PORT_ are the fabric's"),
                ));
            }
            if self.env.contains_key(name) {
                return Err(("secret_env", format!("`{name}` is in `env`, too")));
            }
        }
        Ok(())
    }

    fn check_placing(&self, app: &AppName, name: &JobName) -> Result<(), (&'static str, String)> {
        if self.custom.len() > CUSTOM_MAX {
            return Err(("resources", format!("{}; at most {CUSTOM_MAX} are allowed", self.custom.len())));
        }
        self.custom.keys().try_for_each(|name| check_resource_name(name)).map_err(|message| ("resources", message))?;
        if let Some((resource, _)) = self.custom.iter().find(|(_, count)| **count == 0) {
            return Err(("resources", format!("`{resource}`: expected at least 1")));
        }
        for constraint in &self.constraints {
            constraint.check().map_err(|message| ("constraints", message))?;
        }
        if self.prefer.len() > PREFERENCES_MAX {
            return Err(("prefer", format!("{}; at most {PREFERENCES_MAX} are allowed", self.prefer.len())));
        }
        for Preference { rule, weight } in &self.prefer {
            if !matches!(rule.operator, Operator::Is(_) | Operator::Like(_) | Operator::Unlike(_)) {
                return Err(("prefer", format!("`{rule}`: a preference knows IS, LIKE and UNLIKE")));
            }
            if *weight == 0 || !(-PREFERENCE_WEIGHT_MAX..=PREFERENCE_WEIGHT_MAX).contains(weight) {
                let most = PREFERENCE_WEIGHT_MAX;
                return Err(("prefer", format!("{weight}; expected a weight from -{most} to {most}, but not 0")));
            }
            rule.check().map_err(|message| ("prefer", message))?;
        }
        for (field, others) in [("with", &self.with), ("apart", &self.apart)] {
            if others.len() > JOBS_MAX {
                return Err((field, format!("{} jobs; at most {JOBS_MAX} are allowed", others.len())));
            }
            if others.iter().any(|other| other.job == *name && other.app.as_ref().is_none_or(|a| a == app)) {
                return Err((field, "names the job itself; `hostname UNIQUE` keeps its instances apart".into()));
            }
        }
        if let Some(both) = self.with.iter().find(|other| self.apart.contains(other)) {
            return Err(("apart", format!("`{both}` is in `with`, too")));
        }
        let UpdatePolicy { max_surge, max_unavailable, canary, blue_green, promote, healthy_within, .. } = &self.update;
        if *max_surge == 0 && *max_unavailable == 0 && !blue_green {
            return Err(("update", "with max_surge = 0 and max_unavailable = 0 nothing could ever be replaced".into()));
        }
        if *max_surge > SURGE_MAX {
            return Err(("update", format!("max_surge = {max_surge}; at most {SURGE_MAX} is allowed")));
        }
        if *blue_green && *canary > 0 {
            return Err(("update", "blue-green has no canary: all that is new comes before it is promoted".into()));
        }
        if promote.is_some_and(|after| after > DURATION_MAX) || *healthy_within > DURATION_MAX {
            return Err(("update", "at most a year (8760h) is allowed".into()));
        }
        if self.exclusive && self.kind == JobKind::Daemon {
            return Err(("exclusive", "a daemon has its machine for itself and never moves: leave this out".into()));
        }
        if self.exclusive && (*max_surge > 0 || *canary > 0 || *blue_green) {
            let message = "instances of an exclusive job are replaced in their places, one after the other: leave out \
                           max_surge, canary and blue-green";
            return Err(("update", message.into()));
        }
        if self.priority > PRIORITY_MAX {
            return Err(("priority", format!("{}; at most {PRIORITY_MAX} is allowed", self.priority)));
        }
        Ok(())
    }

    /// All secrets that a task of it gets, as files or variables.
    pub fn all_secrets(&self) -> BTreeSet<SecretName> {
        self.secrets.iter().chain(self.secret_env.values()).cloned().collect()
    }

    fn text_bytes(&self) -> usize {
        let env: usize = self.env.iter().map(|(name, value)| name.len() + value.len()).sum();
        let rules = self.constraints.iter().chain(self.prefer.iter().map(|p| &p.rule)).map(|c| {
            c.field.len()
                + match &c.operator {
                    Operator::Is(value) | Operator::Like(value) | Operator::Unlike(value) => value.len(),
                    Operator::Cluster(value) => value.as_ref().map_or(0, String::len),
                    Operator::Unique | Operator::MaxPer(_) | Operator::GroupBy(_) => 0,
                }
        });
        let probe = self.health.as_ref().map_or(0, |health| match &health.probe {
            HealthProbe::Http { path, .. } => path.len(),
            HealthProbe::Tcp { .. } => 0,
            HealthProbe::Run { run } => run.iter().map(String::len).sum(),
        });
        let metric = self.autoscale.as_ref().and_then(|scale| scale.metric.as_ref());
        let metric = metric.map_or(0, |metric| metric.name.len() + metric.path.len() + metric.port.len());
        let after: usize = self.after.iter().map(|name| name.as_str().len()).sum();
        let lists: usize = [&self.run, &self.files, &self.tags].into_iter().flatten().map(String::len).sum();
        env + rules.sum::<usize>() + probe + metric + after + lists + self.around_bytes()
    }
}

impl Constraint {
    /// Refuses a regular expression that is none, or that would be costly to match with.
    fn check(&self) -> Result<(), String> {
        let (Operator::Like(pattern) | Operator::Unlike(pattern)) = &self.operator else { return Ok(()) };
        crate::app::whole(pattern).map(drop).map_err(|why| format!("`{pattern}` is not a regular expression: {why}"))
    }
}

/// Refuses what cannot name a countable resource, in words.
pub fn check_resource_name(name: &str) -> Result<(), String> {
    if JobName::new(name).is_err() {
        return Err(format!("`{name}` is not a name: use a-z, 0-9 and `-`"));
    }
    if BUILT_IN.contains(&name) {
        return Err(format!("`{name}` is a key of its own: write `{name} = ...`"));
    }
    Ok(())
}

/// Whether a file of this name stays in the folder that it is copied to, whatever a client claims its name to be.
pub(crate) fn is_plain_file_name(name: &str) -> bool {
    let length_ok = (1..=255).contains(&name.len()); // NAME_MAX of Linux
    length_ok && name != "." && name != ".." && !name.contains(|c: char| c == '/' || c.is_control())
}

impl Health {
    /// The error says which field of the job it is about.
    fn check(&self, job: &Job) -> Result<(), (&'static str, String)> {
        let known = |port: &str| {
            let ok = job.ports.iter().any(|p| p.name == port);
            if ok { Ok(()) } else { Err(("health.port", format!("`{port}` is not one of the job's ports"))) }
        };
        match &self.probe {
            HealthProbe::Http { path, port } => {
                if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
                    let message = format!("`{path}` is not a path: it begins with `/` and has no spaces");
                    return Err(("health.http", message));
                }
                known(port)?;
            }
            HealthProbe::Tcp { port } => known(port)?,
            HealthProbe::Run { run } => {
                if run.first().is_none_or(String::is_empty) || run.iter().any(|arg| arg.contains('\0')) {
                    return Err(("health.run", "expected a program and its arguments without zero bytes".into()));
                }
            }
        }
        if !(Duration::from_millis(100)..=DURATION_MAX).contains(&self.every) {
            return Err(("health.every", "expected at least 100ms and at most a year (8760h)".into()));
        }
        if !(Duration::from_millis(10)..=DURATION_MAX).contains(&self.timeout) {
            return Err(("health.timeout", "expected at least 10ms and at most a year (8760h)".into()));
        }
        if self.failures == 0 {
            return Err(("health.failures", "expected at least 1".into()));
        }
        Ok(())
    }
}

fn invalid(field: impl Into<String>, message: impl Into<String>) -> InvalidApp {
    InvalidApp { field: field.into(), message: message.into() }
}
