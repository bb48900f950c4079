//! What tasks reach of their node, and what a node says that cannot set them apart in full.

use super::{IDLE, alone, batch, binary, deploy, has_own_view, has_program, output_of, running};
use rustix::process::geteuid;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};
use taffeta_harness::Cluster;
use tempfile::TempDir;

/// Whom nobody has given anything.
const NOBODY: u32 = 65_534;

/// A cluster whose `taffeta` is this script, and the folder that holds it.
fn by_script(script: impl FnOnce(&Path, &Cluster) -> String) -> (Cluster, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    let path = folder.path().join("taffeta");
    let cluster = Cluster::new(&path);
    fs::write(&path, format!("#!/bin/sh\n{}\n", script(folder.path(), &cluster))).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    (cluster, folder)
}

/// Each of its verbs is run by a user who is not root.
fn of_nobody() -> (Cluster, TempDir) {
    by_script(|folder, cluster| {
        if !geteuid().is_root() {
            return format!("exec {} \"$@\"", binary().display());
        }
        // It may lie where only root may look.
        let copy = folder.join("program");
        fs::copy(binary(), &copy).expect("a copy");
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("its mode");
        chown(cluster.root(), Some(NOBODY), Some(NOBODY)).expect("its owner");
        let as_nobody = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups");
        format!("export HOME=/nonexistent; exec {as_nobody} {} \"$@\"", copy.display())
    })
}

#[test]
fn a_node_that_is_not_root_says_once_what_is_lacking_and_runs_tasks_if_told_to() {
    let _alone = alone();
    if Command::new("setpriv").arg("--version").output().is_err() {
        return eprintln!("SKIPPED: setpriv cannot be run; it is in the package util-linux");
    }
    let (mut cluster, _folder) = of_nobody();
    cluster.start_each(&[&[]]);
    cluster.wait_ready();
    let machine = &cluster.machines[0];
    let gaps = machine.try_json(&["nodes"]).expect("nodes")[0]["not_isolated"].clone();
    let gaps: Vec<&str> = gaps.as_array().expect("a list").iter().filter_map(|gap| gap.as_str()).collect();
    assert!(gaps.iter().any(|gap| gap.starts_with("memory: no limit") && gap.contains("not root")), "{gaps:?}");
    let log = fs::read_to_string(machine.log()).expect("a log");
    for gap in &gaps {
        assert_eq!(log.matches(gap).count(), 1, "`{gap}` is said once: {log}");
    }
    let doctor = machine.run(&["doctor"]);
    assert!(doctor.code == 1 && doctor.stdout.contains("memory-limit"), "{doctor:?}");

    deploy(&cluster, "plain", &batch("who", "id -u", ""));
    let own = if geteuid().is_root() { NOBODY } else { geteuid().as_raw() };
    assert_eq!(output_of(machine, "plain/who.1"), format!("{own}\n"));
    deploy(&cluster, "stays", &format!("[service.one]\n{IDLE}"));
    running(machine, "stays/one.1");
}

/// What a task tries to get into the API with: nothing, whatever it finds, and the node's own socket.
const KNOCK: &str = "\
import socket, sys, urllib.error, urllib.request
url, data = sys.argv[1:]
def ask(method, token):
    request = urllib.request.Request(url + '/v1/apps', method=method, data=b'app = \"evil\"' if method == 'POST' else None)
    request.add_header('content-type', 'application/toml')
    if token: request.add_header('authorization', 'Bearer ' + token)
    try: return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as e: return e.code
def read(name):
    try: return open(data + '/' + name, 'rb').read().decode('latin-1').strip()
    except OSError: return ''
def knock():
    try: socket.socket(socket.AF_UNIX).connect(data + '/api.sock')
    except OSError: return 'shut'
    return 'open'
token = read('admin.token')
print(ask('GET', None), ask('POST', None), ask('GET', token or 'guessed'))
print(knock(), 'token' if token else 'none', 'key' if read('node.key') else 'none')
";

#[test]
fn a_task_gets_nowhere_with_the_api_of_its_node() {
    let _alone = alone();
    if !geteuid().is_root() || !has_program("python3", "python3") {
        return eprintln!("SKIPPED: needs root, as what a node without it keeps from tasks is not what is asked here");
    }
    // The harness opens the API of its machines: here it is shut, and people use the token.
    let (mut cluster, _folder) = by_script(|_, cluster| {
        format!(
            "if [ \"$1\" = up ]; then\n  for word; do shift; [ \"$word\" = --api-open ] || set -- \"$@\" \"$word\"; done\n\
             else\n  export TAFFETA_TOKEN=\"$(cat {}/n1/admin.token)\"\nfi\nexec {} \"$@\"",
            cluster.root().display(),
            binary().display()
        )
    });
    cluster.start_each(&[&[]]);
    cluster.wait_ready();
    let machine = &cluster.machines[0];
    if !has_own_view(machine) {
        return;
    }
    fs::write(cluster.root().join("knock.py"), KNOCK).expect("a file");
    let script = format!("python3 knock.py http://{} {}", machine.http(), machine.data.display());
    let files = "files = [\"knock.py\"]";
    deploy(&cluster, "standard", &batch("knock", &script, files));
    assert_eq!(output_of(machine, "standard/knock.1"), "401 401 401\nshut none none\n");
    // The measures keep it out: without them there would be a way.
    deploy(&cluster, "none", &batch("knock", &script, &format!("{files}\nisolation = \"none\"")));
    assert_eq!(output_of(machine, "none/knock.1"), "401 401 200\nopen token key\n");
}

#[test]
fn an_open_api_is_open_to_tasks_which_is_said() {
    let _alone = alone();
    let cluster = super::cluster(&[]);
    let log = fs::read_to_string(cluster.machines[0].log()).expect("a log");
    assert_eq!(log.matches("every program of this machine, its tasks as well, may deploy").count(), 1, "{log}");
}
