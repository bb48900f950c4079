//! What an experiment says, once it was read and checked.

use super::{Look, Secrets, Strike};
use crate::{timeline::Request, tolerance::Tolerance};
use serde_json::Value as Json;
use std::{collections::BTreeMap, time::Duration};

/// An experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What it is called; names the run.
    pub title: String,
    /// What is expected, in words.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What must hold before, and again after the faults.
    pub hypothesis: Option<Hypothesis>,
    /// What is done.
    pub method: Vec<Activity>,
    /// What is done at the end, whatever happened.
    pub rollbacks: Vec<Activity>,
    /// What this tool alone understands.
    pub rules: Rules,
    /// What is in the file and is not obeyed, in words.
    pub ignored: Vec<String>,
    /// What must not be told.
    pub secrets: Secrets,
    /// The file, its variables not filled in. What is written under `secrets` is in it.
    pub source: Json,
}

/// The steady state.
#[derive(Clone, Debug)]
pub struct Hypothesis {
    /// What it is called.
    pub title: String,
    /// Each has a tolerance.
    pub probes: Vec<Activity>,
}

/// A probe or an action.
#[derive(Clone, Debug)]
pub struct Activity {
    /// What it is called.
    pub name: String,
    /// Whether it only looks.
    pub is_probe: bool,
    /// Who does it.
    pub provider: Provider,
    /// What a probe's value is held against.
    pub tolerance: Option<Tolerance>,
    /// Whether the next one begins without waiting for this one.
    pub background: bool,
    /// Pause before it.
    pub before: Duration,
    /// Pause after it.
    pub after: Duration,
    /// Where it is in the file: path and line.
    pub place: (String, usize),
    /// As in the file, its variables not filled in.
    pub source: Json,
}

/// Who does an activity.
#[derive(Clone, Debug)]
pub enum Provider {
    /// An HTTP request.
    Http(HttpCall),
    /// A command.
    Process(ProcessCall),
    /// A question to the fabric.
    Look(Look),
    /// A fault.
    Strike(Box<Strike>),
}

/// An HTTP request, as the Chaos Toolkit makes it.
#[derive(Clone, Debug)]
pub struct HttpCall {
    /// `http` or `https`.
    pub url: url::Url,
    /// `GET` unless said otherwise.
    pub method: String,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// The query of a GET, else the body: JSON if the content type says so, else a form, or text.
    pub arguments: Json,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether the server's certificate is checked.
    pub verify_tls: bool,
}

/// A command, as the Chaos Toolkit runs it.
#[derive(Clone, Debug)]
pub struct ProcessCall {
    /// The program; looked for in PATH.
    pub path: String,
    /// What it is given: one text is for a shell.
    pub arguments: Arguments,
    /// How long it may take.
    pub timeout: Duration,
}

/// Arguments of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// One by one.
    Words(Vec<String>),
    /// For a shell, behind the program.
    Shell(String),
}

/// Ours, from `extensions: [{name: taffeta, ...}]`.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Decides what is drawn, if the command line does not.
    pub seed: Option<u64>,
    /// How long each probe of the hypothesis, by name, may not hold at a stretch while faults are on and after them.
    /// One that is not named may not hold as long as faults are on.
    pub within: BTreeMap<String, Duration>,
    /// How long requests of a kind may fail at a stretch, for one service or of one writer. Without clients there are none.
    pub requests: BTreeMap<Request, Duration>,
    /// How long after the last fault the hypothesis must hold again.
    pub heal: Duration,
    /// How long after its end a fault may take to be confirmed undone.
    pub confirm: Duration,
    /// What it expects, one line each.
    pub expects: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            seed: None,
            within: BTreeMap::new(),
            requests: BTreeMap::new(),
            heal: HEAL_USUAL,
            confirm: CONFIRM_USUAL,
            expects: vec![],
        }
    }
}

/// Longer than a machine takes to be replaced, and voters to be changed after it.
const HEAL_USUAL: Duration = Duration::from_secs(60);

/// How long after its end a fault may take to be confirmed undone: a machine that was killed starts anew first.
pub const CONFIRM_USUAL: Duration = Duration::from_secs(45);

impl Experiment {
    /// Its title as a name: small letters, digits and hyphens, at most 60 of them.
    pub fn slug(&self) -> String {
        let mut slug = String::new();
        for c in self.title.chars().flat_map(char::to_lowercase) {
            match c {
                'a'..='z' | '0'..='9' => slug.push(c),
                _ if slug.ends_with('-') || slug.is_empty() => {}
                _ => slug.push('-'),
            }
        }
        slug.truncate(60);
        let slug = slug.trim_end_matches('-');
        if slug.is_empty() { "experiment".into() } else { slug.into() }
    }

    /// The faults in it.
    pub fn strikes(&self) -> impl Iterator<Item = (&Activity, &Strike)> {
        self.method.iter().chain(&self.rollbacks).filter_map(|activity| match &activity.provider {
            Provider::Strike(strike) => Some((activity, strike.as_ref())),
            Provider::Http(_) | Provider::Process(_) | Provider::Look(_) => None,
        })
    }
}
