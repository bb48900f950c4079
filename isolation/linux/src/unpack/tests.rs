//! Archives of strangers.

use super::{ENTRIES_MAX, unpack};
use flate2::{Compression, write::GzEncoder};
use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};
use tar::{Builder, EntryType, Header};

/// A folder with an archive, and what is beside the place where it is unpacked.
struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("work")).unwrap();
        Self { root }
    }

    fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    fn unpack(&self, archive: &[u8], bytes_max: u64) -> Result<(), String> {
        let path = self.root.path().join("archive");
        fs::write(&path, archive).unwrap();
        let done = unpack(&path, &self.work(), bytes_max).map_err(|e| e.to_string());
        // Whatever became of it, nothing has come out.
        let beside: Vec<_> = fs::read_dir(self.root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(beside.len(), 2, "{beside:?}");
        done
    }

    fn refuse(&self, archive: &[u8], word: &str) {
        let why = self.unpack(archive, 1 << 20).expect_err("it is refused");
        assert!(why.contains(word), "{why}");
    }
}

/// An entry whose names are written as they are, which the builder would refuse.
fn entry(kind: EntryType, name: &str, link: &str, body: &[u8]) -> (Header, Vec<u8>) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(body.len() as u64);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..name.len()].copy_from_slice(name.as_bytes());
    gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    (header, body.to_vec())
}

fn file(name: &str, body: &[u8]) -> (Header, Vec<u8>) {
    entry(EntryType::Regular, name, "", body)
}

fn link(name: &str, to: &str) -> (Header, Vec<u8>) {
    entry(EntryType::Symlink, name, to, b"")
}

fn tar(entries: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new(vec![]);
    entries.iter().for_each(|(header, body)| builder.append(header, body.as_slice()).unwrap());
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn files_folders_and_links_inside_are_unpacked_from_each_kind() {
    let long = format!("{}/deep.txt", "a-long-name".repeat(12));
    let archive = tar(&[
        entry(EntryType::Directory, "lib/", "", b""),
        file("lib/one", b"1"),
        link("lib/two", "one"),
        link("up", "lib/../lib/one"),
        entry(EntryType::Link, "hard", "./lib/one", b""),
        entry(EntryType::GNULongName, "././@LongLink", "", long.as_bytes()),
        file("cut", b"deep"),
    ]);
    for archive in [archive.clone(), gzip(&archive), zstd(&archive)] {
        let bench = Bench::new();
        bench.unpack(&archive, 1 << 20).unwrap();
        let work = bench.work();
        for name in ["lib/one", "lib/two", "up", "hard"] {
            assert_eq!(text(&work.join(name)), "1", "{name}");
        }
        assert_eq!(text(&work.join(&long)), "deep");
    }
}

#[test]
fn what_the_commands_of_a_system_make_is_unpacked() {
    let made = tempfile::tempdir().unwrap();
    fs::create_dir(made.path().join("d")).unwrap();
    let long = "n".repeat(150);
    fs::write(made.path().join("d").join(&long), "long").unwrap();
    for format in ["gnu", "pax", "ustar"] {
        let archive = made.path().join(format);
        let mut tar = std::process::Command::new("tar");
        tar.args([&format!("--format={format}"), "-czf"]).arg(&archive).arg("-C").arg(made.path()).arg("d");
        match tar.output() {
            Ok(output) if output.status.success() => {}
            Ok(_) if format == "ustar" => continue, // it has no room for the name
            Ok(output) => panic!("{output:?}"),
            Err(e) => return eprintln!("SKIPPED: tar cannot be run: {e}"),
        }
        let bench = Bench::new();
        bench.unpack(&fs::read(archive).unwrap(), 1 << 20).unwrap();
        assert_eq!(text(&bench.work().join("d").join(&long)), "long", "{format}");
    }
}

#[test]
fn modes_are_kept_as_far_as_they_give_no_rights() {
    let bench = Bench::new();
    let (mut header, body) = file("run", b"#!");
    header.set_mode(0o6777);
    header.set_cksum();
    bench.unpack(&tar(&[(header, body)]), 1 << 20).unwrap();
    let mode = fs::metadata(bench.work().join("run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "no set-user-id, and nothing that others may write");
}

#[test]
fn no_path_and_no_link_leads_out() {
    let escape = |entries: &[(Header, Vec<u8>)]| Bench::new().refuse(&tar(entries), "outside");
    escape(&[file("../out", b"x")]);
    escape(&[file("a/../../out", b"x")]);
    escape(&[link("out", "/etc")]);
    escape(&[link("out", "..")]);
    escape(&[link("a/b", "../../out")]);
    Bench::new().refuse(&tar(&[file("/out", b"x")]), "is not inside");
    Bench::new().refuse(&tar(&[entry(EntryType::Link, "x", "../archive", b"")]), "outside");
    // Harmless one by one: `l` is the folder itself, and so `l/..` is what is around it.
    let pair = [entry(EntryType::Directory, "a/b", "", b""), link("a/b/l", "../.."), link("m", "a/b/l/../..")];
    escape(&pair);
}

#[test]
fn links_that_lead_out_are_refused_whatever_is_renamed_meanwhile() {
    let (ends, elsewhere) = (AtomicBool::new(false), tempfile::tempdir().unwrap());
    let [one, other] = ["one", "other"].map(|name| elsewhere.path().join(name));
    fs::write(&one, "").unwrap();
    let pair = tar(&[entry(EntryType::Directory, "a/b", "", b""), link("a/b/l", "../.."), link("m", "a/b/l/../..")]);
    let inside = tar(&[entry(EntryType::Directory, "a/b", "", b""), link("a/b/l", "../.."), link("m", "a/b/l/a/..")]);
    std::thread::scope(|scope| {
        // The kernel cannot tell where a `..` leads while names change.
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                fs::rename(&one, &other).and_then(|()| fs::rename(&other, &one)).unwrap();
            }
        });
        let refused = std::panic::catch_unwind(|| {
            for _ in 0..500 {
                Bench::new().refuse(&pair, "outside");
                Bench::new().unpack(&inside, 1 << 20).unwrap();
            }
        });
        ends.store(true, Ordering::Relaxed);
        refused.unwrap();
    });
}

#[test]
fn nothing_is_written_through_a_link() {
    let bench = Bench::new();
    // Whichever comes first, the link is made last.
    bench.refuse(&tar(&[link("d", "e"), file("d/x", b"x"), file("e/y", b"y")]), "`d`");
    let bench = Bench::new();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), bench.work().join("data")).unwrap(); // as a volume is linked
    bench.refuse(&tar(&[file("data/x", b"x")]), "`data/x`");
    assert!(fs::read_dir(elsewhere.path()).unwrap().next().is_none());
    bench.refuse(&tar(&[entry(EntryType::Link, "x", "data", b"")]), "a link to what is no file");
}

#[test]
fn nothing_that_is_there_is_replaced() {
    let bench = Bench::new();
    fs::write(bench.work().join("server"), "shipped").unwrap();
    bench.refuse(&tar(&[file("server", b"other")]), "`server`");
    assert_eq!(text(&bench.work().join("server")), "shipped");
    Bench::new().refuse(&tar(&[file("twice", b"1"), file("twice", b"2")]), "`twice`");
}

#[test]
fn devices_and_pipes_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::GNUSparse] {
        Bench::new().refuse(&tar(&[entry(kind, "x", "", b"")]), "a device, a pipe");
    }
    Bench::new().refuse(b"PK\x03\x04", "zip");
}

#[test]
fn bombs_are_stopped_by_bytes_entries_and_names() {
    // A terabyte of zeros: what it says is believed before it is unpacked.
    let (mut huge, _) = file("huge", b"");
    huge.set_size(1 << 40);
    huge.set_cksum();
    Bench::new().refuse(&gzip(&tar(&[(huge, vec![])])), "too large together");
    let many: Vec<_> = (0..3).map(|i| file(&format!("f{i}"), &[0; 400 << 10])).collect();
    let bench = Bench::new();
    bench.refuse(&gzip(&tar(&many)), "too large together");
    let taken: u64 = fs::read_dir(bench.work()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(taken <= 1 << 20, "{taken}");
    let (mut name, _) = entry(EntryType::GNULongName, "././@LongLink", "", b"");
    name.set_size(1 << 30);
    name.set_cksum();
    Bench::new().refuse(&gzip(&tar(&[(name, vec![])])), "a name of");
    let folders: Vec<_> = (0..=ENTRIES_MAX).map(|_| entry(EntryType::Directory, "d/", "", b"")).collect();
    Bench::new().refuse(&gzip(&tar(&folders)), "more than 100000 entries");
    let deep = vec!["d"; 45].join("/"); // of a hundred bytes that a header has for a name
    Bench::new().unpack(&tar(&[file(&deep, b"")]), 9).unwrap();
}

#[test]
fn an_archive_that_is_cut_off_is_told() {
    let whole = tar(&[file("a", &[7; 3000])]);
    Bench::new().refuse(&whole[..2000], "");
    let zipped = gzip(&whole);
    Bench::new().refuse(&zipped[..zipped.len() - 20], "");
    let mut noise = vec![];
    std::io::repeat(0x5a).take(4096).read_to_end(&mut noise).unwrap();
    Bench::new().refuse(&noise, "");
}
