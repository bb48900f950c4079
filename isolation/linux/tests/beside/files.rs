//! A look into the working folder, which a task fills with traps.

use super::support::Bench;
use std::{fs, os::unix::fs::symlink};
use taffeta_isolation_linux::LinuxExecutor;
use taffeta_isolation_plan::{Executor, FileAsk, FileError, FileKind, FilePiece, FileTold, TaskSpec};
use taffeta_model::Exit;

async fn look(executor: &LinuxExecutor, path: &str) -> Result<FileTold, FileError> {
    executor.look("r1", FileAsk { path: path.into(), offset: 0, bytes_max: 100 }).await
}

async fn names(executor: &LinuxExecutor, path: &str) -> Vec<(String, FileKind, u64, u32)> {
    match look(executor, path).await.unwrap() {
        FileTold::Folder { entries, more: false } => {
            entries.into_iter().map(|e| (e.name, e.kind, e.size, e.mode)).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn text(executor: &LinuxExecutor, path: &str) -> String {
    match look(executor, path).await.unwrap() {
        FileTold::Piece(FilePiece { bytes, size, .. }) if size == bytes.len() as u64 => {
            String::from_utf8(bytes).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn folders_are_listed_and_files_read_in_pieces_also_of_an_ended_run() {
    let bench = Bench::new();
    let executor = bench.executor();
    let script = "mkdir sub; printf hello > sub/file; chmod 640 sub/file; ln -s sub/file link; mkfifo pipe; : > 'a b'";
    executor.start(bench.spec("r1", &["sh", "-c", script])).await.unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Code(0));
    let list = names(&executor, "").await;
    let kinds: Vec<(&str, FileKind)> = list.iter().map(|(name, kind, ..)| (name.as_str(), *kind)).collect();
    let expected =
        [("a b", FileKind::File), ("link", FileKind::Link), ("pipe", FileKind::Other), ("sub", FileKind::Folder)];
    assert_eq!(kinds, expected);
    assert_eq!(names(&executor, "./sub/").await, [("file".into(), FileKind::File, 5, 0o640)]);
    assert_eq!(names(&executor, "sub/../sub").await.len(), 1);
    assert_eq!(text(&executor, "link").await, "hello", "a link that stays inside is followed");
    let piece = executor.look("r1", FileAsk { path: "sub/file".into(), offset: 3, bytes_max: 1 }).await.unwrap();
    assert!(matches!(piece, FileTold::Piece(FilePiece { bytes, size: 5, .. }) if bytes == b"l"));
    let end = executor.look("r1", FileAsk { path: "sub/file".into(), offset: u64::MAX, bytes_max: 9 }).await.unwrap();
    assert!(matches!(end, FileTold::Piece(FilePiece { bytes, .. }) if bytes.is_empty()));
    assert_eq!(look(&executor, "absent").await, Err(FileError::NotFound("absent".into())));
    assert_eq!(look(&executor, "sub/file/x").await, Err(FileError::NotFound("sub/file/x".into())));
    assert_eq!(
        look(&executor, "pipe").await,
        Err(FileError::NotAFile("pipe".into())),
        "and nobody waits for its writer"
    );
    assert_eq!(
        executor.look("../r1", FileAsk { path: String::new(), offset: 0, bytes_max: 1 }).await,
        Err(FileError::Unknown("../r1".into()))
    );
}

#[tokio::test]
async fn nothing_leads_out_of_the_folder() {
    let bench = Bench::new();
    let executor = bench.executor();
    let script = "ln -s /etc abs; ln -s ../spec.json up; ln -s /proc/self/root magic; ln -s loop loop; mkdir d; ln -s ../../spec.json d/deep";
    executor.start(bench.spec("r1", &["sh", "-c", script])).await.unwrap();
    executor.wait("r1").await;
    let paths = [
        "/etc/passwd",
        "..",
        "../spec.json",
        "d/../../spec.json",
        "abs",
        "abs/passwd",
        "up",
        "magic/etc/passwd",
        "d/deep",
        "loop",
    ];
    for path in paths {
        assert_eq!(look(&executor, path).await, Err(FileError::Outside(path.into())));
    }
    // The folder itself was replaced by a link before it was looked at: its owner is not the one who asks.
    let work = bench.work("r1");
    fs::rename(&work, work.with_extension("old")).unwrap();
    symlink("/etc", &work).unwrap();
    assert!(look(&executor, "passwd").await.is_err(), "a link is no working folder");
}

#[tokio::test]
async fn a_volume_is_looked_into_though_its_link_leads_out() {
    let bench = Bench::new();
    let executor = bench.executor();
    let volume = tempfile::tempdir().unwrap();
    fs::write(volume.path().join("kept"), "data").unwrap();
    symlink("/etc", volume.path().join("out")).unwrap();
    let links = [("data".to_owned(), volume.path().to_path_buf())].into();
    // The task has put something else in the place of the link: what was linked is what is looked into.
    let script = "ln -sfn /etc data";
    executor.start(TaskSpec { links, ..bench.spec("r1", &["sh", "-c", script]) }).await.unwrap();
    executor.wait("r1").await;
    assert_eq!(text(&executor, "data/kept").await, "data");
    assert_eq!(names(&executor, "./data").await.len(), 2);
    for path in ["data/out", "data/out/passwd", "data/..", "data/../../etc/passwd"] {
        assert_eq!(look(&executor, path).await, Err(FileError::Outside(path.into())));
    }
}
