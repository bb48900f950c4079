//! A machine: its disk, its tasks, its calendar, and the node's process on it while there is one.

use crate::{
    disk::Disk,
    process::{Process, Surroundings},
    random::stream,
    tasks::Tasks,
    time::{Calendar, Run},
    trace::Event,
    wire::Wire,
};
use rand::{RngExt, rngs::SmallRng};
use std::{net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};
use taffeta_model::{Cpus, NodeId, NodeName, Resources, Versions};
use taffeta_net::{CryptoProvider, JoinToken};
use taffeta_node::{FabricConfig, Inspect, LEFT_BEHIND, Serve};

/// Whoever watches over the process starts it again so long after it has ended by itself.
const START_AGAIN: Duration = Duration::from_secs(1);

/// What every machine offers.
pub(crate) const CAPACITY: Resources = Resources { cpus: Cpus(4_000), memory: 4 << 30, disk: 100 << 30, ports: 12_000 };

/// How fast clocks of leases go. With the 5 % by which faults let clocks of nodes drift, two differ by less than a tenth.
const BOOT_RATES: RangeInclusive<f64> = 0.97..=1.03;

/// What a machine of the older version speaks.
const OLDER: Versions = Versions { min: 1, max: 1 };

/// What is wrong with a machine at this moment, as its active faults have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Condition {
    pub(crate) paused: bool,
    /// Gets every so manieth step; 1 is sound.
    pub(crate) slow: u32,
    pub(crate) full: bool,
    pub(crate) offset_ms: i64,
    pub(crate) drift_ppm: i64,
}

impl Default for Condition {
    fn default() -> Self {
        Self { paused: false, slow: 1, full: false, offset_ms: 0, drift_ppm: 0 }
    }
}

/// Why there is no process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It is started when its time comes.
    Until(Duration),
    /// Somebody has to say so first.
    Told,
    /// For good.
    Ever,
}

/// One machine. A wiped one is replaced by another, under another name.
pub(crate) struct Machine {
    /// Position among the machines of the run.
    pub(crate) number: usize,
    pub(crate) name: NodeName,
    pub(crate) address: SocketAddr,
    pub(crate) zone: String,
    pub(crate) id: Option<NodeId>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) tasks: Arc<Tasks>,
    calendar: Arc<Calendar>,
    process: Option<Process>,
    rest: Rest,
    /// Whether the machine has power: without, it has no tasks either.
    powered: bool,
    condition: Condition,
    lives: u32,
    /// Whether the present process has come up.
    up: bool,
    /// When its process came up last, or was started if it has not, and when something was wrong with it last.
    pub(crate) started: Duration,
    pub(crate) disturbed: Duration,
    /// When something was wrong with it last that may take its tasks away, or keep others from knowing of them.
    pub(crate) harmed: Duration,
    /// Whether its process alone was killed, for a moment: the tasks run on, and nobody gives them up.
    spared: bool,
    /// When its process ended last.
    pub(crate) died: Duration,
    /// Where it was before it moved.
    pub(crate) former: Vec<SocketAddr>,
    /// Whether its last process had come up before it ended.
    pub(crate) was_up: bool,
    /// When it was cut off for long until last.
    pub(crate) lagged: Duration,
    /// When a clean stop of it began last.
    pub(crate) stopped: Duration,
    /// Whether it runs from a copy of another machine's disk, under its name.
    pub(crate) is_copy: bool,
    /// Whether it is told, wrongly, that its disk was only moved here.
    said_moved: bool,
    /// Whether its disk was replaced by an older copy of itself.
    pub(crate) outdated: bool,
    /// Whether it was removed and switched on again; when its node ends then, it is left alone.
    pub(crate) removed: bool,
    /// Whether it joined a side that a recovery has ended: it has to join again as another one.
    pub(crate) left_behind: bool,
    /// Whether its node is of the newer version.
    pub(crate) newer: bool,
    /// When somebody told the ring last that it is down, which was not so: it may be hidden for a moment, no more.
    pub(crate) slandered: Duration,
}

/// What all machines of a run share.
pub(crate) struct Site {
    pub(crate) run: Arc<Run>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) crypto: Arc<CryptoProvider>,
    pub(crate) seed: u64,
    pub(crate) snapshot_every: u64,
    /// Whether machines are of the older version until they are upgraded; none is installed any more once that has begun.
    pub(crate) older_at_first: bool,
    /// With what and where a machine joins that is no member yet; the first one creates the cluster.
    pub(crate) join: Option<(JoinToken, Vec<String>)>,
}

/// A machine's address: 10.0.0.1 for the first.
pub(crate) fn address(number: usize) -> SocketAddr {
    let [.., high, low] = (number + 1).to_be_bytes();
    SocketAddr::from(([10, 0, high, low], taffeta_node::FABRIC_PORT))
}

impl Machine {
    pub(crate) fn new(site: &Site, number: usize, name: &str, zone: &str) -> Self {
        let address = address(number);
        let place = number as u64 + 1;
        let tasks_rng = stream(site.seed, &format!("tasks of {name}"));
        let boot_rate = stream(site.seed, &format!("boot clock of {name}")).random_range(BOOT_RATES);
        Self {
            number,
            name: NodeName::new(name).expect("a plain name"),
            address,
            zone: zone.into(),
            id: None,
            disk: Disk::new(Arc::clone(&site.run), place),
            tasks: Tasks::new(Arc::clone(&site.run), place, tasks_rng, boot_rate),
            calendar: Arc::default(),
            process: None,
            rest: Rest::Told,
            powered: true,
            condition: Condition::default(),
            lives: 0,
            up: false,
            started: Duration::ZERO,
            disturbed: Duration::ZERO,
            harmed: Duration::ZERO,
            spared: false,
            slandered: Duration::ZERO,
            died: Duration::ZERO,
            was_up: false,
            lagged: Duration::ZERO,
            stopped: Duration::ZERO,
            is_copy: false,
            said_moved: false,
            outdated: false,
            removed: false,
            left_behind: false,
            newer: !site.older_at_first,
            former: vec![],
        }
    }

    /// A machine with what is on the disk of another one now, at an address of its own.
    pub(crate) fn copied(site: &Site, number: usize, original: &Self, said_moved: bool) -> Self {
        let disk = original.disk.copy(number as u64 + 1);
        let new = Self::new(site, number, original.name.as_str(), &original.zone);
        Self { disk, is_copy: true, said_moved, newer: original.newer, ..new }
    }

    fn config(&self, site: &Site) -> FabricConfig {
        let mut config = FabricConfig::new("/nowhere");
        config.name = Some(self.name.clone());
        config.address = Some(self.address);
        config.advertise = Some(self.address);
        config.zone = Some(self.zone.clone());
        config.capacity = Some(CAPACITY);
        config.serve = Serve { http: false, dns: false };
        config.moved = self.said_moved;
        if !self.newer {
            config.speaks = OLDER;
        }
        if let Some((token, addresses)) = &site.join {
            config.join = addresses.clone();
            if !self.disk.has_file("membership") {
                config.token = Some(token.clone());
            }
        }
        config
    }

    /// Starts the node's process, and the machine if it is off.
    pub(crate) fn start(&mut self, site: &Site) {
        if self.process.is_some() {
            return;
        }
        self.powered = true;
        self.lives += 1;
        let now = site.run.now();
        let around = Surroundings {
            run: &site.run,
            wire: &site.wire,
            disk: &self.disk,
            tasks: &self.tasks,
            calendar: &self.calendar,
            crypto: &site.crypto,
            address: self.address,
            seed: site.seed,
            name: format!("{}{}.{}", self.name, if self.is_copy { "~" } else { "" }, self.lives),
            snapshot_every: site.snapshot_every,
        };
        site.run.note(now, Event::Life, self.number as u64, u64::from(self.lives), 1);
        self.process = Some(Process::start(self.config(site), &around));
        self.started = now;
    }

    /// kill -9 of the process; it is started again when its rest is over.
    pub(crate) fn kill(&mut self, site: &Site, rest: Rest) {
        self.rest = rest;
        self.spared = false;
        if let Some(process) = self.process.take() {
            self.disk.close();
            (self.was_up, self.up) = (self.up, false);
            process.kill();
            self.died = site.run.now();
            site.run.note(site.run.now(), Event::Life, self.number as u64, u64::from(self.lives), 0);
        }
    }

    /// kill -9 of the process, which is back before anybody gives its tasks up.
    pub(crate) fn kill_alone(&mut self, site: &Site, rest: Rest) {
        self.kill(site, rest);
        self.spared = true;
    }

    /// The whole machine goes, with its tasks; with `power_cut`, so does what was not synced. Gives the bytes lost.
    pub(crate) fn switch_off(&mut self, site: &Site, rest: Rest, power_cut: Option<&mut SmallRng>) -> u64 {
        self.kill(site, rest);
        self.tasks.power_off(site.run.now());
        self.powered = false;
        power_cut.map_or(0, |rng| self.disk.cut_power(rng))
    }

    /// Lets the power go in the middle of the write of this number from now; `false` if nothing is running to write.
    pub(crate) fn light_fuse(&self, writes: u32) -> bool {
        let Some(process) = &self.process else { return false };
        self.disk.light_fuse(writes, Arc::clone(process.socket()));
        true
    }

    /// Begins a clean stop; a process that is not up yet is killed.
    pub(crate) fn stop(&mut self, site: &Site, rest: Rest) {
        let stopping = self.process.as_ref().is_some_and(Process::stop);
        if stopping {
            self.stopped = site.run.now();
            self.rest = rest;
        } else {
            self.kill(site, rest);
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        self.condition
    }

    pub(crate) fn set_condition(&mut self, condition: Condition) {
        self.condition = condition;
        self.disk.set_full(condition.full);
        self.calendar.set_offset(condition.offset_ms);
    }

    /// Lives through a step: the process, and its being started again. Tells why the process ended, if it did.
    pub(crate) fn step(&mut self, site: &Site, number: u64, tick: Duration) -> Option<Option<String>> {
        let now = site.run.now();
        if self.powered {
            self.tasks.step(now);
        }
        if self.process.is_none() && matches!(self.rest, Rest::Until(at) if at <= now) {
            self.start(site);
        }
        let process = self.process.as_mut()?;
        let Condition { paused, slow, drift_ppm, .. } = self.condition;
        let turn = !paused && (slow < 2 || number.is_multiple_of(u64::from(slow)));
        process.step(tick, 1.0 + drift_ppm as f64 / 1e6, turn);
        if !self.up && process.look(|_| ()).is_some() {
            // A machine that joins may have waited long for a quorum.
            (self.up, self.started) = (true, now);
        }
        let why = process.ended()?;
        self.left_behind |= why.as_deref() == Some(LEFT_BEHIND);
        // Nobody watches over a copy, nor over what was removed.
        let again = why.is_some() && !self.is_copy && !self.removed;
        let rest = if again { Rest::Until(now + START_AGAIN) } else { self.rest };
        self.kill(site, rest);
        Some(why)
    }

    /// Looks inside of the node, if it is up or takes leave.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Inspect) -> T) -> Option<T> {
        self.process.as_ref()?.look(look)
    }

    pub(crate) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Whether the address is, or was, this machine's.
    pub(crate) fn had(&self, address: std::net::IpAddr) -> bool {
        self.address.ip() == address || self.former.iter().any(|former| former.ip() == address)
    }

    pub(crate) fn has_power(&self) -> bool {
        self.powered
    }

    /// The next start is of the newer version, if it was never started before.
    pub(crate) fn install_newer(&mut self) {
        self.newer |= self.lives == 0;
    }

    /// Whether it will never be back.
    pub(crate) fn is_gone(&self) -> bool {
        self.rest == Rest::Ever
    }

    /// Whether its process is there and gets its turns.
    pub(crate) fn runs(&self) -> bool {
        self.process.is_some() && !self.condition.paused
    }

    /// Whether its tasks run and are known, or soon will be again.
    pub(crate) fn keeps_tasks(&self) -> bool {
        (self.process.is_some() || self.spared) && self.has_sound_condition()
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.process.is_some() && self.has_sound_condition()
    }

    fn has_sound_condition(&self) -> bool {
        self.condition == Condition { offset_ms: self.condition.offset_ms, ..Condition::default() }
    }
}
