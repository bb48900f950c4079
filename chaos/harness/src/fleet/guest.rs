//! One machine with a kernel of its own.

use crate::{bed::Namespace, disk::make_image, group::Group, machine::Ports};
use std::{
    fs::{self, File},
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Memory of a machine, in MiB, of which its kernel takes a quarter: enough for a node and its files.
const MEMORY_MIB: u32 = 96;
/// Room on its disk, in MiB.
const DISK_MIB: u64 = 64;
/// Lines of its console that are shown when a test fails.
const LINES_SHOWN: usize = 40;

/// The first process. ADDRESS, FOLDER and BINARY are put in. `/tmp` stays the host's, as the binary may lie
/// there. FOLDER is where machine and test write for each other.
const INIT: &str = r#"#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs run /run
mkdir /run/data /run/host
mount -t ext4 /dev/ubda /run/data || exec sleep 1000
mount -t hostfs none /run/host -o 'FOLDER'
ip link set lo up
ip address add ADDRESS/24 dev vec0
ip link set vec0 up
(
    cd /run/data
    boot=$(cat /run/host/boot)
    grep -sH . synced.* loose.* >/run/host/kept
    echo "$boot" >"synced.$boot"
    sync "synced.$boot"
    echo "$boot" >"loose.$boot"
)
flags=$(cat /run/host/flags)
case $flags in
*--join* | '') ;;
*)
    (
        while [ ! -s /run/data/node/admin.token ]; do sleep 0.1; done
        echo "$(cat /run/data/node/admin.token)" >/run/host/admin.token
    ) &
    ;;
esac
'BINARY' up --data /run/data/node $flags
echo "the node has ended: $?"
exec sleep 1000
"#;

/// A machine, off at first.
pub(super) struct Guest {
    pub(super) name: String,
    index: usize,
    address: IpAddr,
    folder: PathBuf,
    group: Group,
    network: String,
    boots: u32,
    process: Option<Child>,
}

impl Guest {
    pub(super) fn new(root: &Path, index: usize, network: &Namespace) -> Result<Self, String> {
        let name = format!("n{index}");
        let folder = root.join(&name);
        fs::create_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        make_image(&folder.join("disk"), DISK_MIB)?;
        let address = IpAddr::from([10, 78, 0, u8::try_from(index).expect("few machines")]);
        let group = Group::new(root, &name)?;
        Ok(Self { name, index, address, folder, group, network: network.path(), boots: 0, process: None })
    }

    pub(super) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    pub(super) fn http(&self) -> SocketAddr {
        self.at(Ports::DEFAULT.http)
    }

    /// What its kernel, its first process and its node say.
    pub(super) fn console(&self) -> PathBuf {
        self.folder.join("console")
    }

    /// Switches it on, to run the binary with these further flags. They count when its data folder is empty.
    pub(super) fn boot(&mut self, binary: &Path, more: &[&str]) {
        self.boots += 1;
        let _ = fs::remove_dir_all(self.folder.join("control")); // of the kernel that was killed
        self.write(binary, more).unwrap_or_else(|e| panic!("{}: {e}", self.folder.display()));
        self.process = Some(self.start().unwrap_or_else(|e| panic!("{} cannot be booted: {e}", self.name)));
    }

    fn write(&self, binary: &Path, more: &[&str]) -> io::Result<()> {
        let init = INIT.replace("FOLDER", &self.folder.to_string_lossy()).replace("ADDRESS", &self.address.to_string());
        let path = self.folder.join("init");
        fs::write(&path, init.replace("BINARY", &binary.to_string_lossy()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        fs::write(self.folder.join("boot"), format!("{}\n", self.boots))?;
        let (fabric, http, dns) = (self.at(Ports::DEFAULT.fabric), self.http(), self.at(Ports::DEFAULT.dns));
        let flags = format!(
            "--name {} --best-effort --address {fabric} --http {http} --dns {dns} {}",
            self.name,
            more.join(" ")
        );
        fs::write(self.folder.join("flags"), if self.boots == 1 { flags } else { String::new() })
    }

    fn start(&self) -> io::Result<Child> {
        let root = self.folder.parent().expect("it is in the fleet's");
        let at = |path: &Path| path.to_string_lossy().into_owned();
        let console = File::options().create(true).append(true).open(self.console())?;
        // It ends with the thread that has started it, however that ends: its kernel is several processes, which in a
        // namespace of their own all end with the first, and that one with `unshare`.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "nsenter", &format!("--net={}", self.network)]).args(self.group.under());
        command.args(["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation", "slave"]);
        command.args([
            "linux.uml",
            &format!("mem={MEMORY_MIB}M"),
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
        ]);
        command.args(["ro", "quiet", "con0=fd:0,fd:1", "con=null", "ssl=null"]);
        command.arg(format!("ubd0={}", at(&self.folder.join("disk"))));
        command.arg(format!("vec0:transport=tap,ifname=tap{},depth=128,gro=1", self.index));
        command.args(["umid=control", &format!("uml_dir={}/", at(&self.folder))]);
        command.arg(format!("init={}", at(&self.folder.join("init"))));
        // Its memory is a file: where that is a tmpfs, no disk is written.
        command.env("TMPDIR", if fs::metadata("/dev/shm").is_ok() { "/dev/shm" } else { "/tmp" });
        command.env("LD_PRELOAD", root.join("uml_xstate.so"));
        command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console).spawn()
    }

    /// The administrator's token, if its node has created the cluster.
    pub(super) fn token(&self) -> Result<String, String> {
        let token = fs::read_to_string(self.folder.join("admin.token")).map_err(|e| e.to_string())?;
        if token.ends_with('\n') { Ok(token.trim().to_owned()) } else { Err(format!("`{token}` is not whole")) }
    }

    pub(super) fn kept(&self) -> String {
        fs::read_to_string(self.folder.join("kept")).unwrap_or_default()
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|p| matches!(p.try_wait(), Ok(None)))
    }

    /// Cuts its power.
    pub(super) fn cut(&self) {
        self.group.strike();
    }

    /// Waits until nothing of it is left after its power was cut.
    pub(super) fn reap(&mut self) {
        self.group.kill();
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Shows the end of what it said.
    pub(super) fn show(&self) {
        let text = fs::read(self.console()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("--- {} (last lines) ---", self.name);
        lines[lines.len().saturating_sub(LINES_SHOWN)..].iter().for_each(|line| eprintln!("{line}"));
    }
}
