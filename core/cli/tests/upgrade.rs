//! A data folder of the last release is taken over, and a recorded backup restored; what is of a newer one is refused.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use support::{alone, binary};
use taffeta_harness::{Cluster, within};

/// As the last release left it: one node, the app `old` with a service and a batch job that has ended.
const OLD_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/data-v1");

#[test]
fn a_folder_of_the_last_release_is_converted_and_its_apps_go_on() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.adopt(Path::new(OLD_FOLDER));
    cluster.machines[0].up(&[]);
    cluster.wait_ready();
    let machine = &cluster.machines[0];
    let apps = machine.try_json(&["apps"]).expect("apps");
    assert_eq!((&apps[0]["app"], &apps[0]["version"]), (&"old".into(), &1.into()), "{apps}");
    within(Duration::from_secs(40), "its service runs, and what has ended does not run again", || {
        let tasks = machine.try_json(&["ps", "old"])?;
        let state = |service: &str| {
            let all = tasks.as_array().into_iter().flatten();
            all.filter(|t| t["service"] == service).map(|t| t["state"].clone()).collect::<Vec<_>>()
        };
        if (state("web"), state("once")) == (vec!["running".into()], vec!["finished".into()]) {
            Ok(())
        } else {
            Err(tasks.to_string())
        }
    });
    assert_eq!(machine.run(&["scale", "old/web", "0"]).success().code, 0);
    let token = machine.run(&["token", "create"]).success().stdout;
    assert!(!token.trim().is_empty());
    assert_eq!(fs::read_to_string(machine.data.join("format")).expect("the mark").trim(), "2");
    cluster.machines[0].terminate();
    cluster.machines[0].up_again();
    cluster.wait_ready();
}

/// A backup that this format's first version took, and the recovery key: one node, the app `kept` and the secret `word`.
const BACKUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/backup-2");

const KEPT: &str = "app = \"kept\"\n[service.web]\nrun = [\"sleep\", \"100000\"]\nsecrets = [\"word\"]\n";

/// Takes the backup that is restored below, if it is not there and TAFFETA_RECORD_FORMAT asks for it.
fn record_backup_if_asked() {
    let folder = Path::new(BACKUP);
    if std::env::var_os("TAFFETA_RECORD_FORMAT").is_none() || folder.exists() {
        return;
    }
    let mut cluster = Cluster::new(binary());
    cluster.start(1);
    cluster.wait_ready();
    let [file, word] = ["kept.toml", "word"].map(|name| cluster.root().join(name));
    fs::write(&file, KEPT).expect("a file");
    fs::write(&word, "recorded").expect("a file");
    let machine = &cluster.machines[0];
    machine.run(&["secret", "set", "word", "--from-file", &word.to_string_lossy()]).success();
    machine.run(&["deploy", &file.to_string_lossy()]).success();
    fs::create_dir_all(folder).expect("a folder");
    machine.run(&["backup", &folder.join("fabric.backup").to_string_lossy()]).success();
    fs::copy(machine.data.join("recovery.key"), folder.join("recovery.key")).expect("a copy");
}

#[test]
fn a_recorded_backup_is_restored() {
    let _alone = alone();
    record_backup_if_asked();
    let mut cluster = Cluster::new(binary());
    cluster.start(1);
    cluster.wait_ready();
    cluster.machines[0].kill();
    let machine = &cluster.machines[0];
    fs::remove_dir_all(&machine.data).expect("it was there");
    let at = [machine.fabric(), machine.http(), machine.dns()].map(|address| address.to_string());
    let (file, key) = (format!("{BACKUP}/fabric.backup"), format!("{BACKUP}/recovery.key"));
    let data = machine.data.to_string_lossy().into_owned();
    let from = ["restore", &file, "--recovery-key", &key, "--data", &data, "--name", "n1", "-o", "json"];
    let doors = ["--address", &at[0], "--http", &at[1], "--dns", &at[2], "--api-open", "--best-effort"];
    let restored = machine.run(&[&from[..], &doors[..]].concat()).success().json();
    assert_eq!(restored["generation"], 1, "{restored}");
    cluster.machines[0].up_again();
    cluster.wait_ready();
    let machine = &cluster.machines[0];
    let secrets = machine.try_json(&["secret", "list"]).expect("secrets");
    assert_eq!(secrets[0]["name"], "word", "{secrets}");
    within(Duration::from_secs(40), "its app runs", || {
        let tasks = machine.try_json(&["ps", "kept"])?;
        if tasks[0]["state"] == "running" { Ok(()) } else { Err(tasks.to_string()) }
    });
}

#[test]
fn a_folder_of_a_newer_release_is_refused() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.adopt(Path::new(OLD_FOLDER));
    fs::write(cluster.machines[0].data.join("format"), "3").expect("a file");
    let output = cluster.machines[0].run(&["up", "--data", &cluster.machines[0].data.to_string_lossy()]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output.stderr.contains("newer version of taffeta") && output.stderr.contains("help: "),
        "{}",
        output.stderr
    );
}

/// Files below a folder, with their contents.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.filter(|path| !path.is_symlink()).partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.is_file()); // sockets have none
    let own = files.map(|path| (path.clone(), fs::read(path).expect("a file")));
    own.chain(folders.iter().flat_map(|folder| contents(folder))).collect()
}

#[test]
fn a_folder_of_a_newer_release_is_not_recovered_and_stays_as_it_is() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.start(1);
    cluster.wait_ready();
    cluster.machines[0].kill();
    let machine = &cluster.machines[0];
    let data = machine.data.to_string_lossy().into_owned();
    machine.run(&["recover", "--data", &data]).success();
    fs::write(machine.data.join("format"), "3").expect("a file");
    let before = contents(&machine.data);
    for flags in [&[][..], &["--yes"][..]] {
        let output = machine.run(&[&["recover", "--data", &data], flags].concat());
        assert_eq!(output.code, 2, "{output:?}");
        for words in ["has format 3", "newer version of taffeta", "help: "] {
            assert!(output.stderr.contains(words), "expected `{words}`: {output:?}");
        }
        assert!(contents(&machine.data) == before, "the folder was changed");
    }
}
