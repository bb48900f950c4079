//! Reading an experiment: the Chaos Toolkit's format, with one provider more.

use super::{
    experiment::{Activity, Arguments, Experiment, HttpCall, Hypothesis, ProcessCall, Provider, Rules},
    fields::{Field, Fields, nearest},
    look::Look,
    planned,
    secrets::Secrets,
    strike::Strike,
    tolerance::tolerance,
    variables::{Given, Variables},
};
use crate::{
    text::{Entry, Node, Value, Wrong},
    timeline::Request,
};
use std::{collections::BTreeMap, time::Duration};

/// Most activities of a method: a day of them, one every ten seconds.
const ACTIVITIES_MAX: usize = 10_000;
/// Longest pause, and longest time that a single activity may take.
const PAUSE_MAX: Duration = Duration::from_hours(1);
/// How long an HTTP request or command may take unless it says so itself: nobody waits for ever.
const TIMEOUT_USUAL: Duration = Duration::from_secs(30);

/// The keys of an experiment. Those that this tool does not obey are told when they are found.
const KEYS: [&str; 14] = [
    "title",
    "description",
    "tags",
    "configuration",
    "secrets",
    "steady-state-hypothesis",
    "method",
    "rollbacks",
    "extensions",
    "controls",
    "contributions",
    "runtime",
    "version",
    "dry",
];
/// The words for what clients ask for.
const REQUESTS: [(&str, Request); 3] = [("name", Request::Name), ("page", Request::Page), ("write", Request::Write)];
const PROVIDERS: [&str; 3] = ["http", "process", "taffeta"];

impl Experiment {
    /// Reads a file: an experiment in JSON or YAML, or a fault plan of the simulator (JSON with `faults`).
    pub fn read(text: &str, name: &str, given: &Given) -> Result<Self, Wrong> {
        let source = Node::read(text, name)?;
        if source.entry("faults").is_some() && source.entry("method").is_none() {
            return planned::experiment(&source, text, name);
        }
        let raw = Field::new("", &source);
        raw.fields(&KEYS)?;
        let section =
            |key: &str| source.entry(key).map(|node| Field::new(key, node)).filter(|field| !field.is_nothing());
        let variables = Variables::read(section("configuration").as_ref(), section("secrets").as_ref(), given)?;
        let filled = variables.fill(&source);
        let secrets = variables.secrets;
        experiment(&source, &filled, secrets.clone()).map_err(|wrong| Wrong {
            what: secrets.mask(&wrong.what),
            help: wrong.help.as_deref().map(|help| secrets.mask(help)),
            ..wrong
        })
    }
}

fn experiment(source: &Node, filled: &Node, secrets: Secrets) -> Result<Experiment, Wrong> {
    let fields = Field::new("", filled).fields(&KEYS)?;
    refuse_dry(&fields)?;
    let title = fields.need("title")?.name()?;
    let method = fields.need("method")?;
    let mut known = BTreeMap::new();
    let hypothesis = match fields.get("steady-state-hypothesis") {
        Some(field) => Some(hypothesis(&field, source, &mut known)?),
        None => None,
    };
    let method = activities(&method, source, &mut known)?;
    let rollbacks = fields.get("rollbacks").map(|field| activities(&field, source, &mut known)).transpose()?;
    let rules = fields.get("extensions").map(|field| rules(&field, hypothesis.as_ref())).transpose()?;
    let mut experiment = Experiment {
        title,
        description: fields.get("description").map(|field| field.name()).transpose()?.unwrap_or_default(),
        tags: fields.get("tags").map(|field| texts(&field)).transpose()?.unwrap_or_default(),
        hypothesis,
        method,
        rollbacks: rollbacks.unwrap_or_default(),
        rules: rules.unwrap_or_default(),
        ignored: ignored(&fields, source),
        secrets,
        source: source.to_json(),
    };
    hide_secrets(&mut experiment);
    Ok(experiment)
}

/// Names and words are told everywhere.
fn hide_secrets(experiment: &mut Experiment) {
    let secrets = experiment.secrets.clone();
    let hide = |text: &mut String| *text = secrets.mask(text);
    hide(&mut experiment.title);
    hide(&mut experiment.description);
    experiment.tags.iter_mut().chain(&mut experiment.rules.expects).for_each(hide);
    let probes = experiment.hypothesis.iter_mut().flat_map(|hypothesis| &mut hypothesis.probes);
    for activity in probes.chain(&mut experiment.method).chain(&mut experiment.rollbacks) {
        hide(&mut activity.name);
    }
    let within = std::mem::take(&mut experiment.rules.within);
    experiment.rules.within = within.into_iter().map(|(probe, within)| (secrets.mask(&probe), within)).collect();
}

/// What is understood by the Chaos Toolkit and not here.
fn ignored(fields: &Fields<'_>, source: &Node) -> Vec<String> {
    let mut told = vec![];
    if fields.get("controls").is_some() || has_controls(source) {
        told.push("`controls` are Python code of the Chaos Toolkit: they do not run here".into());
    }
    if fields.get("runtime").is_some() {
        told.push("`runtime` is not obeyed: the hypothesis is always checked before, during and after, and rollbacks always run".into());
    }
    if items(source).any(|item| is_there(item, "ref") && (is_there(item, "pauses") || is_there(item, "background"))) {
        told.push(
            "`pauses` and `background` beside `ref` are not obeyed: those of the activity that is meant are".into(),
        );
    }
    if items(source).any(|item| item.entry("provider").is_some_and(|provider| is_there(provider, "max_retries"))) {
        told.push("`max_retries` is not obeyed: every request is made once".into());
    }
    told
}

/// The activities of a file.
fn items(source: &Node) -> impl Iterator<Item = &Node> {
    let probes = source.entry("steady-state-hypothesis").and_then(|hypothesis| hypothesis.entry("probes"));
    let lists = [probes, source.entry("method"), source.entry("rollbacks")];
    lists.into_iter().flatten().flat_map(|list| match &list.value {
        Value::List(items) => items.as_slice(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => &[],
    })
}

fn is_there(node: &Node, key: &str) -> bool {
    node.entry(key).is_some()
}

/// Who asks for a rehearsal must not get the real thing.
fn refuse_dry(fields: &Fields<'_>) -> Result<(), Wrong> {
    match fields.get("dry") {
        Some(dry) if dry.node.value != Value::Bool(false) => {
            let what = "nothing is rehearsed here: it would be done";
            Err(dry.wrong(what).help("`taffeta chaos plan` shows what would be done; leave out `dry`"))
        }
        Some(_) | None => Ok(()),
    }
}

fn has_controls(node: &Node) -> bool {
    match &node.value {
        Value::Map(entries) => entries.iter().any(|entry| entry.key == "controls" || has_controls(&entry.node)),
        Value::List(items) => items.iter().any(has_controls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => false,
    }
}

fn texts(field: &Field<'_>) -> Result<Vec<String>, Wrong> {
    field.list()?.iter().map(Field::name).collect()
}

/// Activities by name, for those who refer to them.
type Known = BTreeMap<String, Activity>;

fn hypothesis(field: &Field<'_>, source: &Node, known: &mut Known) -> Result<Hypothesis, Wrong> {
    let fields = field.fields(&["title", "probes", "controls"])?;
    let title = fields.need("title")?.name()?;
    let listed = fields.need("probes")?;
    let probes = activities(&listed, source, known)?;
    if probes.is_empty() {
        return Err(listed.wrong("there is no probe in it: it would hold whatever happens"));
    }
    for probe in &probes {
        let wrong = |what: &str| Err(Wrong::at(probe.place.1, probe.place.0.clone(), what));
        if !probe.is_probe {
            return wrong("the steady state holds only probes");
        }
        if probe.tolerance.is_none() {
            return wrong("`tolerance` is missing: what is the probe's value to be?");
        }
    }
    Ok(Hypothesis { title, probes })
}

fn activities(field: &Field<'_>, source: &Node, known: &mut Known) -> Result<Vec<Activity>, Wrong> {
    let items = field.list()?;
    if items.len() > ACTIVITIES_MAX {
        return Err(field.wrong(format!("there are {} activities; at most {ACTIVITIES_MAX} are allowed", items.len())));
    }
    let mut read = vec![];
    for item in items {
        if let Some(name) = item.node.entry("ref") {
            let name = Field::new(format!("{}.ref", item.path), name);
            item.fields(&["ref", "pauses", "background"])?;
            let Some(meant) = known.get(name.text()?) else {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                return Err(name
                    .wrong(format!("there is no activity `{}` above", name.text()?))
                    .help(nearest(name.text()?, &names)));
            };
            read.push(meant.clone());
            continue;
        }
        let mut activity = activity(&item)?;
        activity.source = raw_of(source, &item.path).unwrap_or_else(|| activity.source.clone());
        known.insert(activity.name.clone(), activity.clone());
        read.push(activity);
    }
    Ok(read)
}

/// The value at a path of the file as it is, as `method[2]`: its variables are not filled in.
fn raw_of(source: &Node, path: &str) -> Option<serde_json::Value> {
    let mut node = source;
    for part in path.split('.') {
        let (key, index) = part.split_once('[').map_or((part, None), |(key, rest)| (key, rest.strip_suffix(']')));
        node = node.entry(key)?;
        if let Some(index) = index {
            let Value::List(items) = &node.value else { return None };
            node = items.get(index.parse::<usize>().ok()?)?;
        }
    }
    Some(node.to_json())
}

pub(super) fn activity(field: &Field<'_>) -> Result<Activity, Wrong> {
    let fields = field.fields(&[
        "type",
        "name",
        "provider",
        "tolerance",
        "background",
        "pauses",
        "controls",
        "dry",
        "extensions",
        "timeout",
        "secrets",
    ])?;
    refuse_dry(&fields)?;
    let kind = fields.need("type")?;
    let is_probe = match kind.text()? {
        "probe" => true,
        "action" => false,
        other => {
            let what = format!("unknown type of activity `{other}`");
            return Err(kind.wrong(what).help(nearest(other, &["probe", "action"])));
        }
    };
    let pauses = fields.get("pauses").map(|pauses| pauses.fields(&["before", "after"])).transpose()?;
    let pause = |key: &str| {
        let given = pauses.as_ref().and_then(|pauses| pauses.get(key));
        given.map(|given| given.duration(PAUSE_MAX)).transpose()
    };
    Ok(Activity {
        name: fields.need("name")?.name()?,
        is_probe,
        provider: provider(&fields.need("provider")?, is_probe)?,
        tolerance: fields.get("tolerance").map(|field| tolerance(&field)).transpose()?,
        background: fields.get("background").map(|on| on.bool()).transpose()?.unwrap_or_default(),
        before: pause("before")?.unwrap_or_default(),
        after: pause("after")?.unwrap_or_default(),
        place: (field.path.clone(), field.line()),
        source: field.node.to_json(),
    })
}

fn provider(field: &Field<'_>, is_probe: bool) -> Result<Provider, Wrong> {
    let kind = field.node.entry("type").ok_or_else(|| field.wrong("`type` is missing"))?;
    let kind = Field::new(format!("{}.type", field.path), kind);
    match kind.text()? {
        "http" => http(field).map(Provider::Http),
        "process" => process(field).map(Provider::Process),
        "taffeta" => {
            let fields = field.fields(&["type", "func", "arguments", "secrets"])?;
            let (func, arguments) = (fields.need("func")?, fields.get("arguments"));
            if is_probe {
                return Look::read(&func, arguments.as_ref()).map(Provider::Look);
            }
            Strike::read(&func, arguments.as_ref()).map(|strike| Provider::Strike(Box::new(strike)))
        }
        "python" => {
            let help = "write it as `process` (any program), `http`, or `taffeta` (our own faults and probes); or let the \
                        Chaos Toolkit run it: `taffeta chaos export`";
            Err(kind.wrong("`python` providers are code of the Chaos Toolkit, which is not run here").help(help))
        }
        other => Err(kind.wrong(format!("unknown provider `{other}`")).help(nearest(other, &PROVIDERS))),
    }
}

fn http(field: &Field<'_>) -> Result<HttpCall, Wrong> {
    let fields = field.fields(&[
        "type",
        "url",
        "method",
        "headers",
        "arguments",
        "timeout",
        "verify_tls",
        "max_retries",
        "secrets",
    ])?;
    let url = fields.need("url")?;
    let parsed = url::Url::parse(url.text()?).map_err(|e| url.wrong(format!("this is no URL: {e}")))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(url.wrong("expected http:// or https:// and a host"));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in fields.get("headers").map(|field| field.pairs()).transpose()?.unwrap_or_default() {
        let text = match value.node.to_json() {
            serde_json::Value::String(text) => text,
            other => other.to_string(), // a foreign enum: a number is meant as it is written
        };
        headers.insert(name.to_owned(), text);
    }
    Ok(HttpCall {
        url: parsed,
        method: fields.get("method").map_or_else(|| Ok("GET".into()), |method| method.name())?.to_ascii_uppercase(),
        headers,
        arguments: fields.get("arguments").map(|arguments| arguments.node.to_json()).unwrap_or_default(),
        timeout: fields.get("timeout").map(|timeout| http_timeout(&timeout)).transpose()?.unwrap_or(TIMEOUT_USUAL),
        verify_tls: fields.get("verify_tls").map(|on| on.bool()).transpose()?.unwrap_or(true),
    })
}

/// One time, or one for the connection and one for the reply.
fn http_timeout(field: &Field<'_>) -> Result<Duration, Wrong> {
    match &field.node.value {
        Value::List(_) => field.list()?.iter().map(|time| time.duration(PAUSE_MAX)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => field.duration(PAUSE_MAX),
    }
}

fn process(field: &Field<'_>) -> Result<ProcessCall, Wrong> {
    let fields = field.fields(&["type", "path", "arguments", "timeout", "secrets"])?;
    // As there, nothing and empty text are no words.
    let word = |node: &Node| match node.to_json() {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        other => Some(other.to_string()), // a foreign enum: a number is meant as it is written
    };
    let key = |entry: &Entry| Some(entry.key.clone()).filter(|key| !key.is_empty());
    let arguments = match fields.get("arguments") {
        None => Arguments::Words(vec![]),
        Some(field) => match &field.node.value {
            Value::Text(text) => Arguments::Shell(text.clone()),
            Value::List(items) => Arguments::Words(items.iter().filter_map(word).collect()),
            Value::Map(entries) => {
                let words = entries.iter().flat_map(|entry| [key(entry), word(&entry.node)]);
                Arguments::Words(words.flatten().collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Arguments::Words(word(field.node).into_iter().collect()),
        },
    };
    Ok(ProcessCall {
        path: fields.need("path")?.name()?,
        arguments,
        timeout: fields.get("timeout").map(|timeout| timeout.duration(PAUSE_MAX)).transpose()?.unwrap_or(TIMEOUT_USUAL),
    })
}

/// Ours among the extensions; others belong to others.
fn rules(field: &Field<'_>, hypothesis: Option<&Hypothesis>) -> Result<Rules, Wrong> {
    let mut rules = Rules::default();
    for extension in field.list()? {
        let name = extension.node.entry("name").ok_or_else(|| extension.wrong("`name` is missing"))?;
        if Field::new(format!("{}.name", extension.path), name).text()? != "taffeta" {
            continue;
        }
        let fields = extension.fields(&["name", "seed", "within", "requests", "heal", "confirm", "expects"])?;
        if let Some(seed) = fields.get("seed") {
            rules.seed = Some(seed.whole(0..=i64::MAX)?.unsigned_abs());
        }
        if let Some(heal) = fields.get("heal") {
            rules.heal = heal.duration(PAUSE_MAX)?;
        }
        if let Some(confirm) = fields.get("confirm") {
            rules.confirm = confirm.duration(PAUSE_MAX)?;
        }
        if let Some(expects) = fields.get("expects") {
            rules.expects = texts(&expects)?;
        }
        if let Some(requests) = fields.get("requests") {
            let limits = requests.fields(&REQUESTS.map(|(word, _)| word))?;
            for (word, request) in REQUESTS {
                if let Some(limit) = limits.get(word) {
                    rules.requests.insert(request, limit.duration(PAUSE_MAX)?);
                }
            }
        }
        let probes: Vec<&str> =
            hypothesis.map(|h| h.probes.iter().map(|p| p.name.as_str()).collect()).unwrap_or_default();
        for (probe, within) in fields.get("within").map(|field| field.pairs()).transpose()?.unwrap_or_default() {
            if !probes.contains(&probe) {
                let what = format!("the hypothesis has no probe `{probe}`");
                return Err(within.wrong(what).help(nearest(probe, &probes)));
            }
            rules.within.insert(probe.to_owned(), within.duration(PAUSE_MAX)?);
        }
    }
    Ok(rules)
}
