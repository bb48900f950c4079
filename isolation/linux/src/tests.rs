//! Rules of what is kept and what is said: older and newer releases meet at both.

use crate::{
    control::{Action, Reply, Request, line, parse},
    record::{ExitRecord, Process, VERSION, read_record, write_record},
};
use std::fs;
use taffeta_model::{Exit, UnixMillis};

#[test]
fn the_protocol_is_frozen() {
    let asked = |action| String::from_utf8(line(&Request { v: VERSION, action })).unwrap();
    assert_eq!(asked(Action::Status), "{\"v\":1,\"do\":\"status\"}\n");
    assert_eq!(asked(Action::Signal { n: 15 }), "{\"v\":1,\"do\":\"signal\",\"n\":15}\n");
    assert_eq!(asked(Action::Kill), "{\"v\":1,\"do\":\"kill\"}\n");
    assert_eq!(asked(Action::Watch), "{\"v\":1,\"do\":\"watch\"}\n");
    let reply = Reply { v: 1, exit: Some(ExitRecord::new(&Exit::Code(3), UnixMillis(7))), ..Reply::default() };
    assert_eq!(line(&reply), b"{\"v\":1,\"exit\":{\"version\":1,\"at\":7,\"code\":3}}\n");
}

#[test]
fn a_request_of_another_version_or_shape_is_refused_with_its_reason() {
    assert!(parse(b"{\"v\":2,\"do\":\"kill\"}\n").unwrap_err().contains("version 2"));
    for bad in ["", "\n", "kill\n", "{\"v\":1}\n", "{\"v\":1,\"do\":\"dance\"}\n", "{\"v\":1,\"do\":\"signal\"}\n"] {
        assert!(parse(bad.as_bytes()).unwrap_err().starts_with("not understood"), "{bad}");
    }
    assert_eq!(parse(b"{\"v\":1,\"do\":\"kill\",\"later\":true}\n"), Ok(Action::Kill));
}

#[test]
fn every_exit_survives_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exit.json");
    let exits =
        [Exit::Code(0), Exit::Signal(9), Exit::OutOfMemory, Exit::Lost, Exit::NotStarted("no such file".into())];
    for exit in exits {
        write_record(&path, &ExitRecord::new(&exit, UnixMillis(5))).unwrap();
        let read: ExitRecord = read_record(&path).unwrap().unwrap();
        assert_eq!((read.exit(), read.at), (exit, 5));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays behind");
}

#[test]
fn a_record_that_a_power_cut_tore_is_none_as_a_missing_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exit.json");
    assert!(read_record::<ExitRecord>(&path).unwrap().is_none());
    fs::write(&path, "{\"version\":1,").unwrap();
    assert!(read_record::<ExitRecord>(&path).unwrap().is_none());
}

#[test]
fn a_process_is_known_by_number_and_start() {
    let own = Process::look_up(std::process::id()).unwrap();
    assert_eq!(Process::look_up(own.pid), Some(own));
    assert!(own.start > 0);
    assert_eq!(Process::look_up(u32::MAX), None);
}
