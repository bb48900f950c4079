//! Configuration: flags, then the environment, then the file, then defaults; each value knows where it came from.
//!
//! Flags, variables and file all give text, which is parsed here once, so that a wrong value gets the same error wherever
//! it was written, with its place. Left out: what a data folder remembers, which the node itself looks up.

mod api;
mod file;
mod node;

pub(crate) use api::{API, TOKEN_FILE, default_data};

use crate::failure::{Failure, Outcome};
use std::{
    collections::BTreeMap,
    env, fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf, absolute},
};

/// Where the file is unless `TAFFETA_CONFIG` names another.
const FILE: &str = "/etc/taffeta.toml";

/// Largest configuration file in bytes; there are a dozen keys.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Api,
    Token,
    Data,
    Name,
    Address,
    Advertise,
    Http,
    Dns,
    Zone,
    Attr,
    Cpus,
    Memory,
    Disk,
    Resource,
    Join,
    JoinToken,
    JoinTimeout,
    Ring,
    NoGso,
    ApiOpen,
    BestEffort,
    Chaos,
    DnsAlias,
    DnsUpstream,
    DnsTransfer,
    DnsRate,
    DnsTtl,
    DnsTls,
    DnsHttps,
    DnsQuic,
    DnsCertFile,
    DnsKeyFile,
    TaskDns,
    AllowHostPath,
    FetchMax,
    FetchCache,
    FetchTimeout,
}

/// What kind of value a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    /// A text, or a number in the file.
    Amount,
    List,
    /// `KEY=VALUE` each; a table in the file.
    Pairs,
    /// `NAME=NUMBER` each; a table of whole numbers in the file.
    Counts,
    Switch,
}

impl Key {
    pub(crate) const ALL: [Self; 37] = [
        Self::Api,
        Self::Token,
        Self::Data,
        Self::Name,
        Self::Address,
        Self::Advertise,
        Self::Http,
        Self::Dns,
        Self::Zone,
        Self::Attr,
        Self::Cpus,
        Self::Memory,
        Self::Disk,
        Self::Resource,
        Self::Join,
        Self::JoinToken,
        Self::JoinTimeout,
        Self::Ring,
        Self::NoGso,
        Self::ApiOpen,
        Self::BestEffort,
        Self::Chaos,
        Self::DnsAlias,
        Self::DnsUpstream,
        Self::DnsTransfer,
        Self::DnsRate,
        Self::DnsTtl,
        Self::DnsTls,
        Self::DnsHttps,
        Self::DnsQuic,
        Self::DnsCertFile,
        Self::DnsKeyFile,
        Self::TaskDns,
        Self::AllowHostPath,
        Self::FetchMax,
        Self::FetchCache,
        Self::FetchTimeout,
    ];

    /// Its name in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Token => "token",
            Self::Data => "data",
            Self::Name => "name",
            Self::Address => "address",
            Self::Advertise => "advertise",
            Self::Http => "http",
            Self::Dns => "dns",
            Self::Zone => "zone",
            Self::Attr => "attr",
            Self::Cpus => "cpus",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Resource => "resource",
            Self::Join => "join",
            Self::JoinToken => "join_token",
            Self::JoinTimeout => "join_timeout",
            Self::Ring => "ring",
            Self::NoGso => "no_gso",
            Self::ApiOpen => "api_open",
            Self::BestEffort => "best_effort",
            Self::Chaos => "chaos",
            Self::DnsAlias => "dns_alias",
            Self::DnsUpstream => "dns_upstream",
            Self::DnsTransfer => "dns_transfer",
            Self::DnsRate => "dns_rate",
            Self::DnsTtl => "dns_ttl",
            Self::DnsTls => "dns_tls",
            Self::DnsHttps => "dns_https",
            Self::DnsQuic => "dns_quic",
            Self::DnsCertFile => "dns_cert",
            Self::DnsKeyFile => "dns_key",
            Self::TaskDns => "task_dns",
            Self::AllowHostPath => "allow_host_path",
            Self::FetchMax => "fetch_max",
            Self::FetchCache => "fetch_cache",
            Self::FetchTimeout => "fetch_timeout",
        }
    }

    /// Its environment variable.
    pub(crate) fn variable(self) -> String {
        format!("TAFFETA_{}", self.name().to_ascii_uppercase())
    }

    fn shape(self) -> Shape {
        match self {
            Self::Attr => Shape::Pairs,
            Self::Cpus | Self::Memory | Self::Disk | Self::FetchMax | Self::FetchCache => Shape::Amount,
            Self::Resource => Shape::Counts,
            Self::Join | Self::DnsAlias | Self::DnsUpstream | Self::DnsTransfer | Self::AllowHostPath => Shape::List,
            Self::NoGso | Self::ApiOpen | Self::BestEffort | Self::Chaos => Shape::Switch,
            Self::Api
            | Self::Token
            | Self::Data
            | Self::Name
            | Self::Address
            | Self::Advertise
            | Self::Http
            | Self::Dns
            | Self::Zone
            | Self::JoinToken
            | Self::JoinTimeout
            | Self::Ring
            | Self::DnsRate
            | Self::DnsTtl
            | Self::DnsTls
            | Self::DnsHttps
            | Self::DnsQuic
            | Self::DnsCertFile
            | Self::DnsKeyFile
            | Self::TaskDns
            | Self::FetchTimeout => Shape::Text,
        }
    }

    /// Whether it must not be shown.
    pub(crate) fn is_secret(self) -> bool {
        matches!(self, Self::Token | Self::JoinToken)
    }
}

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    List(Vec<String>),
    Switch(bool),
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(String),
    Env(String),
    File { path: PathBuf, line: usize },
}

impl Source {
    /// One word for scripts.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Env(_) => "env",
            Self::File { .. } => "file",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Env(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{}: line {line}", path.display()),
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) value: Value,
    pub(crate) source: Source,
}

/// Everything that was given, by key; of several places the first one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    given: BTreeMap<Key, Given>,
    /// Where the file is, or would be.
    file: PathBuf,
}

impl Settings {
    /// These flags over this process's environment over the file.
    pub(crate) fn gather(flags: Vec<(Key, Value)>) -> Outcome<Self> {
        let variable = |name: &str| match env::var_os(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => {
                value.into_string().map(Some).map_err(|_| Failure::wrong(format!("{name}: the value is not UTF-8")))
            }
        };
        let (path, named) = match variable("TAFFETA_CONFIG")? {
            Some(path) => (PathBuf::from(path), true),
            None => (PathBuf::from(FILE), false),
        };
        let text = read_file(&path, named)?;
        Self::layered(flags, variable, &path, &text)
    }

    fn layered(
        flags: Vec<(Key, Value)>,
        variable: impl Fn(&str) -> Outcome<Option<String>>,
        path: &Path,
        text: &str,
    ) -> Outcome<Self> {
        let mut given = file::read(path, text)?;
        for key in Key::ALL {
            let name = key.variable();
            if let Some(text) = variable(&name)? {
                let source = Source::Env(name);
                given.insert(key, Given { value: value_of_variable(key, text, &source)?, source });
            }
        }
        for (key, value) in flags {
            let flag = format!("--{}", key.name().replace('_', "-"));
            given.insert(key, Given { value, source: Source::Flag(flag) });
        }
        let file = absolute(path).map_err(|e| Failure::wrong(format!("{}: {e}", path.display())))?;
        Ok(Self { given, file })
    }

    pub(crate) fn given(&self, key: Key) -> Option<&Given> {
        self.given.get(&key)
    }

    pub(crate) fn text(&self, key: Key) -> Option<(&str, &Source)> {
        let given = self.given.get(&key)?;
        match &given.value {
            Value::Text(text) => Some((text, &given.source)),
            Value::List(_) | Value::Switch(_) => None,
        }
    }

    /// Parses a text; the error names its place.
    fn parsed<T>(&self, key: Key, parse: impl FnOnce(&str) -> Result<T, String>) -> Outcome<Option<T>> {
        let Some((text, source)) = self.text(key) else { return Ok(None) };
        parse(text).map(Some).map_err(|why| wrong(key, source, &why))
    }

    pub(crate) fn list(&self, key: Key) -> (&[String], Option<&Source>) {
        match self.given.get(&key) {
            Some(Given { value: Value::List(list), source }) => (list, Some(source)),
            Some(_) | None => (&[], None),
        }
    }

    fn switch(&self, key: Key) -> bool {
        matches!(self.given.get(&key), Some(Given { value: Value::Switch(true), .. }))
    }
}

/// The error about a value: a file's line alone does not name the key.
fn wrong(key: Key, source: &Source, why: &str) -> Failure {
    match source {
        Source::Flag(_) | Source::Env(_) => Failure::wrong(format!("{source}: {why}")),
        Source::File { .. } => Failure::wrong(format!("{source}: {}: {why}", key.name())),
    }
}

fn value_of_variable(key: Key, text: String, source: &Source) -> Outcome<Value> {
    Ok(match key.shape() {
        Shape::Text | Shape::Amount => Value::Text(text),
        Shape::List | Shape::Pairs | Shape::Counts => {
            Value::List(text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect())
        }
        Shape::Switch => Value::Switch(match text.as_str() {
            "1" | "true" | "yes" | "on" => true,
            "0" | "false" | "no" | "off" => false,
            other => return Err(wrong(key, source, &format!("expected true or false, found `{other}`"))),
        }),
    })
}

/// The file's text. It need not be there unless somebody named it.
fn read_file(path: &Path, named: bool) -> Outcome<String> {
    let failed =
        |e: &dyn fmt::Display| Failure::wrong(format!("cannot read the configuration {}: {e}", path.display()));
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound && !named => return Ok(String::new()),
        Err(e) => return Err(failed(&e)),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| failed(&e))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(&format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
