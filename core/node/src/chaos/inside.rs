//! What a node that has opted in does to itself: its socket, its clock, its files, its DNS. With the process it is over.

use crate::folder::Folder;
use arc_swap::ArcSwapOption;
use std::{
    collections::BTreeSet,
    fmt::Debug,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use taffeta_chaos_plan::{DnsInstead, Fault, PartitionShape};
use taffeta_dns_server::{Failing, Responder};
use taffeta_model::UnixMillis;
use taffeta_net::{Clock, LinkFault, LinkFaults, LinkRule};
use taffeta_store::{Files, OpenFile};
use tokio::time::Instant;

/// The switches of one node.
#[derive(Debug)]
pub(crate) struct Switches {
    pub(crate) links: Arc<LinkFaults>,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) disk: Arc<Fullness>,
    /// Set once the doors are open.
    pub(crate) dns: OnceLock<Dns>,
}

/// The DNS server's switch.
pub(crate) struct Dns(pub(crate) Arc<Responder>);

impl Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dns")
    }
}

/// The switch of a fault, and how it is to be set.
enum Switch {
    Link(LinkFault),
    Clock { by_ms: i64, ppm: i64 },
    Disk,
    Dns { fraction: f64, servfail: bool },
}

/// Why a fault has no switch.
const NONE_INSIDE: &str = "this is not done inside of the node";

impl Switch {
    fn of(fault: &Fault) -> Result<Self, &'static str> {
        Ok(match fault {
            Fault::Partition { shape } => {
                let (incoming, outgoing) = ways(*shape).ok_or("this shape needs several machines")?;
                Self::Link(LinkFault::Cut { incoming, outgoing })
            }
            Fault::Loss { fraction } => Self::Link(LinkFault::Loss { fraction: *fraction }),
            Fault::Delay { by, jitter } => Self::Link(LinkFault::Delay { by: *by, jitter: *jitter }),
            Fault::Duplicate { fraction } => Self::Link(LinkFault::Duplicate { fraction: *fraction }),
            Fault::Reorder { fraction } => Self::Link(LinkFault::Reorder { fraction: *fraction }),
            Fault::Bandwidth { kbit_per_s } => {
                Self::Link(LinkFault::Rate { bytes_per_s: u64::from(*kbit_per_s) * 1_000 / 8 })
            }
            Fault::ClockOffset { by_ms } => Self::Clock { by_ms: *by_ms, ppm: 0 },
            Fault::ClockDrift { ppm } => Self::Clock { by_ms: 0, ppm: *ppm },
            Fault::DiskFull => Self::Disk,
            Fault::Dns { fraction, instead } => {
                Self::Dns { fraction: *fraction, servfail: *instead == DnsInstead::Servfail }
            }
            Fault::KillAgent
            | Fault::KillMachine
            | Fault::PowerCut
            | Fault::Stop
            | Fault::Wipe
            | Fault::Pause
            | Fault::Slow { .. }
            | Fault::TaskCrash
            | Fault::TaskHang
            | Fault::TaskIgnoreTerm
            | Fault::TaskFailHealth
            | Fault::Lie
            | Fault::Move
            | Fault::Rolling
            | Fault::Copy { .. }
            | Fault::QuorumLost
            | Fault::Lag
            | Fault::Upgrade
            | Fault::Remove
            | Fault::Rotate
            | Fault::Cpu { .. }
            | Fault::Memory { .. }
            | Fault::Drain
            | Fault::Leader => return Err(NONE_INSIDE),
        })
    }
}

impl Switches {
    /// Brings a fault about until that moment; at the latest then it is over by itself. Why not, if it cannot be.
    pub(crate) fn turn_on(&self, id: &str, fault: &Fault, ends: &[SocketAddr], until: Instant) -> Result<(), String> {
        match Switch::of(fault)? {
            Switch::Link(fault) => {
                let peers = (!ends.is_empty()).then(|| ends.iter().copied().collect::<BTreeSet<_>>());
                let set = self.links.set(id, LinkRule { peers, fault, until });
                return if set { Ok(()) } else { Err("as many faults of the network are on as there may be".into()) };
            }
            Switch::Clock { by_ms, ppm } => {
                self.clock.shift(Some(Shift { by_ms, ppm, since: Instant::now(), until }));
            }
            Switch::Disk => self.disk.fill(Some(until)),
            Switch::Dns { fraction, servfail } => {
                let dns = self.dns.get().ok_or("this node serves no DNS")?;
                dns.0.fail(Some(Failing { fraction, servfail, until }));
            }
        }
        Ok(())
    }

    /// Undoes it.
    pub(crate) fn turn_off(&self, id: &str, fault: &Fault) {
        match Switch::of(fault) {
            Ok(Switch::Link(_)) => self.links.remove(id),
            Ok(Switch::Clock { .. }) => self.clock.shift(None),
            Ok(Switch::Disk) => self.disk.fill(None),
            Ok(Switch::Dns { .. }) => {
                if let Some(dns) = self.dns.get() {
                    dns.0.fail(None);
                }
            }
            Err(_) => {} // it was never on
        }
    }
}

/// Which packets of the struck node are lost; `None` for shapes that are about more than one node.
pub(crate) fn ways(shape: PartitionShape) -> Option<(bool, bool)> {
    match shape {
        PartitionShape::Split => Some((true, true)),
        PartitionShape::OneWayIn => Some((true, false)),
        PartitionShape::OneWayOut => Some((false, true)),
        PartitionShape::Bridge | PartitionShape::Swizzle => None,
    }
}

/// A clock that can be wrong.
#[derive(Debug)]
pub(crate) struct ShiftedClock {
    inner: Arc<dyn Clock>,
    shift: ArcSwapOption<Shift>,
}

/// By how much it is wrong, and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shift {
    by_ms: i64,
    ppm: i64,
    since: Instant,
    until: Instant,
}

impl ShiftedClock {
    pub(crate) fn new(inner: Arc<dyn Clock>) -> Self {
        Self { inner, shift: ArcSwapOption::empty() }
    }

    fn shift(&self, shift: Option<Shift>) {
        self.shift.store(shift.map(Arc::new));
    }
}

impl Clock for ShiftedClock {
    fn date(&self) -> UnixMillis {
        let date = self.inner.date();
        let shift = self.shift.load();
        let Some(shift) = shift.as_deref().filter(|shift| Instant::now() < shift.until) else { return date };
        let passed = i64::try_from(shift.since.elapsed().as_micros()).unwrap_or(i64::MAX);
        let drift = passed.saturating_mul(shift.ppm) / 1_000_000 / 1_000;
        UnixMillis(date.0.saturating_add_signed(shift.by_ms.saturating_add(drift)))
    }
}

/// Whether the node's disk takes no byte more.
#[derive(Debug, Default)]
pub(crate) struct Fullness {
    on: AtomicBool,
    until: Mutex<Option<Instant>>,
}

impl Fullness {
    fn fill(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        self.on.store(until.is_some(), Ordering::Release);
    }

    fn is_full(&self) -> bool {
        self.on.load(Ordering::Acquire)
            && self.until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    fn check(&self) -> io::Result<()> {
        if self.is_full() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// The log's files on such a disk.
#[derive(Debug)]
pub(crate) struct FullFiles(pub(crate) Arc<dyn Files>, pub(crate) Arc<Fullness>);

#[derive(Debug)]
struct FullFile(Box<dyn OpenFile>, Arc<Fullness>);

impl Files for FullFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.read(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn OpenFile>> {
        self.1.check()?;
        Ok(Box::new(FullFile(self.0.create(name)?, Arc::clone(&self.1))))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(FullFile(self.0.open(name)?, Arc::clone(&self.1))))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.0.sync_folder()
    }

    fn room(&self) -> io::Result<u64> {
        if self.1.is_full() { Ok(0) } else { self.0.room() }
    }
}

impl OpenFile for FullFile {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.1.check()?;
        self.0.write_at(at, bytes)
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

/// Small files on such a disk.
#[derive(Debug)]
pub(crate) struct FullFolder(pub(crate) Arc<dyn Folder>, pub(crate) Arc<Fullness>);

impl Folder for FullFolder {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.0.read(name)
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.1.check()?;
        self.0.write(name, contents)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn volumes(&self) -> Option<PathBuf> {
        self.0.volumes()
    }

    fn fetched(&self) -> Option<PathBuf> {
        self.0.fetched()
    }

    fn place(&self) -> io::Result<Option<String>> {
        self.0.place()
    }
}

/// How long a fault still stays.
pub(crate) fn left(until: u64, now: u64) -> Duration {
    Duration::from_millis(until.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct At(u64);

    impl Clock for At {
        fn date(&self) -> UnixMillis {
            UnixMillis(self.0)
        }
    }

    fn switches() -> Switches {
        Switches {
            links: Arc::new(LinkFaults::new(1)),
            clock: Arc::new(ShiftedClock::new(Arc::new(At(1_000_000)))),
            disk: Arc::default(),
            dns: OnceLock::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_is_wrong_until_the_fault_ends() {
        let switches = switches();
        let until = Instant::now() + Duration::from_secs(10);
        switches.turn_on("a", &Fault::ClockOffset { by_ms: -5_000 }, &[], until).unwrap();
        assert_eq!(switches.clock.date(), UnixMillis(995_000));
        switches.turn_on("a", &Fault::ClockDrift { ppm: 100_000 }, &[], until).unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(switches.clock.date(), UnixMillis(1_000_500));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(switches.clock.date(), UnixMillis(1_000_000), "over, though nobody has turned it off");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_disk_takes_nothing_and_gives_everything() {
        let switches = switches();
        let folder = tempfile::tempdir().unwrap();
        let files = taffeta_store::FolderFiles::open(folder.path()).unwrap();
        let files = FullFiles(Arc::new(files), Arc::clone(&switches.disk));
        let mut file = files.create("a").unwrap();
        file.write_at(0, b"before").unwrap();
        switches.turn_on("a", &Fault::DiskFull, &[], Instant::now() + Duration::from_secs(10)).unwrap();
        assert_eq!(file.write_at(0, b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(files.create("b").is_err());
        assert_eq!((files.room().unwrap(), files.read("a").unwrap()), (0, b"before".to_vec()));
        switches.turn_off("a", &Fault::DiskFull);
        file.write_at(0, b"after!").unwrap();
        switches.turn_on("a", &Fault::DiskFull, &[], Instant::now() + Duration::from_secs(10)).unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
        file.write_at(0, b"beyond").unwrap();
    }
}
