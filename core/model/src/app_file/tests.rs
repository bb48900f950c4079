mod around;
mod isolation;

use super::{AppFileError, FileSource, parse_app_file};
use crate::{
    App, AppName, Constraint, Cpus, DnsEmpty, DnsOrder, DnsPolicy, EPSILON_DEFAULT, FILE_BYTES_MAX, HISTORY_MAX,
    Health, HealthProbe, Job, JobKind, JobName, JobRef, LogBounds, MissedPolicy, Operator, Overlap, PlacementStrategy,
    PortSpec, ShippedFile, UnixMillis,
};
use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

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
fn processors_and_a_share_of_the_disks_are_read_when_asked_for() {
    let asked = job("cpuset = \"3,0-1\"\nio_weight = 10000");
    assert_eq!((asked.cpuset, asked.io_weight), (Some("0-1,3".parse().unwrap()), Some(10_000)));
}

#[test]
fn a_service_says_how_dns_answers_for_it() {
    assert_eq!(job("").dns, DnsPolicy::default());
    let read = job("dns = { order = \"weighted\", answers = 2, empty = \"nxdomain\", weight = 0 }").dns;
    let (order, empty) = (DnsOrder::Weighted, DnsEmpty::NxDomain);
    assert_eq!(read, DnsPolicy { order, answers: std::num::NonZeroU8::new(2), empty, weight: 0 });
    let error = refuse("app = \"a\"\n[batch.b]\nrun = [\"x\"]\ndns = { answers = 1 }");
    assert_eq!(error.to_string(), "line 4: batch.b.dns: only a service has DNS names");
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

const REPORT: &str = "app = \"shop\"\n[cron.report]\nrun = [\"./report\"]\n";

#[track_caller]
fn report(lines: &str) -> Job {
    parse(&format!("{REPORT}{lines}\n")).jobs[&name("report")].as_ref().clone()
}

#[test]
fn a_cron_job_is_read() {
    let job = report(
        "timezone = \"Europe/Vienna\"\nschedule = \"0 3 * * 1-5\"\nepsilon = \"PT15M\"\noverlap = \"queue\"\n\
         missed = \"run\"\nretries = 4\ndeadline = \"1h\"\ncount = 500\nparallel = 10\nhistory = 5",
    );
    let cron = job.cron.expect("a cron job");
    assert_eq!(cron.schedule.to_string(), "0 3 * * 1-5 Europe/Vienna");
    assert_eq!((cron.epsilon, cron.overlap), (Duration::from_secs(900), Overlap::Queue));
    assert_eq!((cron.missed, job.kind), (MissedPolicy::Run, JobKind::Cron { retries: 4 }));
    assert_eq!((job.deadline, job.parallel), (Some(Duration::from_secs(3600)), NonZeroU32::new(10)));
    assert_eq!((job.count, job.history, job.strategy), (500, 5, PlacementStrategy::Pack));
    let plain = report("schedule = \"@daily\"");
    let cron = plain.cron.expect("a cron job");
    assert_eq!((cron.epsilon, cron.overlap, cron.missed), (EPSILON_DEFAULT, Overlap::Skip, MissedPolicy::Skip));
    assert_eq!((plain.kind, plain.deadline, plain.history), (JobKind::Cron { retries: 2 }, None, HISTORY_MAX));
    assert_eq!(report("schedule = \"@daily\"\nepsilon = \"90s\"").cron.unwrap().epsilon, Duration::from_secs(90));
}

#[test]
fn a_wrong_cron_job_is_told_by_line_and_field() {
    let cases = [
        ("", 2, "schedule", "missing; expected when the job runs"),
        ("schedule = \"0 0 30 2 *\"", 4, "schedule", "it never fires: no month of `2` has a day `30`"),
        ("schedule = \"R0//PT1H\"", 4, "schedule", "it never fires: `R0` asks for no run"),
        ("schedule = \"0 25 * * *\"", 4, "schedule", "the hour: `25`"),
        ("schedule = 5", 4, "schedule", "expected a string, found 5"),
        ("schedule = \"@daily\"\ntimezone = \"Europe/Wien\"", 5, "timezone", "no time zone of the tz database"),
        ("schedule = \"@daily\"\ntimezone = 1", 5, "timezone", "expected a string"),
        ("schedule = \"@daily\"\nepsilon = \"P1M\"", 5, "epsilon", "counts months"),
        ("schedule = \"@daily\"\nepsilon = \"8761h\"", 5, "epsilon", "at most a year"),
        ("schedule = \"@daily\"\noverlap = \"stop\"", 5, "overlap", "expected `skip`, `queue` or `replace`"),
        ("schedule = \"@daily\"\nmissed = true", 5, "missed", "expected a string"),
        ("schedule = \"@daily\"\nretries = 1001", 5, "retries", "from 0 to 1000"),
        ("schedule = \"@daily\"\ndeadline = \"10ms\"", 5, "deadline", "at least 1s"),
        ("schedule = \"@daily\"\nparallel = 0", 5, "parallel", "from 1 to 10000"),
        ("schedule = \"@daily\"\nhistory = 21", 5, "history", "from 1 to 20"),
        ("schedule = \"@daily\"\ndns = {}", 5, "dns", "only a service"),
        ("schedule = \"@daily\"\nshedule = 1", 5, "shedule", "did you mean `schedule`?"),
    ];
    for (lines, line, field, message) in cases {
        let error = refuse(&format!("{REPORT}{lines}\n"));
        assert_eq!(
            (error.line, error.field),
            (Some(line), format!("cron.report.{field}")),
            "{lines}: {}",
            error.message
        );
        assert!(error.message.contains(message), "{lines}: {}", error.message);
    }
    for line in ["schedule = \"@daily\"", "epsilon = \"1s\"", "deadline = \"1h\"", "parallel = 2", "history = 3"] {
        let error = refuse_line(line);
        assert!(error.message.starts_with("only a "), "{line}: {error}");
    }
    let error = refuse("app = \"shop\"\n[batch.b]\nrun = [\"x\"]\nschedule = \"@daily\"\n");
    assert_eq!(error.to_string(), "line 4: batch.b.schedule: only a cron job has a schedule, and this is a batch job");
}

#[test]
fn only_a_batch_job_comes_after_one_that_recurs() {
    let text = |kind: &str, more: &str| {
        format!(
            "{REPORT}schedule = \"@daily\"\n[batch.mail]\nrun = [\"./mail\"]\nafter = [\"report\"]\n\
             [{kind}.last]\nrun = [\"./last\"]\nafter = [\"mail\"]\n{more}\n"
        )
    };
    let app = parse(&text("batch", ""));
    assert_eq!(app.recurring(), [name("report"), name("mail"), name("last")].into());
    let error = refuse(&text("cron", "schedule = \"@daily\""));
    assert_eq!((error.line, error.field.as_str()), (Some(10), "cron.last.after"));
    assert!(error.message.contains("either a schedule or runs after such a job"), "{error}");
    assert!(refuse(&text("service", "")).message.contains("only a batch job"));
    assert!(parse(SHOP).recurring().is_empty());
}

#[test]
fn a_schedule_that_is_over_is_refused_by_whoever_takes_it_in() {
    let app = |schedule: &str| parse(&format!("{REPORT}schedule = \"{schedule}\"\n"));
    let now = UnixMillis(1_764_000_000_000); // 2025-11-24
    let over = app("R3/2020-01-01T00:00:00Z/P1D");
    let error = over.check_schedules(now, None).unwrap_err();
    assert_eq!(error.field, "cron.report.schedule");
    assert!(error.message.contains("its last run was due 2020-01-03T00:00:00Z"), "{error}");
    assert_eq!(over.check_schedules(now, Some(&over)), Ok(()), "it has done its work");
    assert!(over.check_schedules(now, Some(&app("R2/2020-01-01T00:00:00Z/P1D"))).is_err());
    assert_eq!(app("R1//P").check_schedules(now, None), Ok(()));
}

#[test]
fn placing_is_read() {
    let job = job("resources = { gpu = 2 }\nplacement = \"pack\"\npriority = 70\nrevocable = true\nwith = [\"db\"]\n\
                   apart = [\"mail/spool\"]\nprefer = [\"disk IS ssd\", { rule = \"zone UNLIKE a.*\", weight = -5 }]");
    assert_eq!(job.custom, [("gpu".to_owned(), 2)].into());
    assert_eq!((job.strategy, job.priority, job.revocable), (PlacementStrategy::Pack, 70, true));
    let names = |refs: &[JobRef]| refs.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((names(&job.with), names(&job.apart)), (vec!["db".to_owned()], vec!["mail/spool".to_owned()]));
    let wishes: Vec<_> = job.prefer.iter().map(|wish| (wish.rule.to_string(), wish.weight)).collect();
    assert_eq!(wishes, [("disk IS ssd".to_owned(), 100), ("zone UNLIKE a.*".to_owned(), -5)]);
}

#[test]
fn placing_that_cannot_be_is_refused() {
    for (line, message) in [
        ("resources = { gpu = 0 }", "expected a number of this resource from 1"),
        ("resources = { memory = 1 }", "`memory` is a key of its own"),
        ("resources = { GPU = 1 }", "`GPU` is not a name"),
        ("placement = \"dense\"", "expected `spread` or `pack`"),
        ("priority = 101", "from 0 to 100"),
        ("with = [\"web\"]", "names the job itself"),
        ("apart = [\"shop/web\"]", "names the job itself"),
        ("apart = [\"db\"]\nwith = [\"db\"]", "is in `with`, too"),
        ("prefer = [\"hostname UNIQUE\"]", "a preference knows IS, LIKE and UNLIKE"),
        ("prefer = [{ rule = \"zone IS a\", weight = 0 }]", "but not 0"),
        ("prefer = [{ weight = 1 }]", "missing; expected a rule"),
        ("constraints = [\"zone LIKE [\"]", "is not a regular expression"),
        ("constraints = [\"zone LIKE a)|(b\"]", "is not a regular expression"),
        ("constraints = [\"zone LIKE\"]", "LIKE needs a regular expression"),
        ("constraints = [\"zone GROUP_BY 0\"]", "at least 1"),
    ] {
        let error = refuse_line(line);
        assert!(error.to_string().contains(message), "{line}: {error}");
    }
    let error = refuse("app = \"shop\"\nteam = \"Red\"\n[service.web]\nrun = [\"x\"]\n");
    assert!(error.to_string().starts_with("line 2: team: `Red` is not a DNS label"), "{error}");
    let error = refuse("app = \"shop\"\n[daemon.web]\nrun = [\"x\"]\ncount = 2\n");
    assert!(error.to_string().contains("a daemon has one instance on each machine that matches"), "{error}");
}

#[test]
fn constraints_are_field_operator_value() {
    let rules =
        job("constraints = [\"zone IS north hall\", \"hostname  UNIQUE\", \"rack MAX_PER 2\", \"@region GROUP_BY\", \
             \"rack GROUP_BY 3\", \"zone CLUSTER\", \"zone CLUSTER a\", \"rack LIKE r[0-9]\", \"rack UNLIKE r9\"]")
        .constraints;
    let rule = |field: &str, operator| Constraint { field: field.into(), operator };
    let expected = [
        rule("zone", Operator::Is("north hall".into())),
        rule("hostname", Operator::Unique),
        rule("rack", Operator::MaxPer(2)),
        rule("@region", Operator::GroupBy(None)),
        rule("rack", Operator::GroupBy(Some(3))),
        rule("zone", Operator::Cluster(None)),
        rule("zone", Operator::Cluster(Some("a".into()))),
        rule("rack", Operator::Like("r[0-9]".into())),
        rule("rack", Operator::Unlike("r9".into())),
    ];
    assert_eq!(rules, expected);
    for (bad, message) in [
        ("hostname", "expected FIELD OPERATOR [VALUE]"),
        ("hostname unique", "unknown operator `unique`; did you mean `UNIQUE`?"),
        ("hostname UNIQUE 2", "UNIQUE takes no value"),
        ("zone IS", "IS needs a value"),
        ("zone MAX_PER", "MAX_PER needs a whole number"),
        ("zone MAX_PER 0", "MAX_PER needs a whole number"),
        ("zone MAX_PER -1", "MAX_PER needs a whole number"),
    ] {
        let error = refuse_line(&format!("constraints = [\"{bad}\"]"));
        assert!(error.message.contains(message), "{bad}: {error}");
    }
}

#[test]
fn ports_are_names_tables_or_both_in_the_order_written() {
    let port = |name: &str, fixed| PortSpec { name: name.into(), fixed };
    let mixed = job("ports = [\"http\", { zeta = 9001, admin = 9000 }, \"rpc\"]");
    let expected = [port("http", None), port("zeta", Some(9001)), port("admin", Some(9000)), port("rpc", None)];
    assert_eq!(mixed.ports, expected);
    assert_eq!(mixed.resources.ports, 2, "only allocated ones are counted");
    assert_eq!(job("ports = { http = 8080 }").ports, [port("http", Some(8080))]);
    for bad in ["0", "65536", "-1", "\"8080\""] {
        let error = refuse_line(&format!("ports = {{ http = {bad} }}"));
        assert_eq!(error.field, "service.web.ports.http");
        assert!(error.message.starts_with("expected a port number from 1 to 65535"), "{error}");
    }
}

#[test]
fn sizes_have_decimal_and_binary_units() {
    for (text, bytes) in [
        ("\"64MiB\"", 64 << 20),
        ("\"1GiB\"", 1 << 30),
        ("\"500MB\"", 500_000_000),
        ("\"2048 KiB\"", 2 << 20),
        ("\"3000kB\"", 3_000_000),
        ("\"1TiB\"", 1 << 40),
        ("\"1048576B\"", 1 << 20),
        ("1_048_576", 1 << 20),
        ("0x100000", 1 << 20),
    ] {
        assert_eq!(job(&format!("memory = {text}")).resources.memory, bytes, "{text}");
    }
    assert_eq!(job("disk = 0").resources.disk, 0);
    for bad in ["\"64\"", "\"MiB\"", "\"-1MiB\"", "\"1.5GiB\"", "\"64mib\"", "\"\"", "1.5", "-1", "\"16777216TiB\""] {
        let error = refuse_line(&format!("memory = {bad}"));
        assert!(error.message.starts_with("expected a whole number with"), "{bad}: {error}");
    }
    assert!(refuse_line("memory = 1000").message.contains("at least 1MiB"));
}

#[test]
fn durations_have_a_unit() {
    for (text, ms) in [("500ms", 500), ("1s", 1000), ("2m", 120_000), ("1h", 3_600_000), ("0s", 0)] {
        assert_eq!(job(&format!("grace = \"{text}\"")).grace, Duration::from_millis(ms));
    }
    assert_eq!(job("reschedule_after = \"3s\"").reschedule_after, Duration::from_secs(3));
    for bad in ["5", "s", "1.5s", "-1s", "1d", "1 s s", "99999999999999999h"] {
        let error = refuse_line(&format!("grace = \"{bad}\""));
        assert!(error.message.starts_with("expected a whole number with ms, s, m or h"), "{bad}: {error}");
    }
}

#[test]
fn cpus_are_kept_in_thousandths() {
    for (text, milli) in [("0.25", 250), ("2", 2000), ("0.001", 1), ("1.2345", 1235), ("1e1", 10_000)] {
        assert_eq!(job(&format!("cpus = {text}")).resources.cpus, Cpus(milli), "{text}");
    }
    for bad in ["0", "0.0001", "-1", "nan", "inf", "1e300", "\"1\""] {
        let error = refuse_line(&format!("cpus = {bad}"));
        assert!(error.message.starts_with("expected a number of processors of at least 0.001"), "{bad}: {error}");
    }
}

#[test]
fn a_check_has_one_kind_and_the_first_port_by_default() {
    let probe = |line: &str| job(&format!("health = {{ {line} }}\nports = [\"one\", \"two\"]")).health.unwrap().probe;
    let tcp = |port: &str| HealthProbe::Tcp { port: port.into() };
    assert_eq!(probe("tcp = true"), tcp("one"));
    assert_eq!(probe("tcp = \"two\""), tcp("two"));
    assert_eq!(probe("tcp = true, port = \"two\""), tcp("two"));
    assert_eq!(probe("http = \"/h\""), HealthProbe::Http { path: "/h".into(), port: "one".into() });
    assert_eq!(probe("run = [\"./check\"]"), HealthProbe::Run { run: vec!["./check".into()] });
    for (bad, message) in [
        ("", "exactly one of"),
        ("http = \"/\", tcp = true", "exactly one of"),
        ("every = \"1s\"", "exactly one of"),
        ("tcp = false", "expected true or the name of a port, found false"),
        ("http = \"/\"", "no port to check"),
        ("tcp = \"a\", port = \"b\"", "names the port `a` already"),
        ("run = [\"x\"], port = \"b\"", "has no port"),
        ("run = [\"x\"], failures = 0", "expected a number from 1 to 1000"),
    ] {
        let error = refuse_line(&format!("health = {{ {bad} }}"));
        assert!(error.message.contains(message), "{bad}: {error}");
    }
}

#[test]
fn only_batch_jobs_have_retries() {
    let app = parse("app = \"shop\"\n[batch.b]\nrun = [\"x\"]\nretries = 0\n");
    assert_eq!(app.jobs[&name("b")].kind, JobKind::Batch { retries: 0 });
    assert!(refuse_line("retries = 1").message.contains("only a batch or cron job"));
}

#[test]
fn one_name_for_a_service_and_a_batch_job_is_refused() {
    let error = refuse("app = \"a\"\n[batch.x]\nrun = [\"x\"]\n[service.x]\nrun = [\"x\"]\n");
    assert_eq!(error.to_string(), "line 4: service.x: `x` is in [batch.x] already");
}

#[test]
fn files_are_read_once_and_shipped() {
    let text =
        "app = \"a\"\n[batch.x]\nrun = [\"x\"]\nfiles = [\"f\", \"g\"]\n[batch.y]\nrun = [\"x\"]\nfiles = [\"f\"]\n";
    let mut files = folder(&[("f", 3), ("g", 5), ("unused", 1)]);
    let app = parse_app_file(text, &mut files).unwrap();
    assert_eq!(files.asked, ["f", "g"]);
    assert_eq!(app.files.keys().collect::<Vec<_>>(), ["f", "g"]);
    assert_eq!(app.files["g"], files.files["g"]);
    assert_eq!(app.jobs[&name("x")].files, ["f", "g"]);
}

#[test]
fn files_outside_the_folder_are_never_asked_for() {
    for bad in ["../secret", "/etc/passwd", "a/b", "..", ".", ""] {
        let text = format!("app = \"a\"\n[batch.x]\nrun = [\"x\"]\nfiles = [\"{bad}\"]\n");
        let mut files = folder(&[]);
        let error = parse_app_file(&text, &mut files).unwrap_err();
        assert_eq!((error.line, error.message), (Some(4), format!("`{bad}` is not a plain file name")));
        assert!(files.asked.is_empty(), "{bad}");
    }
}

#[test]
fn unreadable_and_too_large_files_are_told_with_their_line() {
    let text = "app = \"a\"\n[batch.x]\nrun = [\"x\"]\nfiles = [\n\"f\",\n\"g\"]\n";
    let error = parse_app_file(text, &mut folder(&[("f", 1)])).unwrap_err();
    assert_eq!(error.to_string(), "line 6: batch.x.files: cannot read `g`: no such file");
    let error = parse_app_file(text, &mut folder(&[("f", 1), ("g", FILE_BYTES_MAX)])).unwrap_err();
    assert_eq!(error.line, Some(6));
    assert!(error.message.contains("1048577 bytes of files"), "{error}");
    assert!(parse_app_file(text, &mut folder(&[("f", 1), ("g", FILE_BYTES_MAX - 1)])).is_ok());
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

#[test]
fn secrets_are_read_and_their_names_checked() {
    let text =
        "app = \"a\"\n[service.web]\nrun = [\"x\"]\nsecrets = [\"db\", \"tls.key\"]\nsecret_env = { DB = \"db\" }";
    let app = parse_app_file(text, &mut folder(&[])).unwrap_or_else(|e| panic!("{e}"));
    let job = app.jobs.values().next().expect("one job");
    let names: Vec<String> = job.secrets.iter().map(ToString::to_string).collect();
    assert_eq!((names, job.secret_env["DB"].as_str()), (vec!["db".into(), "tls.key".into()], "db"));
    for (line, words) in [
        ("secrets = [\"../db\"]", "service.web.secrets: `../db` is no name of a secret"),
        ("secret_env = { DB = \"\" }", "service.web.secret_env.DB: `` is no name of a secret"),
        ("secrets = \"db\"", "service.web.secrets: expected an array of names of secrets"),
        ("secret_env = { TAFFETA_X = \"db\" }", "are the fabric's"),
    ] {
        let error = refuse_line(line).to_string();
        assert!(error.contains(words), "{line}: {error}");
    }
    let both = format!("{text}\nenv = {{ DB = \"x\" }}");
    assert_eq!(refuse(&both).to_string(), "line 5: service.web.secret_env: `DB` is in `env`, too");
    let many: Vec<String> = (0..33).map(|n| format!("\"s{n}\"")).collect();
    let error = refuse_line(&format!("secrets = [{}]", many.join(", "))).to_string();
    assert!(error.contains("at most 32 are given to one task"), "{error}");
}

#[test]
fn a_service_is_scaled_by_its_load() {
    let by_cpu = job("autoscale = { min = 2, max = 10, cpu = 0.7, up_after = \"10s\" }");
    let scale = by_cpu.autoscale.as_ref().expect("it is scaled");
    assert_eq!((by_cpu.count, scale.min, scale.max, scale.cpu), (2, 2, 10, Some(700)), "it begins with the least");
    assert_eq!((scale.up_after, scale.down_after), (Duration::from_secs(10), Duration::from_secs(300)));
    let metric =
        job("ports = [\"http\"]\ncount = 3\nautoscale = { max = 9, memory = 1, metric = \"queue\", target = 2.5 }");
    let scale = metric.autoscale.expect("it is scaled");
    assert_eq!((metric.count, scale.min, scale.memory), (3, 1, Some(1000)));
    let metric = scale.metric.expect("a metric");
    assert_eq!((&*metric.name, &*metric.path, &*metric.port, metric.target), ("queue", "/metrics", "http", 2500));
}

#[test]
fn what_is_wrong_about_scaling_is_said_with_its_line() {
    for (line, says) in [
        ("autoscale = { min = 2, cpu = 0.7 }", "autoscale.max: missing"),
        ("autoscale = { max = 3 }", "at least one of `cpu`, `memory` and `metric`"),
        ("autoscale = { min = 5, max = 3, cpu = 1 }", "1 <= min <= max"),
        ("autoscale = { min = 0, max = 3, cpu = 1 }", "from 1 to 10000"),
        ("autoscale = { max = 3, cpu = 0 }", "from 0.001 to 1000"),
        ("autoscale = { max = 3, memory = 1.5 }", "from 0.001 to 1"),
        ("autoscale = { max = 3, cpu = 1, target = 3 }", "belongs to a `metric`"),
        ("autoscale = { max = 3, metric = \"queue\", target = 3 }", "no port"),
        ("autoscale = { max = 3, metric = \"queue\", port = \"http\" }", "target: missing"),
        ("autoscale = { max = 3, metric = \"queue\", port = \"http\", target = 3 }", "not one of the job's ports"),
        ("autoscale = { max = 3, cpus = 1 }", "did you mean `cpu`"),
        ("autoscale = { max = 3, cpu = 1, down_after = \"2h\" }", "at most 1h"),
    ] {
        let error = refuse_line(line).to_string();
        assert!(error.contains(says), "{line}: {error}");
    }
    let error = refuse_line("count = 7\nautoscale = { max = 3, cpu = 1 }").to_string();
    assert!(error.contains("keeps it from 1 to 3"), "{error}");
    let batch = "app = \"shop\"\n[batch.job]\nrun = [\"./job\"]\nautoscale = { max = 3, cpu = 1 }\n";
    assert!(refuse(batch).to_string().contains("only a service"));
}

#[test]
fn a_volume_has_a_name_and_a_size() {
    let read = job("volume = { name = \"data\", size = \"2GiB\" }").volume.expect("a volume");
    assert_eq!((read.name.as_str(), read.size), ("data", 2 << 30));
    assert_eq!(job("disk = \"1GiB\"\nvolume = { name = \"data\", size = \"2GiB\" }").demand().disk, 3 << 30);
    for (line, field, word) in [
        ("volume = \"data\"", "service.web.volume", "expected a table"),
        ("volume = { name = \"data\" }", "service.web.volume.size", "missing"),
        ("volume = { size = \"1GiB\" }", "service.web.volume.name", "missing"),
        ("volume = { name = \"../data\", size = \"1GiB\" }", "service.web.volume.name", "DNS label"),
        ("volume = { name = \"data\", size = \"much\" }", "service.web.volume.size", "expected a whole number"),
        ("volume = { name = \"data\", size = 0 }", "service.web.volume", "0 bytes"),
        ("volume = { name = \"data\", path = \"/\" }", "service.web.volume.path", "did you mean"),
    ] {
        let error = refuse_line(line);
        assert!(error.field == field && error.to_string().contains(word), "{line}: {error:?}");
    }
}

#[test]
fn a_volume_goes_with_no_daemon_and_no_instances_beside_the_others() {
    let volume = "volume = { name = \"data\", size = \"1GiB\" }";
    for update in ["max_surge = 1", "strategy = \"blue-green\""] {
        let error = refuse_line(&format!("{volume}\nupdate = {{ {update} }}"));
        assert!(error.to_string().contains("would have an empty volume"), "{error}");
    }
    let error = refuse(&format!("app = \"shop\"\n[daemon.log]\nrun = [\"x\"]\n{volume}\n"));
    assert!(error.to_string().contains("a daemon has no volume"), "{error}");
    let text = format!("app = \"shop\"\n[service.web]\nrun = [\"x\"]\nfiles = [\"data\"]\n{volume}\n");
    let error = parse_app_file(&text, &mut folder(&[("data", 1)])).expect_err("two of one name");
    assert!(error.to_string().contains("name of a file"), "{error}");
    parse(&format!("app = \"shop\"\n[batch.sum]\nrun = [\"x\"]\n{volume}\n"));
}

#[test]
fn what_is_kept_of_an_output_is_bounded() {
    let LogBounds { size, files } = job("cpus = 1").logs;
    assert_eq!((size, files), (8 << 20, 4));
    let logs = job("logs = { size = \"1MiB\" }").logs;
    assert_eq!((logs.size, logs.files, logs.disk_max()), (1 << 20, 4, 10 << 20));
    assert_eq!(job("logs = { files = 2 }").logs, LogBounds { size: 8 << 20, files: 2 });
    for (line, field, word) in [
        ("logs = \"8MiB\"", "service.web.logs", "expected a table"),
        ("logs = { size = \"63KiB\" }", "service.web.logs.size", "64KiB to 1GiB"),
        ("logs = { size = \"2GiB\" }", "service.web.logs.size", "64KiB to 1GiB"),
        ("logs = { files = 1 }", "service.web.logs.files", "a number of files from 2 to 32"),
        ("logs = { file = 3 }", "service.web.logs.file", "did you mean `files`"),
    ] {
        let error = refuse_line(line);
        assert!(error.field == field && error.to_string().contains(word), "{line}: {error:?}");
    }
}
