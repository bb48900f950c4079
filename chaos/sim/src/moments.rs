//! Proof that the interesting was reached: a sweep in which one of these never happened has tested less than it seems.

use serde::Serialize;
use std::collections::BTreeMap;

macro_rules! moments {
    ($($name:ident = $words:literal,)* ; $($awaited:ident = $awaited_words:literal,)*) => {
        /// Something that a sweep must have met at least once.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Moment {
            $(#[doc = $words] $name,)*
            $(#[doc = $awaited_words] $awaited,)*
        }

        impl Moment {
            /// All that can be met.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// In words, as reports name it.
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                    $(Self::$awaited => $awaited_words,)*
                }
            }
        }
    };
}

moments! {
    LeaderLostWhilePlacing = "a leader was lost while a task waited for its place",
    LeaderChanged = "another node came to lead",
    LeaderHandedOver = "a leader that was stopped cleanly was followed by another",
    SnapshotInstalled = "a node was sent a snapshot",
    VoterRestarted = "a voter came back with the log on its disk",
    MinorityAnsweredDns = "a node that sees less than half of the ring answered DNS",
    TaskReadopted = "an agent took up a task that ran on without it",
    TaskEndedUnseen = "a task ended while its machine had no agent",
    TaskMoved = "a task of a dead machine was placed elsewhere",
    OldCopyStopped = "a machine came back and stopped what had moved away from it",
    TaskReplaced = "a task made way for a newer version of itself",
    TaskCrashed = "a crashed task was started again on its machine",
    TaskUnhealthy = "a task failed its health checks and left DNS",
    TermIgnored = "a task that ignored SIGTERM was killed",
    TaskDrained = "a task that DNS had given left it and was then told to end",
    BatchFinished = "a batch task came to its end",
    BatchFailed = "a batch task failed for good",
    WriteRefused = "a write was refused for want of a quorum",
    UnknownTookEffect = "a write of unknown outcome took effect",
    UnknownWasLost = "a write of unknown outcome took none",
    WriteTorn = "a power cut lost or tore what was not synced",
    DiskFull = "a node whose disk was full went on and said so",
    WipedCameBack = "a wiped machine joined as another one",
    SuspicionRefuted = "a suspected node was found alive",
    DownRefuted = "a node that was declared down came back in the same life",
    MachineLeft = "a node said farewell",
    JoinedUnderFaults = "a machine joined while something was broken",
    TaskWaited = "a task waited because no machine could take it",
    NoLeader = "no node led for more than two seconds",
    AllDown = "no node ran at all",
    LiedAbout = "a node told the ring of another that it is down, which was not so",
    LieWasHeard = "a node that was slandered was down to somebody",
    Moved = "a machine came up at another address",
    JoinedLate = "a machine joined for the first time while something was broken",
    RolledThrough = "all machines were stopped cleanly and started again, one after the other",
    LaggardCaughtUp = "a machine that was cut off for long needed a snapshot to follow again",
    QuorumLost = "no majority of the voters ran for long",
    RefusedWithoutQuorum = "a write was refused while no majority of the voters ran",
    AnsweredWithoutQuorum = "DNS answered while no majority of the voters ran",
    VoterReplaced = "a voter that was dead for long was replaced",
    VoteHandedOver = "a voter that was stopped cleanly had handed its vote over",
    MemberRemoved = "a dead machine was removed",
    RemovedRefused = "a machine that was removed came back and learnt of it",
    AuthorityRotated = "the certificate authority was replaced",
    LivedWithFullDisk = "a node whose disk was full lived on until there was room",
    CopyRefused = "a copied or outdated data folder was refused",
    TwoVersions = "nodes of two versions were in one ring",
    ClusterRecovered = "a cluster was recovered after its quorum was lost for good",
    OldSideFenced = "a machine of an older generation met the newer one",
    LeaseRanOut = "an exclusive task ended as its lease ran out",
    VersionPromoted = "a newer version was promoted and took over",
    VersionReturned = "a version that never got healthy was given up by itself",
    SlotStarted = "a slot of a cron job was started",
    SlotMissed = "a slot of a cron job was missed, with the reason",
    DrainedAway = "a task left a machine that was drained",
    TaskMadeWay = "a task made way for one of a higher priority",
    HeldByQuota = "a task waited because of its team's quota",
    LeaderKilledInUpdate = "a leader was killed as a step of an update was committed",
    LeaderKilledAtSlot = "a leader was killed at the instant a slot of a cron job was due",
    LeaderKilledInDrain = "a leader was killed as a task left a drained machine",
    LeaderKilledInPreemption = "a leader was killed as a task made way for another",
    StartLost = "an agent died after it had asked for a start, before there was anything",
    StartedUnseen = "a process was made after the agent had died that had asked for it",
    StartUntold = "an agent died before it was told of a process that it had asked for",
    ShimKilledInStart = "a shim was killed while it made a task, and the start failed",
    ShimKilled = "a shim was killed, and its task with it",
    OrphanKilled = "what a killed shim had left was killed by the agent",
    OrphanFound = "what a killed shim had left was found by the next agent, and killed",
    LeaderKilledAtPromotion = "a leader was killed as a newer version was promoted",
    LeaderKilledAtSettlement = "a leader was killed as an update came to its end",
    LeaderKilledAtReturn = "a leader was killed as a version was given up",
    VolumeAwaited = "a task waited for the machine that has its data",
    VolumeReset = "a task was let begin without its data",
    ; // Not demanded of a sweep: what is rare and has a test of its own.
    RestartedWithoutQuorum = "a crashed task was started again while no majority of the voters ran",
    ChangeLeftOver = "a leader finished the change of voters that another one had begun",
}

/// How often each moment was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moments(BTreeMap<Moment, u64>);

impl Moments {
    /// It happened.
    pub(crate) fn note(&mut self, moment: Moment) {
        *self.0.entry(moment).or_default() += 1;
    }

    /// How often it happened.
    pub fn count(&self, moment: Moment) -> u64 {
        self.0.get(&moment).copied().unwrap_or(0)
    }

    /// Adds what another run has met.
    pub fn add(&mut self, other: &Self) {
        for (moment, count) in &other.0 {
            *self.0.entry(*moment).or_default() += count;
        }
    }

    /// What was never met.
    pub fn missed(&self) -> Vec<Moment> {
        Moment::ALL.iter().copied().filter(|moment| self.count(*moment) == 0).collect()
    }
}

impl Serialize for Moments {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Moment::ALL.iter().map(|moment| (moment.words(), self.count(*moment))))
    }
}
