//! Verbs that need no node.

use crate::{
    args::{ApiFlags, Cli, ConfigArgs},
    failure::Outcome,
    output::{Format, print_bytes, show, table},
    settings::{API, Key, Settings, Value, default_data},
};
use clap::CommandFactory;
use clap_complete::Shell;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

/// A value of the configuration and where it came from.
#[derive(Serialize)]
struct Shown {
    value: Json,
    /// `flag`, `env`, `file` or `default`.
    from: &'static str,
    /// The flag, variable or file; nothing for a default.
    place: Option<String>,
}

pub(super) fn config(before: ApiFlags, args: ConfigArgs) -> Outcome {
    let mut flags = args.api.or(before).given();
    flags.extend(args.node.given());
    flags.extend(args.join_token.map(|token| (Key::JoinToken, Value::Text(token))));
    let settings = Settings::gather(flags)?;
    // So that a wrong value is found here, and not only when a node is started.
    settings.client()?;
    settings.fabric_config()?;
    let shown: Vec<(Key, Shown)> = Key::ALL.into_iter().map(|key| (key, shown(&settings, key))).collect();
    let document: Map<String, Json> = shown.iter().map(|(key, shown)| (key.name().into(), json!(shown))).collect();
    show(args.output.format, &document, |_| as_table(&shown))
}

fn shown(settings: &Settings, key: Key) -> Shown {
    if let Some(given) = settings.given(key) {
        let value = match &given.value {
            Value::Text(_) if key.is_secret() => json!("(hidden)"),
            Value::Text(text) => json!(text),
            Value::List(list) => json!(list),
            Value::Switch(on) => json!(on),
        };
        return Shown { value, from: given.source.word(), place: Some(given.source.to_string()) };
    }
    match key {
        Key::Api => Shown { value: json!(API), from: "default", place: None },
        Key::Data => Shown { value: json!(default_data()), from: "default", place: None },
        Key::Token => match settings.token_of_folder() {
            Some((path, _)) => {
                Shown { value: json!("(hidden)"), from: "file", place: Some(path.display().to_string()) }
            }
            None => Shown { value: Json::Null, from: "default", place: None },
        },
        Key::Name
        | Key::Address
        | Key::Advertise
        | Key::Http
        | Key::Dns
        | Key::Zone
        | Key::Attr
        | Key::Cpus
        | Key::Memory
        | Key::Disk
        | Key::Resource
        | Key::Join
        | Key::JoinToken
        | Key::JoinTimeout
        | Key::Ring
        | Key::NoGso
        | Key::ApiOpen
        | Key::BestEffort
        | Key::Chaos
        | Key::DnsAlias
        | Key::DnsUpstream
        | Key::DnsTransfer
        | Key::DnsRate
        | Key::DnsTtl
        | Key::DnsTls
        | Key::DnsHttps
        | Key::DnsQuic
        | Key::DnsCertFile
        | Key::DnsKeyFile
        | Key::TaskDns
        | Key::AllowHostPath
        | Key::FetchMax
        | Key::FetchCache
        | Key::FetchTimeout => Shown { value: Json::Null, from: "default", place: None },
    }
}

fn as_table(shown: &[(Key, Shown)]) -> String {
    let rows = shown.iter().map(|(key, shown)| {
        let value = match &shown.value {
            Json::Null => unset(*key).into(),
            Json::String(text) => text.clone(),
            Json::Array(list) => list.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(","),
            other @ (Json::Bool(_) | Json::Number(_) | Json::Object(_)) => other.to_string(),
        };
        let from = match &shown.place {
            Some(place) => format!("{} {place}", shown.from),
            None => shown.from.into(),
        };
        vec![key.name().into(), value, from]
    });
    table(&["NAME", "VALUE", "FROM"], rows)
}

/// What it means when nothing was said.
fn unset(key: Key) -> &'static str {
    match key {
        Key::Name => "(as before, else the host name)",
        Key::Address => "(as before, else 0.0.0.0:7400)",
        Key::Advertise => "(as before, else the address)",
        Key::Http => "(as before, else 127.0.0.1:7480)",
        Key::Dns => "(as before, else 127.0.0.1:7453)",
        Key::Ring => "(as before, else lan)",
        Key::Chaos => "(no)",
        Key::JoinTimeout => "(never)",
        Key::DnsUpstream => "(as before, else the machine's)",
        Key::DnsRate => "(as before, else 1000)",
        Key::DnsTtl => "(as before, else 1)",
        Key::DnsCertFile | Key::DnsKeyFile => "(as before, else the node's own)",
        Key::TaskDns => "(as before, else one of 127.84.0.0/16)",
        Key::FetchMax => "(as before, else 1GiB)",
        Key::FetchCache => "(as before, else 10GiB)",
        Key::FetchTimeout => "(as before, else 600)",
        Key::Cpus | Key::Memory | Key::Disk => "(as before, else what the machine has)",
        Key::Zone
        | Key::Attr
        | Key::Resource
        | Key::NoGso
        | Key::ApiOpen
        | Key::BestEffort
        | Key::DnsAlias
        | Key::DnsTransfer
        | Key::DnsTls
        | Key::DnsHttps
        | Key::DnsQuic
        | Key::AllowHostPath => "(as before, else none)",
        Key::Api | Key::Token | Key::Data | Key::Join | Key::JoinToken => "-",
    }
}

pub(super) fn completions(shell: Shell) -> Outcome {
    let mut script = vec![];
    clap_complete::generate(shell, &mut Cli::command(), "taffeta", &mut script);
    print_bytes(&script)
}

pub(super) fn version(format: Format) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    show(format, &json!({ "version": version }), |_| format!("taffeta {version}"))
}
