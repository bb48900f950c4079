//! The app file: the published example, what is told of wrong files, and text that nobody meant to write.
//!
//! Here is what the themes share. Left out: what the single keys mean, which is a module for each theme.

mod around;
mod cron;
mod files;
mod isolation;
mod placing;
mod values;

use super::{AppFileError, FileSource, parse_app_file};
use crate::{
    App, AppName, Constraint, Cpus, Health, HealthProbe, Job, JobKind, JobName, Operator, PortSpec, ShippedFile,
};
use std::{collections::BTreeMap, time::Duration};

/// A folder in memory that notes what was asked for.
#[derive(Default)]
struct Folder {
    files: BTreeMap<&'static str, ShippedFile>,
    asked: Vec<String>,
}

impl FileSource for Folder {
    fn read(&mut self, name: &str) -> Result<ShippedFile, String> {
        self.asked.push(name.into());
        self.files.get(name).cloned().ok_or_else(|| "no such file".into())
    }
}

fn folder(files: &[(&'static str, usize)]) -> Folder {
    let file = |size| ShippedFile { body: vec![b'x'; size], executable: true };
    Folder { files: files.iter().map(|(name, size)| (*name, file(*size))).collect(), asked: vec![] }
}

#[track_caller]
fn parse(text: &str) -> App {
    parse_app_file(text, &mut Folder::default()).unwrap_or_else(|e| panic!("{e}\nhelp: {:?}\n{text}", e.help))
}

#[track_caller]
fn refuse(text: &str) -> AppFileError {
    let error = parse_app_file(text, &mut Folder::default()).expect_err("the file is wrong");
    assert!(!error.to_string().contains('\n'), "one line: {error}");
    error
}

/// The error of a service whose table has this one additional line, which is line 4 of the file.
#[track_caller]
fn refuse_line(line: &str) -> AppFileError {
    let error = refuse(&format!("app = \"shop\"\n[service.web]\nrun = [\"./web\"]\n{line}\n"));
    assert_eq!(error.line, Some(4), "{error}");
    error
}

#[track_caller]
fn job(line: &str) -> Job {
    let app = parse(&format!("app = \"shop\"\n[service.web]\nrun = [\"./web\"]\n{line}\n"));
    Job::clone(&app.jobs[&name("web")])
}

fn name(s: &str) -> JobName {
    JobName::new(s).expect("a label")
}

const SHOP: &str = r#"
app = "shop"

[service.web]                       # runs for ever, `count` of them
count = 3
run = ["python3", "server.py", "--port", "$PORT_HTTP"]
ports = ["http"]                    # allocated; given as $PORT_HTTP; { http = 8080 } fixes one
cpus = 0.25
memory = "64MiB"
env = { GREETING = "hello" }
health = { http = "/health", port = "http", every = "1s", timeout = "500ms" }   # or tcp, or run
constraints = ["hostname UNIQUE"]   # FIELD OPERATOR [VALUE]
after = ["migrate"]                 # dependencies inside the app

[batch.migrate]                     # runs to the end
run = ["./migrate"]
"#;

#[test]
fn the_published_example_is_read_as_it_says() {
    let app = parse(SHOP);
    assert_eq!(app.name, AppName::new("shop").unwrap());
    assert_eq!(app.jobs.keys().map(JobName::as_str).collect::<Vec<_>>(), ["migrate", "web"]);
    let web = &app.jobs[&name("web")];
    assert_eq!(web.kind, JobKind::Service);
    assert_eq!(web.count, 3);
    assert_eq!(web.run, ["python3", "server.py", "--port", "$PORT_HTTP"]);
    assert_eq!(web.ports, [PortSpec { name: "http".into(), fixed: None }]);
    assert_eq!(web.resources.cpus, Cpus(250));
    assert_eq!(web.resources.memory, 64 << 20);
    assert_eq!(web.resources.ports, 1);
    assert_eq!(web.env, BTreeMap::from([("GREETING".into(), "hello".into())]));
    let health = Health {
        probe: HealthProbe::Http { path: "/health".into(), port: "http".into() },
        every: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        failures: 3,
    };
    assert_eq!(web.health, Some(health));
    assert_eq!(web.constraints, [Constraint { field: "hostname".into(), operator: Operator::Unique }]);
    assert_eq!(web.after, [name("migrate")]);
}

#[test]
fn a_job_that_says_nothing_has_the_published_defaults() {
    let app = parse(SHOP);
    let migrate = &app.jobs[&name("migrate")];
    assert_eq!(migrate.kind, JobKind::Batch { retries: 2 });
    assert_eq!((migrate.count, migrate.pids_max, migrate.cpu_quota), (1, 512, false));
    let resources = migrate.resources;
    assert_eq!((resources.cpus, resources.memory, resources.disk, resources.ports), (Cpus(100), 128 << 20, 0, 0));
    assert_eq!((migrate.grace, migrate.reschedule_after), (Duration::from_secs(10), Duration::from_secs(5)));
    assert_eq!((&migrate.health, migrate.ports.len(), migrate.tags.len()), (&None, 0, 0));
    assert_eq!(job("").count, 1);
    assert_eq!((&migrate.cpuset, migrate.io_weight), (&None, None));
}

#[test]
fn every_listed_key_is_known_and_every_example_is_read() {
    for (key, example) in super::job::KEYS {
        let (of_cron, of_batch) = (super::job::OF_CRON.contains(&key), super::job::OF_BATCH.contains(&key));
        let kind = if of_cron { "cron" } else { ["service", "batch"][usize::from(of_batch)] };
        let run = if key == "run" { "" } else { "run = [\"x\"]" };
        let run = if of_cron && key != "schedule" { "run = [\"x\"]\nschedule = \"@daily\"" } else { run };
        let ports = if key == "health" { "ports = [\"http\"]" } else { "" };
        for example in example.split("` or `") {
            let text = format!("app = \"a\"\n[{kind}.web]\n{run}\n{ports}\n{example}\n[batch.migrate]\nrun = [\"x\"]");
            assert!(example.starts_with(key), "{example}");
            parse_app_file(&text, &mut folder(&[("server.py", 1)])).unwrap_or_else(|e| panic!("{example}: {e}"));
        }
    }
}

#[test]
fn an_unknown_key_names_the_nearest_known_one_with_its_line() {
    let error = refuse_line("cout = 3");
    assert_eq!(error.to_string(), "line 4: service.web.cout: unknown key; did you mean `count`?");
    assert_eq!(error.field, "service.web.cout");
    assert!(error.help.unwrap().contains("known keys: run, count, ports"));
    for (wrong, nearest) in [("prots", "ports"), ("mem", "memory"), ("constraint", "constraints"), ("afer", "after")] {
        let error = refuse_line(&format!("{wrong} = 1"));
        assert_eq!(error.message, format!("unknown key; did you mean `{nearest}`?"));
    }
    let error = refuse("app = \"shop\"\n\n[services.web]\nrun = [\"x\"]");
    assert_eq!(error.to_string(), "line 3: services: unknown key; did you mean `service`?");
    let error = refuse_line("health = { htp = \"/\" }");
    assert_eq!(error.to_string(), "line 4: service.web.health.htp: unknown key; did you mean `http`?");
}

#[test]
fn a_wrong_type_says_what_was_expected_and_what_was_found() {
    let cases = [
        ("count = \"3\"", "count", "expected a number of instances from 0 to 10000, found the string \"3\""),
        ("count = -1", "count", "expected a number of instances from 0 to 10000, found -1"),
        ("count = 1.5", "count", "expected a number of instances from 0 to 10000, found 1.5"),
        ("ports = \"http\"", "ports", "expected an array of port names"),
        ("ports = [7]", "ports", "expected a port name or { NAME = NUMBER }, found 7"),
        ("cpu_quota = 1", "cpu_quota", "expected true or false, found 1"),
        ("cpuset = 1", "cpuset", "expected a string, found 1"),
        ("cpuset = \"3-1\"", "cpuset", "`3-1` names no processors"),
        ("io_weight = 0", "io_weight", "expected a weight from 1 to 10000, found 0"),
        ("env = [\"A=b\"]", "env", "expected a table, found an array"),
        ("env = { LEVEL = 3 }", "env.LEVEL", "expected a string, found 3"),
        ("env = { ON = true }", "env.ON", "expected a string, found true"),
        ("dns = \"near\"", "dns", "expected a table, found the string \"near\""),
        (
            "dns = { order = \"far\" }",
            "dns.order",
            "expected `random` or `weighted` or `near`, found the string \"far\"",
        ),
        ("dns = { answers = 0 }", "dns.answers", "expected a number of records from 1 to 100, found 0"),
        ("dns = { weight = 1001 }", "dns.weight", "expected a weight from 0 to 1000, found 1001"),
        ("tags = [[]]", "tags", "expected a string, found an array"),
        ("after = \"db\"", "after", "expected an array of job names, found the string \"db\""),
        ("health = \"/\"", "health", "expected a table, found the string \"/\""),
        ("health = { http = 1 }", "health.http", "expected a string, found 1"),
        ("grace = 10", "grace", "expected a whole number with ms, s, m or h, found 10"),
        ("constraints = [{}]", "constraints", "expected a string, found a table"),
        ("memory = 2026-11-22", "memory", "found a date"),
    ];
    for (line, field, message) in cases {
        let error = refuse_line(line);
        assert_eq!(error.field, format!("service.web.{field}"), "{line}");
        assert!(error.message.contains(message), "{line}: {error}");
        assert!(error.help.is_some(), "{line} has an example");
    }
}

#[test]
fn the_line_is_that_of_the_element_inside_an_array() {
    let error = refuse("app = \"shop\"\n[service.web]\nrun = [\n  \"./web\",\n  8080,\n]\n");
    assert_eq!(error.to_string(), "line 5: service.web.run: expected a string, found 8080");
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let error = refuse("app = \"shop\"\n[service.web\nrun = []\n");
    assert_eq!((error.line, error.field.as_str()), (Some(2), ""));
    let error = refuse("app = \"shop\"\n[service.web]\nrun = [\"a\"]\nrun = [\"b\"]\n");
    assert_eq!(error.line, Some(4), "{error}");
    assert!(error.message.contains("duplicate"), "{error}");
}

#[test]
fn a_cycle_in_after_is_told_with_line_and_way() {
    let error = refuse(
        "app = \"shop\"\n[service.a]\nrun = [\"x\"]\n[service.b]\nrun = [\"x\"]\nafter = [\"d\"]\n\
         [batch.d]\nrun = [\"x\"]\nafter = [\"b\"]\n",
    );
    assert_eq!(error.to_string(), "line 6: service.b.after: a cycle: b after d after b");
    let error = refuse_line("after = [\"web\"]");
    assert_eq!(error.message, "a cycle: web after web");
}

#[test]
fn faults_between_fields_have_their_line() {
    let cases = [
        ("after = [\"db\"]", "after", "`db` is not a job of this app"),
        ("ports = [\"a\", \"a\"]", "ports", "the name `a` is given twice"),
        ("ports = { a = 80, b = 80 }", "ports", "the number 80 is given twice"),
        ("ports = [\"Http\"]", "ports", "`Http` is not a port name"),
        ("health = { tcp = \"no\" }", "health.port", "`no` is not one of the job's ports"),
        ("health = { http = \"/\", port = \"no\" }", "health.port", "`no` is not one of the job's ports"),
        ("health = { run = [\"x\"], every = \"1ms\" }", "health.every", "at least 100ms"),
        ("health = { run = [] }", "health.run", "expected a program"),
        ("env = { \"A=B\" = \"c\" }", "env", "`A=B`"),
        ("tags = [\"\"]", "tags", "is not a tag"),
        ("grace = \"8761h\"", "grace", "at most a year"),
    ];
    for (line, field, message) in cases {
        let error = refuse_line(line);
        assert_eq!(error.field, format!("service.web.{field}"), "{line}");
        assert!(error.message.contains(message), "{line}: {error}");
    }
    let error = refuse("app = \"shop\"\n[batch.b]\nhealth = { run = [\"x\"] }\nrun = [\"x\"]\n");
    assert_eq!(error.to_string().split(" a batch").next(), Some("line 3: batch.b.health:"));
}

#[test]
fn reserved_and_malformed_names_are_refused() {
    for bad in ["node", "nodes", "leader", "voters", "tag", "_x"] {
        let error = refuse(&format!("app = \"{bad}\"\n[batch.b]\nrun = [\"x\"]\n"));
        assert_eq!((error.line, error.field.as_str()), (Some(1), "app"));
        assert!(error.message.contains("is reserved"), "{error}");
    }
    for bad in ["", "Shop", "a.b", "-a", "a-", "ä"] {
        let error = refuse(&format!("app = \"{bad}\"\n[batch.b]\nrun = [\"x\"]\n"));
        assert!(error.message.contains("is not a DNS label"), "{error}");
    }
    let error = refuse("app = \"shop\"\n[service.Web]\nrun = [\"x\"]\n");
    assert_eq!((error.line, error.field.as_str()), (Some(2), "service.Web"));
}

#[test]
fn one_name_for_a_service_and_a_batch_job_is_refused() {
    let error = refuse("app = \"a\"\n[batch.x]\nrun = [\"x\"]\n[service.x]\nrun = [\"x\"]\n");
    assert_eq!(error.to_string(), "line 4: service.x: `x` is in [batch.x] already");
}

#[test]
fn what_is_missing_is_named() {
    let error = refuse("[batch.b]\nrun = [\"x\"]\n");
    assert_eq!((error.line, error.field.as_str()), (None, "app"));
    assert_eq!(error.help.as_deref(), Some("as in `app = \"shop\"`"));
    let error = refuse("app = \"shop\"\n\n[batch.b]\ncount = 2\n");
    assert_eq!(error.to_string(), "line 3: batch.b.run: missing; expected the program and its arguments");
    let error = refuse("\napp = \"shop\"\n");
    assert_eq!(
        error.to_string(),
        "line 2: app: the app has no [service.NAME], [batch.NAME], [cron.NAME] or [daemon.NAME]"
    );
    assert!(refuse_line("\"run \" = 1").message.contains("unknown key"));
    let error = refuse("app = \"shop\"\n[batch.b]\nrun = []\n");
    assert_eq!((error.line, error.field.as_str()), (Some(3), "batch.b.run"));
}

#[test]
fn what_comes_later_says_so_and_not_unknown_key() {
    let error = refuse_line("image = \"registry/name:tag\"");
    assert_eq!(error.to_string(), "line 4: service.web.image: container images are not supported by this version");
}

#[test]
fn the_first_fault_of_the_file_is_the_one_told() {
    let error = refuse("app = \"a\"\n[service.z]\nrun = [\"x\"]\nzzz = 1\naaa = 1\n[batch.b]\nbbb = 1\n");
    assert_eq!(error.line, Some(4));
}

#[test]
fn hostile_text_stays_one_short_line() {
    let error = refuse("app = \"a\\n\\u001b[31m\"\n[batch.b]\nrun = [\"x\"]\n");
    assert!(!error.to_string().contains(char::is_control), "{error:?}");
    let error = refuse(&format!("app = \"{}\"\n", "x".repeat(100_000)));
    assert!(error.to_string().chars().count() < 500);
    let error = refuse("app = \"a\"\n\"we\\nird.key\" = 1\n");
    assert_eq!(error.field, "\"we\\nird.key\"");
    assert!(refuse(&" ".repeat(super::TEXT_BYTES_MAX + 1)).message.contains("at most"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z\\[\\]{}=.,\"\n 0-9#-]{0,200}") {
        let _ = parse_app_file(&text, &mut Folder::default());
    }

    #[test]
    fn a_damaged_example_is_read_or_refused_with_a_line(at in 0..SHOP.len(), with in proptest::char::any()) {
        let at = (0..=at).rev().find(|i| SHOP.is_char_boundary(*i)).unwrap_or(0);
        let mut text = SHOP.to_string();
        text.insert(at, with);
        if let Err(error) = parse_app_file(&text, &mut Folder::default()) {
            // Only a missing `app` is about no line.
            assert!(error.line.is_some_and(|n| n <= text.lines().count() + 1) || error.field == "app", "{error:?}");
            assert!(!error.to_string().contains('\n'));
        }
    }
}
