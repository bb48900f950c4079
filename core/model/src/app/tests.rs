//! What [`App::check`] refuses although our own parser could not have made it: commands come from elsewhere too.

use super::{App, COUNT_MAX, FILE_BYTES_MAX, JOBS_MAX, Job, JobKind, MissedPolicy, Overlap, Recurrence, ShippedFile};
use crate::{EPSILON_DEFAULT, FileSource, HISTORY_MAX, JobName, Schedule, WEIGHT_MAX, parse_app_file};
use std::sync::Arc;

struct NoFiles;

impl FileSource for NoFiles {
    fn read(&mut self, _: &str) -> Result<ShippedFile, String> {
        Err("no files here".into())
    }
}

fn app() -> App {
    let text = "app = \"shop\"\n[service.web]\nrun = [\"./web\"]\nports = [\"http\"]\nhealth = { tcp = true }\n";
    parse_app_file(text, &mut NoFiles).unwrap()
}

fn daily() -> Recurrence {
    let schedule = Schedule::new("@daily", None).unwrap();
    Recurrence { schedule, epsilon: EPSILON_DEFAULT, overlap: Overlap::Skip, missed: MissedPolicy::Skip }
}

/// The field that the check complains about after this change to the one job.
#[track_caller]
fn fault(change: impl FnOnce(&mut Job)) -> String {
    let mut app = app();
    change(Arc::make_mut(app.jobs.values_mut().next().unwrap()));
    app.check().expect_err("the app is wrong").field
}

#[test]
fn a_foreign_job_is_checked_like_a_parsed_one() {
    assert_eq!(app().check(), Ok(()));
    assert_eq!(fault(|j| j.run.clear()), "service.web.run");
    assert_eq!(fault(|j| j.run = vec![String::new()]), "service.web.run");
    assert_eq!(fault(|j| j.run.push("a\0b".into())), "service.web.run");
    assert_eq!(fault(|j| j.count = COUNT_MAX + 1), "service.web.count");
    assert_eq!(fault(|j| j.resources.ports = 2), "service.web.ports");
    assert_eq!(fault(|j| j.ports[0].fixed = Some(0)), "service.web.ports");
    assert_eq!(fault(|j| j.ports = vec![j.ports[0].clone(); 40]), "service.web.ports");
    assert_eq!(fault(|j| j.pids_max = 1), "service.web.pids");
    assert_eq!(fault(|j| j.files.push("f".into())), "service.web.files");
    assert_eq!(fault(|j| j.tags = vec!["t".repeat(256)]), "service.web.tags");
    assert_eq!(fault(|j| j.tags = vec!["t".into(); 33]), "service.web.tags");
    assert_eq!(fault(|j| j.dns.weight = WEIGHT_MAX + 1), "service.web.dns");
    assert_eq!(fault(|j| j.dns.answers = std::num::NonZeroU8::new(101)), "service.web.dns");
    assert_eq!(fault(|j| j.grace = std::time::Duration::MAX), "service.web.grace");
    assert_eq!(fault(|j| j.health.as_mut().unwrap().failures = 0), "service.web.health.failures");
    assert_eq!(fault(|j| j.health.as_mut().unwrap().every = std::time::Duration::ZERO), "service.web.health.every");
    assert_eq!(fault(|j| j.health.as_mut().unwrap().timeout = std::time::Duration::MAX), "service.web.health.timeout");
    assert_eq!(fault(|j| j.deadline = Some(std::time::Duration::from_secs(9))), "service.web.deadline");
    assert_eq!(fault(|j| j.parallel = std::num::NonZeroU32::new(2)), "service.web.parallel");
    assert_eq!(fault(|j| j.history = HISTORY_MAX + 1), "service.web.history");
    assert_eq!(fault(|j| j.cron = Some(daily())), "service.web.schedule");
    assert_eq!(fault(|j| (j.kind, j.health) = (JobKind::Cron { retries: 0 }, None)), "cron.web.schedule");
    assert_eq!(
        fault(|j| {
            (j.kind, j.health) = (JobKind::Cron { retries: 0 }, None);
            j.cron = Some(Recurrence { epsilon: std::time::Duration::MAX, ..daily() });
        }),
        "cron.web.epsilon"
    );
    assert_eq!(fault(|j| drop(j.env.insert("A\0".into(), String::new()))), "service.web.env");
    assert_eq!(fault(|j| drop(j.env.insert("A".into(), "x".repeat(1 << 20)))), "app");
}

#[test]
fn a_shipped_file_cannot_leave_the_folder_of_its_task() {
    for name in ["../../etc/cron.d/x", "/etc/passwd", "..", "a/b", "", "a\0"] {
        let mut app = app();
        app.files.insert(name.into(), ShippedFile { body: vec![], executable: false });
        assert_eq!(app.check().expect_err(name).field, "files");
    }
}

#[test]
fn an_app_has_bounds() {
    let mut large = app();
    large.files.insert("f".into(), ShippedFile { body: vec![0; FILE_BYTES_MAX + 1], executable: false });
    assert_eq!(large.check().unwrap_err().field, "files");
    let mut many = app();
    let job = many.jobs.values().next().unwrap().clone();
    many.jobs.extend((0..JOBS_MAX).map(|i| (JobName::new(format!("j{i}")).unwrap(), job.clone())));
    assert_eq!(many.check().unwrap_err().field, "app");
}

#[test]
fn a_long_chain_of_after_is_no_cycle_and_closing_it_is_one() {
    let mut chain = app();
    let job = Arc::clone(chain.jobs.values().next().unwrap());
    chain.jobs.clear();
    let name = |i: usize| JobName::new(format!("j{i}")).unwrap();
    for i in 0..JOBS_MAX {
        // Each is after all before it: many ways to the same job, which the walk must not all go.
        let job = Job { after: (0..i).map(name).collect(), ..Job::clone(&job) };
        chain.jobs.insert(name(i), Arc::new(job));
    }
    assert_eq!(chain.check(), Ok(()));
    let first = Job { after: vec![name(JOBS_MAX - 1)], ..Job::clone(&job) };
    chain.jobs.insert(name(0), Arc::new(first));
    let error = chain.check().unwrap_err();
    assert!(error.message.starts_with("a cycle: j0 after"), "{error}");
}

#[test]
fn an_app_comes_back_from_json() {
    let app = app();
    let json = serde_json::to_string(&app).unwrap();
    assert_eq!(serde_json::from_str::<App>(&json).unwrap(), app);
}
