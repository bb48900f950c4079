//! The health check of a service.

use super::{error::AppFileError, item::Item};
use crate::{Health, HealthProbe, PortSpec};
use std::time::Duration;
use toml::de::DeValue;

const KEYS: [&str; 7] = ["http", "tcp", "run", "port", "every", "timeout", "failures"];
const EXAMPLE: &str = "as in `health = { http = \"/health\", every = \"1s\" }`, or with `tcp = true`, or `run = [...]`";

/// Reads `health`. `ports` are those of the job: the check's own port is the first of them unless it is named.
pub(super) fn read_health(item: &Item<'_>, ports: &[PortSpec]) -> Result<Health, AppFileError> {
    let (mut every, mut timeout, mut failures) = (Duration::from_secs(1), Duration::from_millis(500), 3);
    let (mut http, mut tcp, mut run, mut port) = (None, None, None, None);
    for (key, item) in item.entries().map_err(|e| e.help(EXAMPLE))? {
        match key {
            "http" => http = Some(item.string()?),
            "tcp" => tcp = Some(read_tcp(&item)?),
            "run" => run = Some(item.strings()?),
            "port" => port = Some((item.string()?, item)),
            "every" => every = item.duration()?,
            "timeout" => timeout = item.duration()?,
            "failures" => failures = item.whole("a number", 1, 1000)?,
            _ => return Err(item.unknown_key(key, &KEYS)),
        }
    }
    let named = port.as_ref().map(|(name, _)| *name);
    let probe = match (http, tcp, run) {
        (Some(path), None, None) => HealthProbe::Http { path: path.into(), port: port_of(item, named, ports)? },
        (None, Some(own), None) => {
            if let (Some(own), Some((_, port))) = (own, &port) {
                return Err(port.error(format!("`tcp` names the port `{own}` already")));
            }
            HealthProbe::Tcp { port: port_of(item, own.or(named), ports)? }
        }
        (None, None, Some(run)) => {
            if let Some((_, port)) = &port {
                return Err(port
                    .error("a check by `run` has no port")
                    .help("the program finds its ports in $PORT_NAME"));
            }
            HealthProbe::Run { run }
        }
        (_, _, _) => return Err(item.error("expected exactly one of `http`, `tcp` and `run`").help(EXAMPLE)),
    };
    Ok(Health { probe, every, timeout, failures })
}

/// `true`, or the name of a port.
fn read_tcp<'a>(item: &Item<'a>) -> Result<Option<&'a str>, AppFileError> {
    match item.value() {
        DeValue::Boolean(true) => Ok(None),
        DeValue::String(name) => Ok(Some(name)),
        DeValue::Boolean(false)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => Err(item.expected("true or the name of a port")),
    }
}

fn port_of(item: &Item<'_>, named: Option<&str>, ports: &[PortSpec]) -> Result<String, AppFileError> {
    let port = named.or_else(|| ports.first().map(|p| p.name.as_str()));
    let none = || item.error("the job has no port to check").help("add `ports = [\"http\"]`, or check by `run`");
    port.map(String::from).ok_or_else(none)
}
