//! Who a process is, and what it has of root's rights.

use super::{Place, Ran, confined, has, is_root};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};
use taffeta_isolation_plan::{Confine, TaskSpec};
use taffeta_model::{Measure, Profile, RunAs};

const NOTHING: &str = "0000000000000000";

/// The five sets: inheritable, permitted, effective, bounding, ambient.
fn sets(place: &Place, spec: &TaskSpec) -> Vec<String> {
    let out = place.run_spec(spec, &["sh", "-c", "exec grep ^Cap /proc/self/status"]).passed();
    out.lines().filter_map(|line| Some(line.split_once(':')?.1.trim().to_owned())).collect()
}

fn as_user(spec: TaskSpec, user: &str) -> TaskSpec {
    TaskSpec { user: Some(user.parse::<RunAs>().unwrap()), ..spec }
}

#[test]
fn nothing_is_left_of_roots_rights_in_any_set() {
    let Some(place) = Place::new() else { return };
    if !is_root() {
        let spec = place.spec(Profile::Standard, &[]);
        assert_eq!(sets(&place, &spec)[2], NOTHING, "who is not root has none");
        return;
    }
    for profile in [Profile::Standard, Profile::Strict] {
        let spec = place.spec(profile, &[]);
        assert_eq!(sets(&place, &spec), [NOTHING; 5]);
        assert_eq!(sets(&place, &as_user(spec, "65534:65534")), [NOTHING; 5]);
    }
    assert_ne!(sets(&place, &place.spec(Profile::None, &[]))[2], NOTHING);
}

#[test]
fn loosened_capabilities_are_a_documented_few() {
    let Some(place) = Place::new() else { return };
    if !is_root() {
        return;
    }
    // chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot setfcap
    let few = "00000000800425fb";
    let loosened = place.spec(Profile::Standard, &[Measure::Capabilities]);
    assert_eq!(sets(&place, &loosened), [NOTHING, few, few, few, NOTHING]);
}

#[test]
fn a_task_with_a_low_port_can_listen_on_it_and_do_nothing_else_of_roots() {
    let Some(place) = Place::new() else { return };
    if !is_root() || !has(&["python3"]) {
        return;
    }
    let bind = "0000000000000400";
    let spec = TaskSpec { low_port: true, ..place.spec(Profile::Standard, &[]) };
    assert_eq!(sets(&place, &spec), [NOTHING, bind, bind, bind, NOTHING]);
    let nobody = as_user(spec, "65534:65534");
    assert_eq!(
        sets(&place, &nobody),
        [bind; 5],
        "another user's are kept across the start of a program as ambient ones"
    );
    // The port is any free one of the low ones: it is the right that is tested.
    let listen = "import socket\nfor port in range(1023, 1, -1):\n  try: socket.create_server(('127.0.0.1', port)); break\n  \
                  except OSError as e:\n    if e.errno != 98: raise";
    place.run_spec(&nobody, &["python3", "-c", listen]).passed();
    let without = TaskSpec { low_port: false, ..nobody };
    if fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").is_ok_and(|first| first.trim() == "1024") {
        place.run_spec(&without, &["python3", "-c", listen]).refused("ermission denied");
    }
}

#[test]
fn a_task_runs_as_its_user_and_in_its_groups() {
    let Some(place) = Place::new() else { return };
    if !is_root() {
        return;
    }
    let who = |user: &str| {
        let spec = as_user(place.spec(Profile::Standard, &[]), user);
        place.run_spec(&spec, &["sh", "-c", "id -u; id -g; id -G"]).passed().replace('\n', " ")
    };
    assert_eq!(who("1234:4321"), "1234 4321 4321");
    assert_eq!(who("1234"), "1234 1234 1234");
    assert_eq!(who("root"), "0 0 0");
    let none = place.run(Profile::Standard, &[], &["id", "-G"]).passed();
    assert_eq!(none, "0", "the node's own further groups do not come along");
    let unknown = as_user(place.spec(Profile::Standard, &[]), "nobody-such");
    let wanted = Confine::of(&unknown, &place.machine());
    let error = super::prepare(&wanted).map(drop).unwrap_err().to_string();
    assert!(error.contains("user `nobody-such`"), "{error}");
}

#[test]
fn who_is_not_root_is_told_that_it_can_start_tasks_as_nobody_else() {
    let Some(place) = Place::new() else { return };
    let own = rustix::process::geteuid().as_raw();
    if own == 0 {
        eprintln!("SKIPPED: root may become any user");
        return;
    }
    let wanted = Confine::of(&as_user(place.spec(Profile::Standard, &[]), "0:0"), &place.machine());
    let error = super::prepare(&wanted).map(drop).unwrap_err().to_string();
    assert!(error.contains(&format!("the node runs as user {own}")), "{error}");
}

#[test]
fn a_program_with_set_user_id_gains_nothing() {
    let Some(place) = Place::new() else { return };
    if !is_root() || !has(&["id"]) {
        return;
    }
    let id = fs::canonicalize("/usr/bin/id").unwrap();
    let copy = place.work().join("id");
    fs::copy(id, &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o4755)).unwrap();
    let who = |without: &[Measure]| {
        let spec = as_user(place.spec(Profile::Standard, without), "65534:65534");
        place.run_spec(&spec, &["./id", "-u"])
    };
    if who(&[Measure::NoNewPrivs]).passed() != "0" {
        eprintln!("SKIPPED: set-user-id is without effect where this test's files are");
        return;
    }
    assert_eq!(who(&[]).passed(), "65534");
}

#[test]
fn a_task_of_another_user_opens_its_outputs_again() {
    let Some(place) = Place::new() else { return };
    if !is_root() {
        return;
    }
    let spec = as_user(place.spec(Profile::Standard, &[]), "65534:65534");
    let write = ["sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr"];
    let ran: Ran = confined(&Confine::of(&spec, &place.machine()), &write).output().unwrap().into();
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "out", "err"));
}
