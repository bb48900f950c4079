//! Whose a task is on the machine, and what is told of a profile that is not in force in full.

use super::{
    data, ended, executor, script,
    support::{self, Bench, until},
    without,
};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::{Executor, MountPoint, MountSource, StartError, Stream, TaskSpec};
use taffeta_model::{Isolation, Measure, Profile, Secret, SecretName};

#[tokio::test]
async fn a_strict_task_is_nobody_on_the_machine_and_its_files_are_its_own() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: who is not root has no other ids to give");
    }
    if let Some(why) = executor.permitted().measures.lacking.get(&Measure::UserNamespace) {
        return eprintln!("SKIPPED: {why}");
    }
    let strict = Isolation { profile: Some(Profile::Strict), without: BTreeSet::new() };
    let volume = data(&bench).join("volumes/v");
    fs::create_dir_all(&volume).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o700)).unwrap();
    let host = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(host.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut spec = script(
        &bench,
        "r1",
        "id -u; echo out > /dev/stdout; echo x > file; stat -c %u file; echo y > v/file; cat $TAFFETA_SECRETS/db; echo; echo z > /srv/file || echo refused; : > ready; exec sleep 1000",
    );
    spec.env.insert("TAFFETA_SECRETS".into(), spec.folder.join("secrets").display().to_string());
    spec.secrets.files = [(SecretName::new("db").unwrap(), Secret::new(b"value".to_vec()))].into();
    spec.links = [("v".to_owned(), volume.clone())].into();
    spec.mounts =
        vec![MountPoint { at: "/srv".into(), source: MountSource::Host(host.path().into()), read_only: false }];
    spec.isolation = strict.clone();
    let pid = executor.start(spec).await.unwrap().pid;
    until("it is ready", || bench.work("r1").join("ready").exists()).await;
    // What it wrote goes through its shim.
    let said = || fs::read_to_string(executor.log_path("r1", Stream::Stdout)).unwrap();
    until("it has said all", || said().ends_with("refused\n")).await;
    assert_eq!(said(), "0\nout\n0\nvalue\nrefused\n");
    let uid = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    assert!(uid >= 0x7000_0000, "{uid}");
    for file in [bench.work("r1").join("file"), volume.join("file")] {
        assert_eq!(fs::metadata(&file).unwrap().uid(), 0, "{}", file.display());
    }
    let check = [
        "sh",
        "-c",
        "[ $(id -u) = 0 ] && cat $TAFFETA_SECRETS/db | grep -q value && ! cat /etc/ssl/private/* && echo > check",
    ];
    assert!(executor.run_check("r1", &check.map(str::to_owned), support::PATIENCE).await);
    assert_eq!(fs::metadata(bench.work("r1").join("check")).unwrap().uid(), 0);
}

#[tokio::test]
async fn strict_takes_a_node_that_is_root() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let lacking = executor.permitted().measures.lacking.get(&Measure::UserNamespace).cloned();
    if rustix::process::geteuid().is_root() {
        return assert!(lacking.is_none_or(|why| !why.contains("not root")));
    }
    assert!(lacking.is_some_and(|why| why.contains("not root")));
    let isolation = Isolation { profile: Some(Profile::Strict), without: BTreeSet::new() };
    let told = executor.start(TaskSpec { isolation, ..script(&bench, "r1", "true") }).await.unwrap().not_isolated;
    assert!(told.iter().any(|gap| gap.starts_with("user-namespace: ")), "{told:?}");
}

#[tokio::test]
async fn a_task_becomes_whom_the_machine_means_by_its_user() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: who is not root becomes nobody else");
    }
    let host = tempfile::tempdir_in("/var/tmp").unwrap();
    let passwd = host.path().join("passwd");
    fs::write(&passwd, "nobody:x:0:0::/:/bin/sh\n").unwrap();
    let mut spec = TaskSpec { user: Some("nobody".parse().unwrap()), ..script(&bench, "r1", "cat /etc/passwd; id -u") };
    spec.mounts = vec![MountPoint { at: "/etc/passwd".into(), source: MountSource::Host(passwd), read_only: true }];
    assert_eq!(ended(&executor, spec).await.1, "nobody:x:0:0::/:/bin/sh\n65534\n");
}

#[tokio::test]
async fn a_profile_that_cannot_be_had_in_full_is_refused_unless_told_otherwise() {
    let bench = Bench::new();
    let strict = LinuxExecutor::new(LinuxConfig { shim: "/bin/false".into(), ..bench.config() }).unwrap();
    let error = strict.start(bench.spec("r1", &["true"])).await.unwrap_err();
    let StartError::NotIsolated(gaps) = &error else { panic!("{error:?}") };
    assert!(gaps.iter().any(|gap| gap.starts_with("pid-namespace: it could not be tried")), "{gaps:?}");
    let own =
        |gap: &&String| ["no-new-privs", "seccomp", "landlock", "core-dumps"].iter().any(|own| gap.starts_with(own));
    assert!(!gaps.iter().any(|gap| own(&gap) && gap.contains("tried")), "a process does that to itself: {gaps:?}");
    assert!(
        strict.not_isolated().iter().any(|gap| gap.starts_with("mount-namespace and so ")),
        "{:?}",
        strict.not_isolated()
    );
    let none = Isolation { profile: Some(Profile::None), without: BTreeSet::new() };
    let error = strict.start(TaskSpec { isolation: none, ..bench.spec("r1", &["true"]) }).await.unwrap_err();
    assert!(!error.to_string().contains("namespace"), "who asks for nothing misses nothing: {error}");
}

#[tokio::test]
async fn what_turns_out_not_to_be_in_force_is_told_also_to_the_next_agent() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let isolation = without(&[Measure::MountNamespace]);
    let spec = TaskSpec { isolation, ..bench.spec("r1", &["sleep", "1000"]) };
    let told = executor.start(spec.clone()).await.unwrap().not_isolated;
    assert!(told.iter().any(|gap| gap.starts_with("hidden-folders: held by landlock alone")), "{told:?}");
    assert_eq!(bench.executor().start(spec).await.unwrap().not_isolated, told);
    let whole = executor.start(bench.spec("r2", &["sleep", "1000"])).await.unwrap();
    assert_eq!(whole.not_isolated, executor.not_isolated(), "nothing of its own");
}
