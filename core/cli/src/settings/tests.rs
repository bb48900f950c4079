//! Precedence, places and spellings.

use super::{Key, Settings, Source, Value};
use crate::failure::Failure;
use std::path::Path;

const PATH: &str = "/etc/taffeta.toml";

fn settings(flags: &[(Key, &str)], variables: &[(&str, &str)], file: &str) -> Result<Settings, Failure> {
    let flags = flags.iter().map(|(key, text)| (*key, Value::Text((*text).into()))).collect();
    let variable = |name: &str| Ok(variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()));
    Settings::layered(flags, variable, Path::new(PATH), file)
}

/// The message of what is wrong with a node that is configured so.
fn fault(flags: &[(Key, &str)], variables: &[(&str, &str)], file: &str) -> String {
    let data = "/nowhere";
    let flags: Vec<_> = flags.iter().copied().chain([(Key::Data, data)]).collect();
    let failure = settings(&flags, variables, file).and_then(|s| s.fabric_config()).map(drop).unwrap_err();
    let (code, message, _) = failure.told();
    assert_eq!(code, 2, "{message}");
    message.to_owned()
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let file = "name = \"f\"\nzone = \"f\"\nhttp = \"10.0.0.1\"\n";
    let variables = [("TAFFETA_NAME", "e"), ("TAFFETA_ZONE", "e")];
    let all = settings(&[(Key::Name, "a")], &variables, file).unwrap();
    let place = |key| all.given(key).map(|given| (given.value.clone(), given.source.clone()));
    assert_eq!(place(Key::Name), Some((Value::Text("a".into()), Source::Flag("--name".into()))));
    assert_eq!(place(Key::Zone), Some((Value::Text("e".into()), Source::Env("TAFFETA_ZONE".into()))));
    let source = Source::File { path: PATH.into(), line: 3 };
    assert_eq!(place(Key::Http), Some((Value::Text("10.0.0.1".into()), source)));
    assert_eq!(place(Key::Dns), None);
}

#[test]
fn lists_and_switches_are_written_in_each_places_own_way() {
    let file = "join = [\"a\", \"b:1\"]\nbest_effort = true\n[attr]\ndisk = \"ssd\"\n";
    let config = settings(&[(Key::Data, "/d")], &[("TAFFETA_API_OPEN", "1")], file).unwrap().fabric_config().unwrap();
    assert_eq!(config.join, ["a", "b:1"]);
    assert_eq!(config.attributes.into_iter().collect::<Vec<_>>(), [("disk".into(), "ssd".into())]);
    assert!(config.api_open && config.best_effort);

    let variables = [("TAFFETA_JOIN", "c, d"), ("TAFFETA_ATTR", "x=1,y=2=3"), ("TAFFETA_BEST_EFFORT", "off")];
    let config = settings(&[(Key::Data, "/d")], &variables, file).unwrap().fabric_config().unwrap();
    assert_eq!(config.join, ["c", "d"]);
    assert_eq!(config.attributes["y"], "2=3");
    assert!(!config.best_effort, "a variable can switch off what the file switched on");
}

#[test]
fn what_is_offered_is_written_in_each_places_own_way() {
    let offered = |variables: &[(&str, &str)], file: &str| {
        let config = settings(&[(Key::Data, "/d")], variables, file).unwrap().fabric_config().unwrap();
        let offer = config.offer;
        (offer.cpus.map(|cpus| cpus.0), offer.memory, offer.disk, config.custom.into_iter().collect::<Vec<_>>())
    };
    let file = "cpus = 1.5\nmemory = \"2GiB\"\ndisk = 1000\n[resource]\ngpu = 2\n";
    assert_eq!(offered(&[], file), (Some(1500), Some(2 << 30), Some(1000), vec![("gpu".into(), 2)]));
    let variables = [("TAFFETA_CPUS", "3"), ("TAFFETA_RESOURCE", "gpu=1, fpga=4")];
    let custom = vec![("fpga".into(), 4), ("gpu".into(), 1)];
    assert_eq!(offered(&variables, file), (Some(3000), Some(2 << 30), Some(1000), custom));
    assert_eq!(offered(&[], ""), (None, None, None, vec![]));
}

#[test]
fn a_wrong_offer_is_told_with_its_place() {
    assert!(fault(&[(Key::Cpus, "-1")], &[], "").starts_with("--cpus: `-1` is not a number of processors"));
    assert!(fault(&[], &[("TAFFETA_MEMORY", "8 gigs")], "").starts_with("TAFFETA_MEMORY: `8 gigs` is not a size"));
    let file = "/etc/taffeta.toml: line 1: ";
    assert!(fault(&[], &[], "disk = true").starts_with(&format!("{file}disk: expected a number, or a string")));
    assert!(fault(&[], &[], "resource = { gpu = \"2\" }").starts_with(&format!("{file}resource: expected a table of")));
    assert!(fault(&[], &[], "[resource]\nmemory = 2").contains("`memory` is a key of its own"));
    assert!(fault(&[], &[("TAFFETA_RESOURCE", "gpu=x")], "").contains("`x` is not a whole number"));
    assert!(fault(&[], &[("TAFFETA_RESOURCE", "gpu=1,gpu=2")], "").contains("given twice"));
    let many: Vec<String> = (0..33).map(|i| format!("r{i}=1")).collect();
    assert!(fault(&[], &[("TAFFETA_RESOURCE", &many.join(","))], "").contains("33 resources; at most 32"));
}

#[test]
fn an_address_without_a_port_gets_the_services_own() {
    let file = "address = \"10.0.0.1\"\nhttp = \"[::1]\"\ndns = \"::1\"\nadvertise = \"10.0.0.2:9\"\n";
    let config = settings(&[(Key::Data, "/d")], &[], file).unwrap().fabric_config().unwrap();
    let texts = [config.address, config.http, config.dns, config.advertise].map(|a| a.unwrap().to_string());
    assert_eq!(texts, ["10.0.0.1:7400", "[::1]:7480", "[::1]:7453", "10.0.0.2:9"]);
}

#[test]
fn a_wrong_value_is_told_with_its_place() {
    assert!(fault(&[(Key::Address, "x")], &[], "").starts_with("--address: `x` is not an address"));
    assert!(fault(&[], &[("TAFFETA_DNS", "1.2.3.4:99999")], "").starts_with("TAFFETA_DNS: `1.2.3.4:99999` is not"));
    assert!(
        fault(&[], &[], "\nname = \"A b\"").starts_with("/etc/taffeta.toml: line 2: name: `A b` is not a DNS label")
    );
    assert!(fault(&[], &[("TAFFETA_ATTR", "x")], "").starts_with("TAFFETA_ATTR: `x` is not KEY=VALUE"));
    assert!(fault(&[], &[("TAFFETA_ATTR", "x=1,x=2")], "").contains("given twice"));
    assert!(fault(&[], &[("TAFFETA_JOIN", "http://a")], "").starts_with("TAFFETA_JOIN: `http://a` is not HOST[:PORT]"));
    assert!(fault(&[], &[("TAFFETA_JOIN_TOKEN", "x")], "").starts_with("TAFFETA_JOIN_TOKEN: this is not a join token"));
    assert!(fault(&[], &[("TAFFETA_API_OPEN", "maybe")], "").contains("expected true or false"));
}

#[test]
fn the_file_is_kept_from_tasks_as_there_may_be_tokens_in_it() {
    let config = settings(&[(Key::Data, "/nowhere")], &[], "").unwrap().fabric_config().unwrap();
    assert_eq!(config.masked, [Path::new(PATH)]);
}

#[test]
fn a_wrong_line_of_the_file_is_named() {
    let unknown = fault(&[], &[], "# a comment\nadress = \"1.2.3.4\"\n");
    assert_eq!(unknown, "/etc/taffeta.toml: line 2: adress: unknown key; did you mean `address`?");
    let kind = fault(&[], &[], "zone = 3\n");
    assert_eq!(kind, "/etc/taffeta.toml: line 1: zone: expected a string, found 3");
    assert!(fault(&[], &[], "zone = \"a\"\nzone = \"b\"\n").starts_with("/etc/taffeta.toml: line 2: "));
    assert!(fault(&[], &[], "[attr]\ndisk = 1\n").contains("attr: expected a table of strings"));
}

#[test]
fn only_http_and_socket_targets_are_asked() {
    let client = |api: &str| settings(&[(Key::Api, api), (Key::Data, "/nowhere")], &[], "").unwrap().client();
    assert_eq!(client("unix:///run/t.sock").unwrap().target().to_string(), "/run/t.sock");
    assert_eq!(client("unix:/run/t.sock").unwrap().target().to_string(), "/run/t.sock");
    assert_eq!(client("http://[::1]:1").unwrap().target().to_string(), "http://[::1]:1");
    let failure = client("https://a").unwrap_err();
    assert_eq!(failure.told().0, 2);
    assert!(failure.told().1.starts_with("--api: "), "{failure:?}");
}

#[test]
fn what_tasks_find_around_themselves_is_set_in_each_places_own_way() {
    let options = |variables: &[(&str, &str)], file: &str| {
        settings(&[(Key::Data, "/d")], variables, file).unwrap().fabric_config().unwrap().task_options
    };
    let file =
        "task_dns = \"off\"\nallow_host_path = [\"/srv:ro\", \"/data\"]\nfetch_max = \"2GiB\"\nfetch_cache = 4096\n";
    let read = options(&[], file);
    assert_eq!(read.dns, Some(taffeta_node::TaskDns::Off));
    let paths = |options: &taffeta_node::TaskOptions| {
        options.host_paths.iter().flat_map(|paths| &paths.0).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(paths(&read), ["/srv:ro", "/data"]);
    assert_eq!((read.fetch_max, read.fetch_cache, read.fetch_seconds), (Some(2 << 30), Some(4096), None));
    let variables =
        [("TAFFETA_ALLOW_HOST_PATH", "none"), ("TAFFETA_TASK_DNS", "127.84.0.7"), ("TAFFETA_FETCH_TIMEOUT", "9")];
    let read = options(&variables, file);
    assert_eq!((paths(&read).len(), read.host_paths.is_some(), read.fetch_seconds), (0, true, Some(9)));
    assert_eq!(read.dns, Some(taffeta_node::TaskDns::At("127.84.0.7".parse().unwrap())));

    assert!(fault(&[(Key::TaskDns, "10.0.0.1")], &[], "").starts_with("--task-dns: `10.0.0.1` can be reached"));
    let file = "/etc/taffeta.toml: line 1: allow_host_path: `srv` does not begin";
    assert!(fault(&[], &[], "allow_host_path = \"srv\"").starts_with(file));
    assert!(fault(&[], &[("TAFFETA_FETCH_MAX", "big")], "").starts_with("TAFFETA_FETCH_MAX: `big` is not a size"));
    assert!(fault(&[(Key::FetchTimeout, "0")], &[], "").starts_with("--fetch-timeout: `0` is not a number of seconds"));
}
