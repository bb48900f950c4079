//! The log as a node has it on its disk: damaged, missing, without room. No tasks run here.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use taffeta_node::{
    Fabric, FabricConfig, Serve, StartError,
    api::{ApiError, ErrorCode, TokenRequest},
    model::NodeName,
};
use tokio::time::Instant;

async fn start(data: &Path) -> Result<Fabric, StartError> {
    let mut config = FabricConfig::new(data);
    config.name = Some(NodeName::new("n1").expect("a label"));
    config.address = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.serve = Serve { http: false, dns: false };
    config.best_effort = true;
    let node = Fabric::start(config).await?;
    node.ready(Duration::from_secs(30)).await.expect("ready");
    Ok(node)
}

async fn write(node: &Fabric) -> Result<(), ApiError> {
    node.backend().create_token(TokenRequest { role: None, ttl_seconds: None, uses: None }).await.map(drop)
}

/// A data folder after a clean stop.
async fn stopped(data: &Path) {
    let node = start(data).await.unwrap_or_else(|e| panic!("{e}: {:?}", e.help));
    for _ in 0..5 {
        write(&node).await.expect("a lone machine writes");
    }
    node.shutdown().await;
}

async fn refusal(data: &Path) -> StartError {
    match start(data).await {
        Ok(_) => panic!("it was started"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_is_refused_with_the_files_name_and_the_way_back() {
    let root = tempfile::tempdir().expect("a folder");
    stopped(root.path()).await;
    let segment = root.path().join("raft/00000001.log");
    let whole = fs::read(&segment).expect("the first segment");
    for at in [0, 20, 40, 200, 700] {
        let mut harmed = whole.clone();
        harmed[at] ^= 4;
        fs::write(&segment, harmed).expect("a file that can be written");
        let error = refusal(root.path()).await;
        assert!(error.message.contains("raft/00000001.log"), "{error}");
        assert!(
            error.help.as_ref().is_some_and(|help| help.contains("join again with a new token")),
            "{:?}",
            error.help
        );
    }
    fs::write(&segment, whole).expect("a file that can be written");
    let node = start(root.path()).await.expect("an unharmed log");
    write(&node).await.expect("it goes on");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_its_log_is_refused() {
    let root = tempfile::tempdir().expect("a folder");
    stopped(root.path()).await;
    fs::remove_dir_all(root.path().join("raft")).expect("a folder");
    let error = refusal(root.path()).await;
    assert!(error.message.contains("`raft` is missing or empty"), "{error}");
}

/// A small file system of its own, which goes with it.
struct Small(tempfile::TempDir);

impl Small {
    /// `None` without the right to mount.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(folder.path()).output();
        mount.is_ok_and(|done| done.status.success()).then(|| Self(folder))
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_is_full_refuses_writes_reads_on_and_writes_again_when_there_is_room() {
    let Some(small) = Small::new() else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let data = small.0.path().join("n1");
    let node = start(&data).await.unwrap_or_else(|e| panic!("{e}: {:?}", e.help));
    write(&node).await.expect("there is room");
    let filled = fs::write(small.filler(), vec![1; 30 << 20]);
    assert!(filled.is_err(), "the disk is full");

    let deadline = Instant::now() + Duration::from_secs(5);
    let refused = loop {
        match write(&node).await {
            Err(error) => break error,
            Ok(()) => assert!(Instant::now() < deadline, "it still writes"),
        }
    };
    assert_eq!((refused.code, refused.code.exit_code()), (ErrorCode::DiskFull, 3), "{refused:?}");
    assert!(refused.message.contains("the disk of n1 is full"), "{refused:?}");
    let status = node.backend().status().await.expect("reads go on");
    assert!(status.ready && status.quorum, "{status:?}");
    assert!(status.notes.iter().any(|note| note.contains("disk of n1 is full")), "{status:?}");

    fs::remove_file(small.filler()).expect("the file that is in the way");
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(error) = write(&node).await {
        assert!(Instant::now() < deadline, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let status = node.backend().status().await.expect("reads go on");
    assert!(!status.notes.iter().any(|note| note.contains("is full")), "{status:?}");
    node.shutdown().await;
    start(&data).await.expect("it starts again").shutdown().await;
}
