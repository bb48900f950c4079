//! What all seeds of one call have in common, and the command that repeats one of them.

use super::args::SimFlags;
use crate::failure::{Failure, Outcome};
use std::{
    collections::BTreeSet,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};
use taffeta_chaos_plan::{FaultKind, FaultPlan, Target};
use taffeta_sim::SimConfig;

/// Most bytes of a plan that are read: ten times what the largest plan takes.
const PLAN_BYTES_MAX: u64 = 16 << 20;

/// Virtual time of a run beyond that under faults: until all must be well again.
const BESIDES: Duration = Duration::from_secs(150);

/// What is to be simulated with any seed.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    /// With a seed of no meaning.
    config: SimConfig,
    minutes: f64,
    /// Where the plan came from.
    plan: Option<PathBuf>,
}

impl Scenario {
    /// Reads and checks what the flags name.
    pub(super) fn read(flags: &SimFlags) -> Outcome<Self> {
        let lasts = Duration::from_secs_f64(flags.minutes * 60.0);
        let plan = flags.plan.as_deref().map(|path| read_plan(path, flags.nodes, lasts)).transpose()?;
        let config = SimConfig {
            nodes: flags.nodes,
            lasts,
            faults: if plan.is_some() { BTreeSet::new() } else { kinds(&flags.faults)? },
            plan,
            tick: Duration::from_millis(flags.tick_ms),
            ..SimConfig::new(0)
        };
        config.check().map_err(|e| Failure::wrong(e.to_string()))?;
        Ok(Self { config, minutes: flags.minutes, plan: flags.plan.clone() })
    }

    /// The run of this seed.
    pub(super) fn config(&self, seed: u64) -> SimConfig {
        SimConfig { seed, ..self.config.clone() }
    }

    /// Whether every kind of fault may happen.
    pub(super) fn allows_all(&self) -> bool {
        FaultKind::SIMULATED.iter().all(|kind| self.config.faults.contains(kind))
    }

    /// No run takes more virtual time, but for some seconds.
    pub(super) fn virtual_max(&self) -> Duration {
        self.config.lasts + BESIDES
    }

    /// The words behind `taffeta` that run one seed of this.
    pub(super) fn words(&self, seed: u64) -> Vec<String> {
        let mut words: Vec<String> = ["chaos", "sim", "--seed"].map(String::from).into();
        words.extend([seed.to_string(), "--nodes".into(), self.config.nodes.to_string()]);
        words.extend(["--minutes".into(), self.minutes.to_string()]);
        match &self.plan {
            Some(path) => words.extend(["--plan".into(), path.display().to_string()]),
            None if self.allows_all() => {}
            None if self.config.faults.is_empty() => words.extend(["--faults".into(), "none".into()]),
            None => {
                let kinds: Vec<&str> = self.config.faults.iter().map(|kind| kind.as_str()).collect();
                words.extend(["--faults".into(), kinds.join(",")]);
            }
        }
        let tick = self.config.tick;
        if tick != SimConfig::new(seed).tick {
            words.extend(["--tick-ms".into(), tick.as_millis().to_string()]);
        }
        words
    }

    /// The command that does the same again, to be pasted into a shell.
    pub(super) fn repeat(&self, seed: u64) -> String {
        let quoted = |word: &String| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=+:".contains(c);
            if word.chars().all(plain) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
        };
        let words: Vec<String> = self.words(seed).iter().map(quoted).collect();
        format!("taffeta {}", words.join(" "))
    }
}

/// The kinds of a list as people write it.
fn kinds(list: &str) -> Outcome<BTreeSet<FaultKind>> {
    match list.trim() {
        "all" => Ok(FaultKind::SIMULATED.into()),
        "none" => Ok(BTreeSet::new()),
        list => list.split(',').map(|word| kind(word.trim())).collect(),
    }
}

fn kind(word: &str) -> Outcome<FaultKind> {
    let alone = matches!(word, "all" | "none");
    let known: Result<FaultKind, _> = word.parse();
    if let Some(real) = known.as_ref().ok().filter(|kind| !kind.is_simulated()) {
        return Err(Failure::wrong(format!("--faults: the simulator does not know `{real}`"))
            .help("it is for real nodes: `taffeta chaos inject`"));
    }
    known.map_err(|e| {
        if alone {
            return Failure::wrong(format!("--faults: `{word}` stands alone, without other kinds"));
        }
        let few = e.expected.len() < FaultKind::all().len();
        let known = if few { "did you mean" } else { "use all, none, or some of" };
        let help = format!("{known} {}{}", e.expected.join(", "), if few { "?" } else { "" });
        Failure::wrong(format!("--faults: unknown {} `{word}`", e.what)).help(help)
    })
}

/// Reads a plan and checks that all of it will happen.
fn read_plan(path: &Path, nodes: usize, lasts: Duration) -> Outcome<FaultPlan> {
    let shown = path.display();
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(PLAN_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|e| Failure::wrong(format!("cannot read {shown}: {e}")))?;
    let plan = parse_plan(&text).map_err(|e| {
        let example = r#"{"faults": [{"at_ms": 1000, "lasts_ms": 5000, "target": "leader", "fault": "pause"}]}"#;
        Failure::wrong(format!("{shown}: {e}")).help(format!("a plan looks like {example}"))
    })?;
    plan.check_simulated().map_err(|e| Failure::wrong(format!("{shown}: {e}")))?;
    for (index, planned) in plan.faults.iter().enumerate() {
        if let Target::Node(name) = &planned.target
            && !(1..=nodes).any(|n| *name == format!("n{n}"))
        {
            let wrong = format!("{shown}: faults[{index}].target is {name}; expected n1 to n{nodes}");
            return Err(Failure::wrong(wrong).help("the nodes of a simulation are n1, n2 and so on; see --nodes"));
        }
        if planned.at >= lasts {
            let (at, lasts) = (planned.at.as_millis(), lasts.as_millis());
            let wrong = format!("{shown}: faults[{index}].at_ms is {at}; expected less than {lasts}, when faults end");
            return Err(Failure::wrong(wrong).help("give more --minutes"));
        }
    }
    Ok(plan)
}

/// What is wrong is told with line and field.
fn parse_plan(text: &str) -> Result<FaultPlan, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let wrong = |field: Option<String>, e: &serde_json::Error| {
        let told = e.to_string();
        let what = told.rsplit_once(" at line ").map_or(told.as_str(), |(what, _)| what);
        let field = field.map(|field| format!("{field}: ")).unwrap_or_default();
        format!("line {}: {field}{what}", e.line())
    };
    let plan = serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let field = Some(e.path().to_string()).filter(|path| path != ".");
        wrong(field, e.inner())
    })?;
    json.end().map_err(|e| wrong(None, &e))?;
    Ok(plan)
}

#[cfg(test)]
mod tests;
