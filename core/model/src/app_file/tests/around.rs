//! What a task finds around itself: mounts, memory, fetched files.

use super::{folder, job, refuse, refuse_line};
use crate::{AbsolutePath, Fetch, parse_app_file};

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn path(text: &str) -> AbsolutePath {
    text.parse().expect("a path")
}

#[test]
fn mounts_are_read_and_by_default_writable_and_in_their_own_place() {
    let read = job("mounts = [{ host = \"/srv/a\", at = \"/a\", read_only = true }, { host = \"/srv/b\" }]").mounts;
    assert_eq!((&read[0].host, &read[0].at, read[0].read_only), (&path("/srv/a"), &path("/a"), true));
    assert_eq!((&read[1].host, &read[1].at, read[1].read_only), (&path("/srv/b"), &path("/srv/b"), false));
    let memory = job("tmpfs = [{ at = \"/scratch\", size = \"64MiB\" }]").tmpfs;
    assert_eq!((&memory[0].at, memory[0].bytes), (&path("/scratch"), 64 << 20));
    let volume = job("volume = { name = \"data\", size = \"1GiB\", at = \"/data\" }").volume.expect("a volume");
    assert_eq!(volume.at, Some(path("/data")));
}

#[test]
fn a_wrong_path_is_told_with_its_line() {
    for (line, field, word) in [
        ("mounts = \"/srv\"", "service.web.mounts", "expected an array of tables"),
        ("mounts = [\"/srv\"]", "service.web.mounts", "expected a table"),
        ("mounts = [{ at = \"/a\" }]", "service.web.mounts.host", "missing"),
        ("mounts = [{ host = \"srv\" }]", "service.web.mounts.host", "does not begin with `/`"),
        ("mounts = [{ host = \"/srv/../etc\", at = \"/a\" }]", "service.web.mounts.host", "`..`"),
        ("mounts = [{ host = \"/srv/\", at = \"/a\" }]", "service.web.mounts.host", "ends in `/`"),
        ("mounts = [{ host = \"/srv\", at = \"/a//b\" }]", "service.web.mounts.at", "empty part"),
        ("mounts = [{ host = \"/srv\", at = \"/proc/self\" }]", "service.web.mounts", "nothing is mounted in /proc"),
        ("mounts = [{ host = \"/\", at = \"/host\" }]", "service.web.mounts", "the whole machine"),
        ("mounts = [{ host = \"/srv\", to = \"/a\" }]", "service.web.mounts.to", "did you mean"),
        (
            "mounts = [{ host = \"/a\", at = \"/x\" }, { host = \"/b\", at = \"/x\" }]",
            "service.web.mounts",
            "two things",
        ),
        ("tmpfs = [{ at = \"/\", size = \"1MiB\" }]", "service.web.tmpfs", "the root of all"),
        ("tmpfs = [{ at = \"/dev/shm\", size = \"1MiB\" }]", "service.web.tmpfs", "nothing is mounted in /dev"),
        ("tmpfs = [{ at = \"/a\" }]", "service.web.tmpfs.size", "missing"),
        ("tmpfs = [{ at = \"/a\", size = 1 }]", "service.web.tmpfs", "at least 4096"),
        ("tmpfs = [{ at = \"/a\", size = \"1GiB\" }]", "service.web.tmpfs", "count to the task's memory"),
        ("volume = { name = \"d\", size = 1, at = \"/sys\" }", "service.web.volume", "nothing is mounted in /sys"),
        ("volume = { name = \"d\", size = 1, at = \"d\" }", "service.web.volume.at", "does not begin with `/`"),
    ] {
        let error = refuse_line(line);
        assert!(error.field == field && error.to_string().contains(word), "{line}: {error:?}");
    }
    let many = vec!["{ host = \"/srv\" }"; 33].join(", ");
    assert!(refuse_line(&format!("mounts = [{many}]")).to_string().contains("at most 32"));
}

#[test]
fn a_path_lies_within_another_by_whole_parts() {
    assert!(path("/srv/a").is_within(&path("/srv")) && path("/srv").is_within(&path("/srv")));
    assert!(path("/srv").is_within(&path("/")) && !path("/srvx").is_within(&path("/srv")));
}

#[test]
fn what_is_fetched_has_a_digest_and_a_name() {
    let read = |line: &str| job(&format!("fetch = [{line}]")).fetch[0].clone();
    let plain = read(&format!("\"https://example.org/a/x.bin?v=1#sha256={DIGEST}\""));
    let digest = DIGEST.parse().expect("a digest");
    assert_eq!(plain, Fetch::new("https://example.org/a/x.bin?v=1", digest));
    assert_eq!((plain.name.as_deref(), plain.digest.to_string()), (Some("x.bin"), DIGEST.to_owned()));
    let tool = read(&format!("{{ url = \"http://[::1]:8080/#sha256={DIGEST}\", name = \"tool\", executable = true }}"));
    assert_eq!((tool.name.as_deref(), tool.executable), (Some("tool"), true));
    let archive = read(&format!("{{ url = \"https://example.org/x.tar.gz#sha256={DIGEST}\", unpack = true }}"));
    assert_eq!((archive.name.as_deref(), archive.unpack, archive.title()), (None, true, "x.tar.gz"));
}

#[test]
fn what_cannot_be_fetched_is_told_with_its_line() {
    let good = format!("https://e.org/x#sha256={DIGEST}");
    for (line, field, word) in [
        ("\"https://e.org/x\"".to_owned(), "service.web.fetch", "has no digest"),
        ("\"https://e.org/x#md5=00\"".into(), "service.web.fetch", "`#md5=00` is not a digest"),
        ("\"https://e.org/x#sha256=00\"".into(), "service.web.fetch", "64 hexadecimal digits"),
        (format!("\"ftp://e.org/x#sha256={DIGEST}\""), "service.web.fetch", "begins with https:// or http://"),
        (format!("\"https://u:p@e.org/x#sha256={DIGEST}\""), "service.web.fetch", "leave them out"),
        (format!("\"https://:80/x#sha256={DIGEST}\""), "service.web.fetch", "is not HOST or HOST:PORT"),
        (format!("\"https://e.org:http/x#sha256={DIGEST}\""), "service.web.fetch", "is not HOST or HOST:PORT"),
        (format!("\"https://e.org/a b#sha256={DIGEST}\""), "service.web.fetch", "%20"),
        (format!("\"https://e.org/#sha256={DIGEST}\""), "service.web.fetch", "does not end in a file name"),
        (format!("{{ url = \"{good}\", name = \"../x\" }}"), "service.web.fetch", "not a plain file name"),
        (format!("{{ url = \"{good}\", unzip = true }}"), "service.web.fetch.unzip", "did you mean"),
        ("{ name = \"x\" }".into(), "service.web.fetch.url", "missing"),
        (format!("\"{good}\", \"{good}\""), "service.web.fetch", "something else in its folder"),
        (
            format!("{{ url = \"{good}\", unpack = true, executable = true }}"),
            "service.web.fetch",
            "each file of an archive",
        ),
        (
            format!("{{ url = \"https://e.org/x.zip#sha256={DIGEST}\", unpack = true }}"),
            "service.web.fetch",
            "`x.zip` cannot be unpacked",
        ),
    ] {
        let error = refuse_line(&format!("fetch = [{line}]"));
        assert!(error.field == field && error.to_string().contains(word), "{line}: {error:?}");
    }
    let help = refuse_line("fetch = [\"https://e.org/x\"]").help;
    assert!(help.is_some_and(|help| help.contains("sha256sum")));
}

#[test]
fn a_fetched_file_and_a_shipped_one_have_two_names() {
    let line = format!("files = [\"x\"]\nfetch = [\"https://e.org/x#sha256={DIGEST}\"]");
    let text = format!("app = \"shop\"\n[service.web]\nrun = [\"x\"]\n{line}\n");
    let error = parse_app_file(&text, &mut folder(&[("x", 1)])).expect_err("two of one name");
    assert!(error.line == Some(5) && error.to_string().contains("something else"), "{error}");
    let unknown = refuse("app = \"shop\"\n[service.web]\nrun = [\"x\"]\nmount = []\n");
    assert!(unknown.to_string().contains("did you mean `mounts`"), "{unknown}");
}
