//! What else runs a program apart from a machine: `crun`, a container runtime in C, and `bwrap`, which is part of Flatpak.
//!
//! Both get the machine's own root, read-only, and its network, as a task does. crun sets the same limits; neither filters
//! system calls nor restricts files with landlock here, keeps outputs, or syncs anything to a disk.

use super::plain::{CPUS_MILLI, MEMORY_BYTES, PIDS_MAX, PROGRAM};
use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    Crun,
    Bwrap,
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crun => "crun",
            Self::Bwrap => "bwrap",
        }
    }

    /// Debian's.
    fn package(self) -> &'static str {
        match self {
            Self::Crun => "crun",
            Self::Bwrap => "bubblewrap",
        }
    }
}

/// Those that can be measured here.
pub(super) struct Peers {
    folder: PathBuf,
    stages: BTreeMap<Peer, Stage>,
    runs: u32,
}

impl Peers {
    /// Looks for them; says which is not there. `folder` is for what they need, `group` below `taffeta` for their cgroups.
    pub(super) fn find(folder: &Path, group: &str) -> Result<Self> {
        let mut stages = BTreeMap::new();
        for peer in [Peer::Crun, Peer::Bwrap] {
            let stage = match peer {
                Peer::Crun => crun_stage(folder, group),
                Peer::Bwrap => is_there(peer).and_then(|()| Stage::start(|| Ok(()))),
            };
            match stage {
                Ok(stage) => drop(stages.insert(peer, stage)),
                Err(why) => eprintln!("{} is not measured: {why:#}", peer.name()),
            }
        }
        Ok(Self { folder: folder.to_owned(), stages, runs: 0 })
    }

    /// Runs the program once; `None` if that peer is not measured. One that fails is not measured from then on.
    pub(super) fn turn(&mut self, peer: Peer) -> Option<Duration> {
        self.runs += 1;
        let command = match peer {
            Peer::Crun => crun(&self.folder, self.runs),
            Peer::Bwrap => bwrap(),
        };
        let time = self.stages.get(&peer)?.time(command);
        if let Err(why) = &time {
            eprintln!("{} is not measured: {why:#}", peer.name());
            self.stages.remove(&peer);
        }
        time.ok()
    }
}

/// A thread that runs commands and measures how long they take, in a view of the file system of its own if it likes.
struct Stage {
    ask: Sender<Command>,
    told: Receiver<Result<Duration>>,
}

impl Stage {
    fn start(prepare: impl FnOnce() -> Result<()> + Send + 'static) -> Result<Self> {
        let (ask, asked) = channel::<Command>();
        let (tell, told) = channel();
        thread::Builder::new().name("stage".into()).spawn(move || {
            let prepared = prepare();
            let ready = prepared.is_ok();
            let _ = tell.send(prepared.map(|()| Duration::ZERO)); // who has gone needs no answers
            for mut command in asked.into_iter().take_while(|_| ready) {
                let _ = tell.send(timed(&mut command));
            }
        })?;
        told.recv().context("the thread ended")??;
        Ok(Self { ask, told })
    }

    fn time(&self, command: Command) -> Result<Duration> {
        self.ask.send(command).ok().context("the thread ended")?;
        self.told.recv().context("the thread ended")?
    }
}

fn timed(command: &mut Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begin = Instant::now();
    let mut child = command.spawn()?;
    let status = child.wait()?;
    let time = begin.elapsed();
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take().filter(|_| !status.success()) {
        std::io::Read::read_to_string(&mut stderr, &mut said)?;
    }
    ensure!(status.success(), "it failed ({status}): {}", said.trim());
    Ok(time)
}

fn is_there(peer: Peer) -> Result<()> {
    let asked = Command::new(peer.name()).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(asked.is_ok(), "it is not installed (Debian package {})", peer.package());
    Ok(())
}

fn bwrap() -> Command {
    let mut command = Command::new(Peer::Bwrap.name());
    command.args(["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session"]);
    command.args(["--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]);
    command.args(["--tmpfs", "/tmp", "--tmpfs", "/run", "--chdir", "/", PROGRAM]);
    command
}

fn crun(folder: &Path, run: u32) -> Command {
    let mut command = Command::new(Peer::Crun.name());
    command.arg("--root").arg(folder.join("state")).arg("run").arg("--bundle").arg(folder.join("bundle"));
    command.arg(format!("true-{run}"));
    command
}

/// Makes a bundle of what `crun spec` writes. One namespace serves all runs, so that its making is not counted.
fn crun_stage(folder: &Path, group: &str) -> Result<Stage> {
    is_there(Peer::Crun)?;
    ensure!(rustix::process::geteuid().is_root(), "it is compared as root alone");
    let (bundle, state) = (folder.join("bundle"), folder.join("state"));
    let rootfs = bundle.join("rootfs");
    fs::create_dir_all(&rootfs)?;
    fs::create_dir(&state)?;
    let written = Command::new(Peer::Crun.name()).arg("spec").current_dir(&bundle).output()?;
    ensure!(written.status.success(), "`crun spec`: {}", String::from_utf8_lossy(&written.stderr).trim());
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    adapt(&mut config, group)?;
    fs::write(&path, config.to_string())?;
    Stage::start(move || {
        unshare(CloneFlags::CLONE_NEWNS).context("no view of the file system of its own")?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        // Where daemons and engines have it, too: in memory.
        mount("state", &state, "tmpfs", MountFlags::empty(), c"size=16m")?;
        mount_bind("/", &rootfs)?;
        // crun refuses machines that have both versions of cgroups, and takes this for one with the first alone.
        let unified = Path::new("/sys/fs/cgroup/unified");
        if unified.is_dir() {
            mount("none", unified, "tmpfs", MountFlags::empty(), None)?;
        }
        Ok(())
    })
}

/// The same program, limits and network as the task has.
fn adapt(config: &mut Value, group: &str) -> Result<()> {
    config["process"]["args"] = json!([PROGRAM]);
    config["process"]["terminal"] = json!(false);
    let linux = &mut config["linux"];
    linux["cgroupsPath"] = json!(format!("/taffeta/{group}/crun"));
    linux["resources"]["memory"] = json!({ "limit": MEMORY_BYTES });
    linux["resources"]["pids"] = json!({ "limit": PIDS_MAX });
    linux["resources"]["cpu"] = json!({ "shares": CPUS_MILLI * 1024 / 1000 });
    let Some(namespaces) = linux["namespaces"].as_array_mut() else { bail!("`crun spec` names no namespaces") };
    namespaces.retain(|namespace| namespace["type"] != "network");
    Ok(())
}
