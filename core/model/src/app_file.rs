//! The app file: TOML text in, a checked [`App`] out, or one error that says which line and field.
//!
//! A walk by hand over the spanned tree instead of serde's derive: each error needs its line, the field's path and
//! what was expected, also where the fault lies between two fields.

mod autoscale;
mod constraint;
mod cron;
mod dns;
mod error;
mod fetch;
mod health;
mod isolation;
mod item;
mod job;
mod logs;
mod mount;
mod units;
mod update;
mod volume;

pub use error::AppFileError;
pub use item::nearest;

use crate::{App, AppName, FILE_BYTES_MAX, Job, JobKind, JobName, ShippedFile, TeamName};
use item::Item;
use std::{collections::BTreeMap, sync::Arc};
use toml::de::{DeTable, DeValue};

/// Largest app file in bytes. It holds at most a hundred jobs; a larger one is another kind of file by mistake.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Tables of jobs, and what is nearest to a mistyped one.
const TOP_KEYS: [&str; 6] = ["app", "team", "service", "batch", "cron", "daemon"];

/// Retries of a batch or cron job that says nothing about them.
const RETRIES: u32 = 2;

/// Where the files of a job's `files` come from: the folder of the app file, a request's parts, a test's table.
pub trait FileSource {
    /// The file of this name, which is a plain name without a directory. The error says why it cannot be read.
    fn read(&mut self, name: &str) -> Result<ShippedFile, String>;
}

/// Parses and checks an app file. Each name in `files` is read once, and only if it is a plain file name.
pub fn parse_app_file(text: &str, files: &mut dyn FileSource) -> Result<App, AppFileError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the app file has {} bytes; at most {TEXT_BYTES_MAX} are read", text.len());
        return Err(AppFileError::new(None, "", message));
    }
    let root = DeTable::parse(text).map_err(|e| syntax_error(text, &e))?;
    let root = DeValue::Table(root.into_inner());
    let app = read_app(&Item::root(text, &root), &mut Shipped { source: files, read: BTreeMap::new(), bytes: 0 })?;
    app.check().map_err(|e| AppFileError::new(item::line_of_field(text, &root, &e.field), e.field, e.message))?;
    Ok(app)
}

/// The line of a field, as `cron.report.schedule`, in the text of an app file: for what is found out only later.
pub fn line_of_field(text: &str, field: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    item::line_of_field(text, &DeValue::Table(root.into_inner()), field)
}

fn syntax_error(text: &str, error: &toml::de::Error) -> AppFileError {
    let line = error.span().map(|span| item::line_at(text, span.start));
    AppFileError::new(line, "", error.message()).help("the file is TOML: see https://toml.io")
}

fn read_app(root: &Item<'_>, shipped: &mut Shipped<'_>) -> Result<App, AppFileError> {
    let (mut name, mut team) = (None, None);
    let mut tables = vec![];
    for (key, item) in root.entries()? {
        match key {
            "app" => name = Some(read_app_name(&item)?),
            "team" => {
                let named = TeamName::new(item.string()?);
                team = Some(named.map_err(|e| item.error(e.to_string()).help("as in `team = \"search\"`"))?);
            }
            "service" => tables.extend(job_tables(&item, JobKind::Service)?),
            "batch" => tables.extend(job_tables(&item, JobKind::Batch { retries: RETRIES })?),
            "cron" => tables.extend(job_tables(&item, JobKind::Cron { retries: RETRIES })?),
            "daemon" => tables.extend(job_tables(&item, JobKind::Daemon)?),
            _ => return Err(item.unknown_key(key, &TOP_KEYS)),
        }
    }
    let missing = || AppFileError::new(None, "app", "missing; expected the app's name").help("as in `app = \"shop\"`");
    let name = name.ok_or_else(missing)?;
    tables.sort_by_key(|(_, _, item)| item.offset()); // so that the error is about the first fault in the file
    let jobs = read_jobs(&tables, shipped)?;
    Ok(App { name, team, jobs, files: std::mem::take(&mut shipped.read) })
}

fn read_app_name(item: &Item<'_>) -> Result<AppName, AppFileError> {
    let help = "as in `app = \"shop\"`";
    let name = item.string().map_err(|e| e.help(help))?;
    AppName::new(name).map_err(|e| item.error(e.to_string()).help(help))
}

/// The jobs below one of the tables of jobs.
fn job_tables<'a>(item: &Item<'a>, kind: JobKind) -> Result<Vec<(&'a str, JobKind, Item<'a>)>, AppFileError> {
    let help = format!("as in `[{}.NAME]`", kind.table());
    let jobs = item.entries().map_err(|e| e.help(help))?;
    Ok(jobs.into_iter().map(|(name, job)| (name, kind, job)).collect())
}

fn read_jobs(
    tables: &[(&str, JobKind, Item<'_>)],
    shipped: &mut Shipped<'_>,
) -> Result<BTreeMap<JobName, Arc<Job>>, AppFileError> {
    let mut jobs = BTreeMap::<JobName, Arc<Job>>::new();
    for (name, kind, item) in tables {
        let name = JobName::new(*name).map_err(|e| item.error(e.to_string()))?;
        if let Some(first) = jobs.get(&name) {
            let message = format!("`{name}` is in [{}.{name}] already", first.kind.table());
            return Err(item.error(message).help("each job of an app has its own name"));
        }
        jobs.insert(name, Arc::new(job::read_job(item, *kind, shipped)?));
    }
    Ok(jobs)
}

/// The files that were read so far.
struct Shipped<'f> {
    source: &'f mut dyn FileSource,
    read: BTreeMap<String, ShippedFile>,
    bytes: usize,
}

impl Shipped<'_> {
    /// Reads the file that `item` names, unless another job had it read already.
    fn add(&mut self, item: &Item<'_>) -> Result<String, AppFileError> {
        let name = item.string()?;
        if !crate::app::is_plain_file_name(name) {
            let message = format!("`{name}` is not a plain file name");
            return Err(item.error(message).help("files lie beside the app file: no `/`, and not `.` or `..`"));
        }
        if !self.read.contains_key(name) {
            let file = self.source.read(name).map_err(|why| item.error(format!("cannot read `{name}`: {why}")))?;
            self.bytes = self.bytes.saturating_add(file.body.len());
            if self.bytes > FILE_BYTES_MAX {
                let message =
                    format!("{} bytes of files with `{name}`; at most {FILE_BYTES_MAX} are shipped", self.bytes);
                return Err(item.error(message).help("larger files belong on the machines or on a server of files"));
            }
            self.read.insert(name.into(), file);
        }
        Ok(name.into())
    }
}

#[cfg(test)]
mod tests;
