//! Machines with a kernel of their own: user-mode Linux, with the host's files as its root, read-only, and its data on an
//! ext4 of its own.
//!
//! Killing all processes of such a kernel in one moment is what a power failure is: whatever was still in its page cache is
//! gone, and the next boot replays the journal. The machines are linked by a bridge in a network namespace, in which the
//! thread that makes a fleet is, too. Left out: faults of the network, which are for [`Bed`](crate::Bed).

mod guest;

use crate::{
    bed::{Inside, Namespace},
    client::{Client, NoReply},
    command::{lacking, run},
    keeper::Keeper,
    list::listed,
    machine::Ports,
    place::folder,
    recorder::Recorder,
    sweep::sweep,
    verb::verb,
    wait::within,
};
use guest::Guest;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The programs that it takes, and the packages that have them.
const PROGRAMS: [(&str, &str); 7] = [
    ("linux.uml", "user-mode-linux"),
    ("cc", "gcc"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
];
/// What the machines' kernel needs on new processors.
const XSTATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/fleet/uml_xstate.c");
/// How long a boot and a join may take on a busy machine: a system call costs some 50 us there.
const BOOT_MAX: Duration = Duration::from_secs(60);
/// How long a look at a machine may take.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// The test's own address.
const CLIENT: &str = "10.78.0.100";

/// A fleet of machines, indexed from 0: `n1`, `n2`, ... It is of the thread that made it, as a [`Bed`](crate::Bed) is.
pub struct Fleet {
    binary: PathBuf,
    root: PathBuf,
    guests: Vec<Guest>,
    token: Option<String>,
    keeper: Option<Keeper>,
    _inside: Inside,
    /// Holds it open.
    _network: Namespace,
}

impl Fleet {
    /// So many machines, which are not booted. If there can be none here, says why.
    pub fn new(binary: impl Into<PathBuf>, machines: usize) -> Result<Self, String> {
        lacking(&PROGRAMS)?;
        let network = Namespace::new()?;
        network.within(|| bridge(machines))?;
        let root = folder();
        let guests = guests(&root, machines, &network).inspect_err(|_| sweep(&root))?;
        let inside = network.enter()?;
        Ok(Self { binary: binary.into(), root, guests, token: None, keeper: None, _inside: inside, _network: network })
    }

    /// As [`Bed::kept_by`](crate::Bed::kept_by).
    pub fn kept_by(&mut self, test: &str) {
        self.keeper = Some(Keeper::start(&self.root, test));
    }

    /// Boots all machines, of which the first creates the cluster and the others join it, each in a zone of its own so that
    /// five of them vote, and waits until they do.
    pub fn start(&mut self) {
        self.guests[0].boot(&self.binary, &["--zone", "z1"]);
        let (token, _) =
            within(BOOT_MAX, "the first machine tells the administrator's token", || self.guests[0].token());
        let (first, api) = (self.guests[0].at(Ports::DEFAULT.fabric).to_string(), self.guests[0].http());
        let (invitation, _) = within(BOOT_MAX, "a token from the first machine", || {
            let output = verb(&self.binary, api, Some(&token), &["token", "create"]);
            if output.code == 0 { Ok(output.stdout.trim().to_owned()) } else { Err(output.stderr) }
        });
        for (index, guest) in (1..).zip(&mut self.guests).skip(1) {
            guest.boot(&self.binary, &["--zone", &format!("z{index}"), "--join", &first, "--token", &invitation]);
        }
        within(BOOT_MAX, "all machines vote", || {
            let list = listed(api, Some(&token))?;
            let votes = list.iter().filter(|m| m.votes()).count();
            if votes == self.guests.len() { Ok(()) } else { Err(format!("{votes} vote of {list:?}")) }
        });
        self.token = Some(token);
    }

    /// Clients of these machines, of which nothing is recorded yet.
    pub fn recorder(&self) -> Recorder {
        let servers = self.guests.iter().map(|guest| (guest.name.clone(), guest.http()));
        Recorder::of(servers.collect(), self.token.clone())
    }

    /// Cuts the power of all machines, of one right after the other.
    pub fn cut_power(&mut self) {
        self.guests.iter().for_each(Guest::cut);
        self.guests.iter_mut().for_each(Guest::reap);
    }

    /// Boots all machines again, whose power was cut, and waits until each answers.
    pub fn power_on(&mut self) {
        self.guests.iter_mut().for_each(|guest| guest.boot(&self.binary, &[]));
        for guest in &mut self.guests {
            within(BOOT_MAX, &format!("{} is back", guest.name), || {
                if !guest.is_running() {
                    panic!("{} has ended, see {}", guest.name, guest.console().display());
                }
                match Client::new(guest.http(), LOOK_MAX).request("GET", "/health", None) {
                    Ok((200, _)) => Ok(()),
                    Ok((status, body)) => Err(format!("HTTP {status} {body}")),
                    Err(NoReply::NotSent(why) | NoReply::Sent(why)) => Err(why),
                }
            });
        }
    }

    /// Of each machine, what is left of the two files that it writes after each boot: a line `synced.N:N` and a line
    /// `loose.N:N` for the `N`th boot, from 1, as far as the file has its content. The first is synced, the other is not.
    pub fn kept(&self) -> Vec<String> {
        self.guests.iter().map(Guest::kept).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.guests.iter().for_each(Guest::show);
        }
        self.guests.iter().for_each(Guest::cut);
        self.guests.iter_mut().for_each(Guest::reap);
        sweep(&self.root);
    }
}

/// Links the devices `tap1` and following to each other and to the test, in the namespace of this thread.
fn bridge(machines: usize) -> Result<(), String> {
    let ip = |words: &str| run(Command::new("ip").args(words.split(' ')));
    ip("link add br0 type bridge")?;
    ip(&format!("address add {CLIENT}/24 dev br0"))?;
    ip("link set br0 up")?;
    (1..=machines).try_for_each(|index| {
        ip(&format!("tuntap add dev tap{index} mode tap"))?;
        ip(&format!("link set tap{index} master br0 up"))
    })
}

fn guests(root: &Path, machines: usize, network: &Namespace) -> Result<Vec<Guest>, String> {
    let preloaded = root.join("uml_xstate.so");
    run(Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&preloaded).args([XSTATE, "-ldl"]))?;
    (1..=machines).map(|index| Guest::new(root, index, network)).collect()
}
