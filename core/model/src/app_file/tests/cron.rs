//! Jobs that run to an end: `[cron.NAME]`, its schedule, and what comes after it.

use super::{SHOP, name, parse, refuse, refuse_line};
use crate::{EPSILON_DEFAULT, HISTORY_MAX, Job, JobKind, MissedPolicy, Overlap, PlacementStrategy, UnixMillis};
use std::{num::NonZeroU32, time::Duration};

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
fn only_batch_jobs_have_retries() {
    let app = parse("app = \"shop\"\n[batch.b]\nrun = [\"x\"]\nretries = 0\n");
    assert_eq!(app.jobs[&name("b")].kind, JobKind::Batch { retries: 0 });
    assert!(refuse_line("retries = 1").message.contains("only a batch or cron job"));
}
