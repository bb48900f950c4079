//! What lies on the disk for a task: shipped files, secrets, volumes, and its output.

use super::{folder, job, name, parse, refuse, refuse_line};
use crate::{FILE_BYTES_MAX, LogBounds, parse_app_file};

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
