//! Machines that each have a network, a disk and a group of processes of their own, on one real machine.
//!
//! Each node is a `taffeta up` in a network namespace whose only way out is a TUN device. A switch in the test's process
//! hands packets from device to device, or loses, delays, doubles and holds them as it is told while it runs. The thread
//! that makes a bed is itself in a namespace with a device at the switch, so it reaches the nodes as any client would, and
//! these ways are never hurt. Data folders are disks whose power can be cut. Left out: faults of kernels, which all share
//! one; those are for [`Fleet`](crate::Fleet).

mod links;
mod namespace;
mod switch;
mod tun;

pub use links::{Tally, Way};
pub(crate) use namespace::{Inside, Namespace};

use crate::{
    command::lacking,
    disk::Disk,
    group::Group,
    keeper::Keeper,
    machine::{Cluster, Machine},
    place::{Place, folder},
    sweep::{groups_of, sweep},
};
use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};
use switch::{Plug, Switch};

/// The programs that it takes, and the packages that have them.
const PROGRAMS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("perl", "perl-base"),
];
/// Room on each disk, in MiB: a node with some thousand writes behind it takes a third of that.
const DISK_MIB: u64 = 64;
/// The test's own address; the namespaces are nobody else's, so those of all beds may be the same.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 100);
/// In a view of the mounts that is the node's own, lets go of the other machines' disks: tasks have views of their own, too,
/// and would hold the disks of machines that have lost their power.
const APART: &str = r#"
    for folder in "${0%/*}"/n*/; do
        [ "$folder" = "$0/" ] || umount -l "$folder" 2>/dev/null
    done
    exec "$@"
"#;

/// A bed of machines, indexed from 0: `n1`, `n2`, ... It is of the thread that made it, which leaves its network when it is
/// dropped; threads and programs that this thread starts meanwhile are in that network, too.
pub struct Bed {
    /// The machines' processes.
    pub cluster: Cluster,
    disks: Vec<Disk>,
    groups: Vec<Group>,
    /// After the cluster, which removes what it would sweep.
    keeper: Option<Keeper>,
    /// Before the namespaces that its devices are in.
    switch: Switch,
    _inside: Inside,
    /// The client's is the last.
    namespaces: Vec<Namespace>,
}

impl Bed {
    /// A bed for so many machines, which are not started. What becomes of packets is drawn from the seed. If there can be
    /// none here, says why.
    pub fn new(binary: impl Into<PathBuf>, machines: usize, seed: u64) -> Result<Self, String> {
        lacking(&PROGRAMS)?;
        let addresses: Vec<Ipv4Addr> = (1..=machines).map(address).chain([CLIENT]).collect();
        let namespaces = addresses.iter().map(|_| Namespace::new()).collect::<Result<Vec<_>, _>>()?;
        let plug = |(namespace, address): (&Namespace, &Ipv4Addr)| {
            let device = namespace.within(|| tun::device(*address))?;
            Ok(Plug { address: *address, device })
        };
        let plugs = namespaces.iter().zip(&addresses).map(plug).collect::<Result<Vec<_>, String>>()?;
        let switch = Switch::new(seed, plugs)?;
        let root = folder();
        let parts = parts(&root, &addresses[..machines], &namespaces);
        let (disks, groups, places) = parts.inspect_err(|_| sweep(&root))?;
        let inside = namespaces[machines].enter()?;
        let cluster = Cluster::among(binary, root, places);
        Ok(Self { cluster, disks, groups, keeper: None, switch, _inside: inside, namespaces })
    }

    /// Lets the test of this name, which calls [`keep`](crate::keep) and is ignored otherwise, sweep the bed if this process
    /// is killed. Without it the next bed or cluster does, on this machine.
    pub fn kept_by(&mut self, test: &str) {
        self.keeper = Some(Keeper::start(self.cluster.root(), test));
    }

    /// The keeper's process.
    pub fn keeper(&self) -> Option<u32> {
        self.keeper.as_ref().map(Keeper::pid)
    }

    /// Starts all machines, each in a zone of its own so that five of them vote, and waits until each is ready.
    pub fn start(&mut self) {
        let zones: Vec<String> = (1..=self.disks.len()).map(|index| format!("z{index}")).collect();
        let flags: Vec<[&str; 2]> = zones.iter().map(|zone| ["--zone", zone.as_str()]).collect();
        self.cluster.start_each(&flags.iter().map(|flags| &flags[..]).collect::<Vec<_>>());
        self.cluster.wait_ready();
    }

    /// Changes the way from each of these machines to each of those, in this direction alone.
    pub fn change(&self, from: &[usize], to: &[usize], change: impl Fn(&mut Way)) {
        let pairs = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
        pairs.filter(|(from, to)| from != to).for_each(|(from, to)| self.switch.change(from, to, &change));
    }

    /// Changes all ways between machines.
    pub fn change_all(&self, change: impl Fn(&mut Way)) {
        let all: Vec<usize> = (0..self.disks.len()).collect();
        self.change(&all, &all, change);
    }

    /// These machines and all others neither hear each other nor are heard.
    pub fn split(&self, side: &[usize]) {
        let others = self.others(side);
        self.change(side, &others, |way| way.cut = true);
        self.change(&others, side, |way| way.cut = true);
    }

    /// These machines do not hear the others, but are heard.
    pub fn deafen(&self, side: &[usize]) {
        self.change(&self.others(side), side, |way| way.cut = true);
    }

    /// These machines hear the others, but are not heard.
    pub fn silence(&self, side: &[usize]) {
        self.change(side, &self.others(side), |way| way.cut = true);
    }

    /// All ways are as they were at first.
    pub fn heal(&self) {
        self.change_all(|way| *way = Way::default());
    }

    /// The machines that are not these.
    pub fn others(&self, side: &[usize]) -> Vec<usize> {
        (0..self.disks.len()).filter(|index| !side.contains(index)).collect()
    }

    /// What has become of all packets so far, those of clients included.
    pub fn tally(&self) -> Tally {
        self.switch.tally()
    }

    /// The disk of a machine.
    pub fn disk(&self, machine: usize) -> &Disk {
        &self.disks[machine]
    }

    /// Cuts the power of machines: whatever they had not synced is lost, and all that ran there is dead.
    pub fn cut_power(&mut self, machines: &[usize]) {
        for machine in machines {
            self.disks[*machine].cut_power().unwrap_or_else(|why| panic!("the power stays on: {why}"));
        }
        machines.iter().for_each(|machine| self.groups[*machine].kill());
        machines.iter().for_each(|machine| self.cluster.machines[*machine].kill());
    }

    /// Starts machines again whose power was cut.
    pub fn power_on(&mut self, machines: &[usize]) {
        for machine in machines {
            self.disks[*machine].power_on().unwrap_or_else(|why| panic!("the disk stays off: {why}"));
            self.cluster.machines[*machine].up_again();
        }
    }

    /// Lets a machine with its tasks stand still, as one does that is moved to other hardware, or go on.
    pub fn freeze(&self, machine: usize, frozen: bool) {
        self.groups[machine].freeze(frozen);
        for group in self.cluster.machines[machine].node_id().iter().flat_map(|node| groups_of(node)) {
            let _ = fs::write(group.join("cgroup.freeze"), if frozen { "1" } else { "0" }); // v1 has no such file
        }
    }

    /// The numbers of its network namespaces, as the kernel shows them.
    pub fn networks(&self) -> Vec<String> {
        self.namespaces.iter().map(|namespace| namespace.number().expect("it is held open")).collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.groups.iter().for_each(Group::kill); // also those that stand still
        self.cluster.machines.iter_mut().for_each(Machine::kill);
        self.disks.clear(); // before the cluster removes the folders that they are mounted on
    }
}

/// Of the machine with this index from 1.
fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, u8::try_from(index).expect("few machines"))
}

/// Disk, group and place of each machine.
type Parts = (Vec<Disk>, Vec<Group>, Vec<Place>);

fn parts(root: &Path, addresses: &[Ipv4Addr], namespaces: &[Namespace]) -> Result<Parts, String> {
    let (mut disks, mut groups, mut places) = (vec![], vec![], vec![]);
    for (index, (address, namespace)) in addresses.iter().zip(namespaces).enumerate() {
        let name = format!("n{}", index + 1);
        let group = Group::new(root, &name)?;
        let disk = Disk::mount(&root.join(&name), DISK_MIB)?;
        places.push(Place { address: (*address).into(), under: under(&disk.folder, namespace, &group) });
        disks.push(disk);
        groups.push(group);
    }
    Ok((disks, groups, places))
}

/// What a node is started under: it dies with the thread that has started it, is in the group, and sees this network and
/// this disk alone.
fn under(disk: &Path, namespace: &Namespace, group: &Group) -> Vec<String> {
    let dies = ["setpriv", "--pdeathsig", "KILL"].map(str::to_owned);
    let network = ["nsenter".to_owned(), format!("--net={}", namespace.path())];
    let apart = ["unshare", "--mount", "sh", "-c", APART, &disk.to_string_lossy()].map(str::to_owned);
    dies.into_iter().chain(network).chain(apart).chain(group.under()).collect()
}
