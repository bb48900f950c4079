//! An experiment that the stock Chaos Toolkit runs: our provider becomes a command, `taffeta chaos ...`. Pure.

use crate::format::{Activity, Experiment, Provider};
use serde_json::{Map, Value as Json, json};

/// How long a command may take that waits for no fault's end: longer than a machine takes to come back.
const TIMEOUT_S: u64 = 120;
/// How long one may take that strikes one machine after the other: how many there are is not known.
const ONE_BY_ONE_S: u64 = 3_600;

/// How a command is called.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program: `taffeta`, or a path.
    pub program: String,
    /// Flags before the verb, as `--api URL`.
    pub flags: Vec<String>,
    /// Whether faults may take the quorum away.
    pub allow_quorum_loss: bool,
}

impl Experiment {
    /// The same experiment without the provider `taffeta`. Its last step waits until all faults are undone, as the
    /// Chaos Toolkit checks the hypothesis right after the method; the rollbacks end whatever is left.
    pub fn export(&self, command: &Command) -> Json {
        let run = self.slug();
        let mut source = self.source.clone();
        if source.get("faults").is_some() {
            source = self.as_method();
        }
        let taffeta = |words: &[&str], timeout_s: u64| {
            let words: Vec<&str> =
                command.flags.iter().map(String::as_str).chain(["chaos"]).chain(words.iter().copied()).collect();
            json!({"type": "process", "path": command.program, "arguments": words, "timeout": timeout_s})
        };
        let fixed = Fixed { run: &run, seed: self.rules.seed, allow_quorum_loss: command.allow_quorum_loss };
        let mut rewrite = |activity: &mut Json| rewrite(activity, &fixed, &taffeta);
        each(&mut source, "/steady-state-hypothesis/probes", &mut rewrite);
        each(&mut source, "/method", &mut rewrite);
        each(&mut source, "/rollbacks", &mut rewrite);
        let Json::Object(map) = &mut source else { return source };
        if map.get("description").and_then(Json::as_str).unwrap_or_default().is_empty() {
            map.insert("description".into(), json!(self.title)); // one is demanded there
        }
        if self.strikes().next().is_some() {
            let lasts: u64 = self.strikes().map(|(_, strike)| strike.lasts.as_secs() + 1).sum();
            let wait = json!({"type": "action", "name": "wait until every fault is undone",
                "provider": taffeta(&["status", "--wait", "--run", &run], TIMEOUT_S + lasts)});
            push(map, "method", wait);
            let stop = json!({"type": "action", "name": "undo what is left",
                "provider": taffeta(&["stop", "--run", &run], TIMEOUT_S)});
            push(map, "rollbacks", stop);
        }
        source
    }

    /// A fault plan in the words of experiments.
    fn as_method(&self) -> Json {
        let action = |activity: &Activity| {
            let (func, arguments) = match &activity.provider {
                Provider::Strike(strike) => strike.said(),
                Provider::Http(_) | Provider::Process(_) | Provider::Look(_) => ("", Json::Null), // a plan has only faults
            };
            json!({
                "type": "action",
                "name": activity.name,
                "provider": {"type": "taffeta", "func": func, "arguments": arguments},
                "pauses": {"before": activity.before.as_secs_f64()},
            })
        };
        let probe = |name: &str, func: &str, tolerance: Json| json!({"type": "probe", "name": name, "tolerance": tolerance, "provider": {"type": "taffeta", "func": func}});
        json!({
            "title": self.title,
            "description": self.description,
            "steady-state-hypothesis": {"title": "the cluster is whole", "probes": [
                probe("writes are possible", "quorum", json!(true)),
                probe("every name is right at every machine", "names", json!(1)),
                probe("every service has its full strength", "strength", json!(1)),
            ]},
            "method": self.method.iter().map(action).collect::<Vec<_>>(),
        })
    }
}

fn each(source: &mut Json, path: &str, change: &mut impl FnMut(&mut Json)) {
    source.pointer_mut(path).and_then(Json::as_array_mut).into_iter().flatten().for_each(change);
}

fn push(map: &mut Map<String, Json>, key: &str, step: Json) {
    match map.entry(key).or_insert_with(|| json!([])) {
        Json::Array(steps) => steps.push(step),
        other => *other = json!([step]), // a foreign enum: what was read is a list, or nothing
    }
}

/// What all faults of an experiment are given.
struct Fixed<'a> {
    run: &'a str,
    seed: Option<u64>,
    allow_quorum_loss: bool,
}

fn rewrite(activity: &mut Json, fixed: &Fixed<'_>, taffeta: &impl Fn(&[&str], u64) -> Json) {
    let provider = &activity["provider"];
    if provider["type"] != "taffeta" {
        return;
    }
    let func = provider["func"].as_str().unwrap_or_default().to_owned();
    let is_probe = activity["type"] == "probe";
    let mut words = vec![if is_probe { "probe".to_owned() } else { "inject".to_owned() }, func];
    if !is_probe {
        words.extend(["--run".into(), fixed.run.into()]);
        // What is drawn depends on the seed and the name.
        let name = activity["name"].as_str().unwrap_or_default();
        words.extend(["--name".into(), name.into()]);
        words.extend(fixed.seed.iter().flat_map(|seed| ["--seed".into(), seed.to_string()]));
        words.extend(fixed.allow_quorum_loss.then(|| "--allow-quorum-loss".to_owned()));
    }
    // A variable that is not filled in may be true.
    let waits = provider["arguments"].get("one-by-one").is_some_and(|on| *on != Json::Bool(false));
    for (key, value) in provider["arguments"].as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), String::from);
        words.extend([format!("--{key}"), text]);
    }
    if is_probe && activity.get("tolerance").is_some() {
        // The command judges itself, and says so by its status.
        words.extend(["--tolerance".into(), activity["tolerance"].to_string()]);
        activity["tolerance"] = json!(0);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    activity["provider"] = taffeta(&words, if waits { ONE_BY_ONE_S } else { TIMEOUT_S });
}

#[cfg(test)]
mod tests;
