//! What stands in files: app files and the configuration, each fault told with its place before a node is asked.

use super::{Said, json, refused, run, said, taffeta};
use std::fs;

/// What `deploy` says to an app file.
fn deploy(text: &str) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("shop.toml"), text).expect("a file");
    let mut command = taffeta(&["deploy", "shop.toml"]);
    command.current_dir(folder.path());
    said(command)
}

#[test]
fn a_wrong_app_file_is_told_with_line_and_field() {
    let unknown = deploy("app = \"shop\"\n\n[service.web]\nrun = [\"true\"]\n\ncpus = 1\ncout = 3\n");
    let (error, advised) = refused(&unknown);
    assert_eq!(error, "shop.toml: line 7: service.web.cout: unknown key; did you mean `count`?");
    assert!(advised);

    let kind = deploy("app = \"shop\"\n[service.web]\nrun = [\"true\"]\ncount = \"3\"\n");
    let (error, _) = refused(&kind);
    assert!(error.starts_with("shop.toml: line 4: service.web.count: expected "), "{error}");
    assert!(error.ends_with("found the string \"3\""), "{error}");

    let cycle = deploy(
        "app = \"shop\"\n[service.a]\nrun = [\"true\"]\nafter = [\"b\"]\n[service.b]\nrun = [\"true\"]\nafter = [\"a\"]\n",
    );
    let (error, _) = refused(&cycle);
    assert!(error.starts_with("shop.toml: line "), "{error}");
    assert!(error.contains(".after: ") && error.contains('a') && error.contains('b'), "{error}");

    let missing = deploy("app = \"shop\"\n[service.web]\nrun = [\"./s\"]\nfiles = [\"s.py\"]\n");
    let (error, _) = refused(&missing);
    assert!(
        error.starts_with("shop.toml: line 4: service.web.files: cannot read `s.py`: s.py: No such file"),
        "{error}"
    );

    let broken = deploy("app = \n");
    assert!(refused(&broken).0.starts_with("shop.toml: line 1: "));
}

#[test]
fn an_app_file_that_cannot_be_read_is_told_before_a_node_is_asked() {
    let said = run(&["deploy", "/nonexistent/shop.toml"]);
    assert!(refused(&said).0.starts_with("cannot read /nonexistent/shop.toml: No such file"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.toml");
    fs::write(&file, [0xff, 0xfe]).unwrap();
    let said = run(&["plan", file.to_str().unwrap()]);
    assert!(refused(&said).0.ends_with("it is not UTF-8 text"), "{said:?}");
    // A pipe in the place of a shipped file would be waited for.
    fs::create_dir(folder.path().join("s.py")).unwrap();
    fs::write(&file, "app = \"a\"\n[service.s]\nrun = [\"./s\"]\nfiles = [\"s.py\"]\n").unwrap();
    let said = run(&["plan", file.to_str().unwrap()]);
    assert!(refused(&said).0.contains("is not a regular file"), "{said:?}");
    fs::remove_dir(folder.path().join("s.py")).unwrap();
    fs::write(folder.path().join("s.py"), vec![0; (1 << 20) + 1]).unwrap();
    let said = run(&["plan", file.to_str().unwrap()]);
    assert!(refused(&said).0.contains("has more than 1048576 bytes"), "{said:?}");
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taffeta.toml");
    fs::write(&file, "api = \"http://127.0.0.1:1\"\nzone = \"z1\"\nname = \"f\"\nbest_effort = true\n").unwrap();
    let mut command = taffeta(&["config", "-o", "json", "--api", "http://127.0.0.1:3"]);
    command.env("TAFFETA_CONFIG", &file).env("TAFFETA_API", "http://127.0.0.1:2").env("TAFFETA_NAME", "e");
    command.env("TAFFETA_TOKEN", "s3cret");
    let said = said(command);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.stdout.contains("s3cret"), "a token is never shown");
    let config = json(&said);
    let line = |n: usize| json!(format!("{}: line {n}", file.display()));
    assert_eq!(config["api"], json!({"value": "http://127.0.0.1:3", "from": "flag", "place": "--api"}));
    assert_eq!(config["name"], json!({"value": "e", "from": "env", "place": "TAFFETA_NAME"}));
    assert_eq!(config["zone"], json!({"value": "z1", "from": "file", "place": line(2)}));
    assert_eq!(config["best_effort"], json!({"value": true, "from": "file", "place": line(4)}));
    assert_eq!(config["token"]["from"], "env");
    assert_eq!(config["http"], json!({"value": null, "from": "default", "place": null}));
    assert_eq!(config["data"]["value"], "/nonexistent");

    let table = run(&["config"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(table.stdout.starts_with("NAME") && table.stdout.contains("http://127.0.0.1:7480"), "{table:?}");
}

#[test]
fn a_wrong_line_of_the_configuration_stops_every_verb_that_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taffeta.toml");
    let with = |text: &str, args: &[&str]| {
        fs::write(&file, text).unwrap();
        let mut command = taffeta(args);
        command.env("TAFFETA_CONFIG", &file);
        said(command)
    };
    for args in [&["nodes"][..], &["up"], &["config"]] {
        let said = with("zone = \"a\"\nadress = \"1.2.3.4\"\n", args);
        let (error, advised) = refused(&said);
        assert_eq!(error, format!("{}: line 2: adress: unknown key; did you mean `address`?", file.display()));
        assert!(advised);
    }
    let wrong = with("\n\naddress = \"x\"\n", &["config"]);
    assert!(refused(&wrong).0.contains("line 3: address: `x` is not an address"), "{wrong:?}");
    assert_eq!(with("adress = 1\n", &["version"]).code, Some(0), "what needs no configuration reads none");
    let mut missing = taffeta(&["config"]);
    missing.env("TAFFETA_CONFIG", "/nonexistent/taffeta.toml");
    assert!(refused(&said(missing)).0.starts_with("cannot read the configuration /nonexistent/taffeta.toml"));
}
