//! Rules of secrets: which version a job is given, and what is kept.

use super::{Log, NOW, app_name, ring, task};
use crate::{
    Command, Envelope, JobName, NodeId, Refusal, SECRET_BYTES_MAX, SECRETS_BYTES_MAX, SECRETS_MAX, SecretName,
};

const VAULT: &str = "app = \"vault\"\n[service.web]\nrun = [\"./web\"]\nsecrets = [\"db\"]\n\
    secret_env = { KEY = \"key\" }\n[service.other]\nrun = [\"./other\"]\n";

pub(super) fn envelope(bytes: usize) -> Envelope {
    Envelope { wrapped: vec![0; 61], sealed: vec![0; bytes + 16] }
}

fn name(name: &str) -> SecretName {
    SecretName::new(name).unwrap()
}

fn set(log: &Log, secret: &str, bytes: usize) -> Command {
    let version = log.state.next_secret_version(&name(secret));
    Command::SetSecret { name: name(secret), version, bytes: bytes as u32, envelope: envelope(bytes), now: NOW }
}

fn vault() -> Log {
    let mut log = ring();
    for secret in ["db", "key"] {
        let command = set(&log, secret, 8);
        log.apply(command);
    }
    log.deploy(VAULT);
    log
}

fn pins(log: &Log) -> Vec<(String, u64)> {
    let pins = log.state.apps[&app_name("vault")].secrets.get(&JobName::new("web").unwrap());
    pins.into_iter().flatten().map(|(name, version)| (name.to_string(), *version)).collect()
}

#[test]
fn a_job_keeps_its_versions_until_it_is_restarted() {
    let mut log = vault();
    assert_eq!(pins(&log), [("db".into(), 1), ("key".into(), 1)]);
    let next = set(&log, "db", 8);
    log.apply(next);
    log.deploy(VAULT);
    assert_eq!(pins(&log), [("db".into(), 1), ("key".into(), 1)], "the same job deployed again");
    let held: Vec<u64> = log.state.secrets[&name("db")].versions.keys().copied().collect();
    assert_eq!(held, [1, 2], "the old version is kept for it");
    log.apply(Command::Restart { app: app_name("vault"), job: Some(JobName::new("other").unwrap()) });
    assert_eq!(pins(&log)[0].1, 1, "another job was restarted");
    log.place("vault/web.1", 2);
    let at = log.apply(Command::Restart { app: app_name("vault"), job: None });
    assert_eq!(pins(&log)[0].1, 2);
    assert_eq!(log.assigned_fence(2), at, "its machine is told");
    let next = set(&log, "db", 8);
    log.apply(next);
    let held: Vec<u64> = log.state.secrets[&name("db")].versions.keys().copied().collect();
    assert_eq!(held, [2, 3], "what nobody uses any more is gone");
}

#[test]
fn a_job_that_changes_gets_the_newest_versions() {
    let mut log = vault();
    let next = set(&log, "db", 8);
    log.apply(next);
    log.deploy(&VAULT.replace("./web", "./web2"));
    assert_eq!(pins(&log), [("db".into(), 2), ("key".into(), 1)]);
}

#[test]
fn an_app_with_an_unknown_secret_is_refused_with_the_nearest_name() {
    let mut log = vault();
    let app = super::app(&VAULT.replace("\"db\"", "\"dbb\""));
    let refusal = log.refuse(Command::Deploy { app: app.into(), now: NOW });
    let message = "there is no secret `dbb`; did you mean `db`?".to_owned();
    assert_eq!(refusal, Refusal::Invalid { field: "service.web.secrets".into(), message });
    let app = super::app(VAULT);
    let refusal = ring().refuse(Command::Deploy { app: app.into(), now: NOW });
    assert_eq!(refusal.to_string(), "service.web.secrets: there is no secret `db`");
}

#[test]
fn a_used_secret_is_removed_only_by_force_and_its_versions_are_never_used_again() {
    let mut log = vault();
    let refusal = log.refuse(Command::RemoveSecret { name: name("db"), force: false });
    assert_eq!(refusal.to_string(), "the secret `db` is used by vault/web");
    log.apply(Command::RemoveSecret { name: name("db"), force: true });
    assert_eq!(pins(&log)[0], ("db".into(), 1), "what has it keeps it");
    let unknown = log.refuse(Command::RemoveSecret { name: name("db"), force: true });
    assert_eq!(unknown.to_string(), "there is no secret `db`; did you mean `key`?");
    let again = set(&log, "db", 8);
    log.apply(again);
    assert_eq!(log.state.secrets[&name("db")].newest, 2);
    assert!(log.state.secret(&name("db"), 1).is_none());
}

#[test]
fn a_version_that_somebody_else_has_used_is_refused() {
    let mut log = vault();
    let first = set(&log, "db", 8);
    log.apply(first.clone());
    assert_eq!(log.refuse(first), Refusal::Outdated);
}

#[test]
fn a_node_is_given_what_its_placed_tasks_use() {
    let mut log = vault();
    assert!(log.state.secrets_of(NodeId(2)).is_empty());
    log.place("vault/web.1", 2);
    log.place("vault/other.1", 3);
    let used: Vec<_> = log.state.secrets_of(NodeId(2)).into_iter().collect();
    assert_eq!(used, [(name("db"), 1), (name("key"), 1)]);
    assert!(log.state.secrets_of(NodeId(3)).is_empty(), "its task has no secrets");
    let assigned = log.state.assigned_to(NodeId(2)).unwrap().tasks[&task("vault/web.1")].clone();
    assert_eq!(assigned.secrets.into_iter().collect::<Vec<_>>(), used);
    log.apply(Command::Stop { app: app_name("vault") });
    assert!(log.state.secrets_of(NodeId(2)).is_empty());
}

#[test]
fn secrets_are_bounded_in_number_and_size() {
    let mut log = ring();
    let large = set(&log, "large", SECRET_BYTES_MAX + 300);
    assert!(matches!(log.refuse(large), Refusal::Invalid { .. }));
    for n in 0..SECRETS_BYTES_MAX / (SECRET_BYTES_MAX + 16) {
        let command = set(&log, &format!("s{n}"), SECRET_BYTES_MAX);
        log.apply(command);
    }
    let more = set(&log, "more", SECRET_BYTES_MAX);
    assert!(matches!(log.refuse(more), Refusal::Full(SECRETS_BYTES_MAX, _)));
    let again = set(&log, "s0", SECRET_BYTES_MAX);
    log.apply(again); // in place of the one before
    let mut log = ring();
    for n in 0..SECRETS_MAX {
        let command = set(&log, &format!("s{n}"), 1);
        log.apply(command);
    }
    let more = set(&log, "more", 1);
    assert!(matches!(log.refuse(more), Refusal::Full(SECRETS_MAX, _)));
}
