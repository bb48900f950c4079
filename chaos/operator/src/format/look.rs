//! Probes of the fabric: `func` and `arguments` of the provider `taffeta`.

use super::fields::{Field, nearest};
use crate::text::{Node, Wrong};
use serde_json::{Value as Json, json};
use std::fmt;
use taffeta_model::{AppName, JobName};

/// What a probe looks at. Each is asked of any node that answers, not of one that may be dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Name of the leader; `null` if none is known.
    Leader,
    /// Whether a leader is known. Writes are possible then, unless its disk takes none.
    Quorum,
    /// How many machines are alive.
    Alive,
    /// Which part of the wanted instances serves, 0 to 1: of a service, of an app, or of all.
    Strength(Scope),
    /// Which part of the machines that are alive gives the right answers by DNS, 0 to 1.
    Names(Scope),
    /// Which part of the instances that DNS gives out answers HTTP, 0 to 1.
    Serves {
        /// Which service.
        scope: Scope,
        /// What is asked for.
        path: String,
    },
    /// How many faults are on.
    Faults,
}

/// All services, those of an app, or one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only those of this app.
    pub app: Option<AppName>,
    /// Only this one of it.
    pub service: Option<JobName>,
}

/// The words for `func`.
pub const LOOKS: [&str; 7] = ["leader", "quorum", "alive", "strength", "names", "serves", "faults"];

impl Look {
    pub(super) fn read(func: &Field<'_>, arguments: Option<&Field<'_>>) -> Result<Self, Wrong> {
        let word = func.text()?;
        let known: &[&str] = match word {
            "strength" | "names" => &["app", "service"],
            "serves" => &["app", "service", "path"],
            _ => &[],
        };
        if !LOOKS.contains(&word) {
            return Err(func.wrong(format!("unknown probe `{word}`")).help(nearest(word, &LOOKS)));
        }
        let fields = arguments.map(|arguments| arguments.fields(known)).transpose()?;
        let get = |key: &str| fields.as_ref().and_then(|fields| fields.get(key));
        let scope = Scope::read(get("app").as_ref(), get("service").as_ref())?;
        Ok(match word {
            "leader" => Self::Leader,
            "quorum" => Self::Quorum,
            "alive" => Self::Alive,
            "strength" => Self::Strength(scope),
            "names" => Self::Names(scope),
            "serves" => Self::Serves { scope, path: get("path").map_or_else(|| Ok("/".into()), |path| path.name())? },
            _ => Self::Faults, // the last of `LOOKS`, which the word is one of
        })
    }
}

impl Look {
    /// A probe from a command line: its name and its arguments.
    pub fn from_words(func: &str, arguments: &Json) -> Result<Self, Wrong> {
        let (func, arguments) = (Node::of_json(1, &json!(func)), Node::of_json(1, arguments));
        Self::read(&Field::new("", &func), Some(&Field::new("", &arguments)))
    }
}

impl Scope {
    /// `service` is written as in targets, the service before its app: `web/shop`.
    fn read(app: Option<&Field<'_>>, service: Option<&Field<'_>>) -> Result<Self, Wrong> {
        let app = app.map(|field| AppName::new(field.text()?).map_err(|e| field.wrong(e.to_string()))).transpose()?;
        let Some(field) = service else { return Ok(Self { app, service: None }) };
        let (service, of) = match field.text()?.split_once('/') {
            Some((service, of)) => (service, Some(AppName::new(of).map_err(|e| field.wrong(e.to_string()))?)),
            None => (field.text()?, app),
        };
        let service = JobName::new(service).map_err(|e| field.wrong(e.to_string()))?;
        match of {
            Some(of) => Ok(Self { app: Some(of), service: Some(service) }),
            None => Err(field.wrong("of which app? write SERVICE/APP, as web/shop")),
        }
    }

    /// Whether a service is meant.
    pub fn holds(&self, app: &str, service: &str) -> bool {
        self.app.as_ref().is_none_or(|own| own.as_str() == app)
            && self.service.as_ref().is_none_or(|own| own.as_str() == service)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.app, &self.service) {
            (Some(app), Some(service)) => write!(f, "{service}/{app}"),
            (Some(app), None) => write!(f, "{app}"),
            (None, _) => f.write_str("all services"),
        }
    }
}
