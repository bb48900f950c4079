//! Deliberate bugs, by which the simulator's checks are proven: each must be caught.
//!
//! Without the feature `planted-bugs`, which only that proof turns on, [`planted`] is constantly `false` and the
//! compiler removes what is behind it.

/// A bug that may be planted. Each variant names what the code then does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// An agent obeys an assigned set with an older fence than it has obeyed.
    ObeyOldFence,
    /// The log tells that entries are on disk before they are.
    AcknowledgeBeforeSync,
    /// A vote counts and is not stored.
    ForgetVote,
    /// A node puts the records of another into its own set.
    PublishForeignRecord,
    /// A set is taken without a look at its signature, and relays change what they pass on.
    ForgeRecord,
    /// The records of a dead machine stay in DNS.
    KeepDeadRecords,
    /// An instance whose health check fails is given out as before.
    ServeUnhealthy,
    /// A node's DNS snapshot leaves out what runs on another machine that is alive.
    HideHealthy,
    /// A leader that has just begun takes a task without a report for lost and places it again.
    PlaceTwice,
    /// An agent goes on with what it was told to stop.
    KeepUnassigned,
    /// A run that was found alive is started a second time.
    StartTwice,
    /// The scheduler does not count what a machine has already.
    OverCommit,
    /// Two tasks of a machine get the same port.
    SamePortTwice,
    /// An assigned set is obeyed and not stored.
    ForgetObeyed,
    /// A snapshot leaves out a part of the state.
    SnapshotInPart,
    /// A write is refused in words and done all the same.
    RefuseAndWrite,
    /// A leader that is not the cluster's first places nothing.
    NeverLeadAgain,
    /// A member that is started again and does not vote finds no voter.
    FindNoVoter,
    /// A DNS answer tells of a service that has moved as if it had not.
    PreferOldPlace,
    /// A leader moves the tasks of a machine that the ring calls down, at once and without a probe of its own.
    BelieveHearsay,
    /// A member that was declared down does not come back.
    NeverRenew,
    /// A suspicion never ends in a verdict.
    SuspectForEver,
    /// A task that is to stop is told so at once, while DNS still gives it.
    EndWhileGiven,
    /// A write is acknowledged first and made later.
    LoseOrder,
    /// A write that no majority has stored is acknowledged.
    AcknowledgeAlone,
    /// A node that has heard of no leader for long ends its tasks.
    StopWithoutQuorum,
    /// A voter is replaced at the first suspicion.
    ReplaceWithoutEvidence,
    /// A voter that is dead is struck off, and nobody comes in its place.
    ShrinkOnDeath,
    /// Two voters are replaced by one change.
    TwoChangesAtOnce,
    /// A log that is opened has lost its newest entries.
    ForgetLog,
    /// Whoever was left behind by a recovery is listened to.
    ForgetGeneration,
    /// A copied data folder is let in.
    StartCopy,
    /// A node ends when its disk is full.
    EndOnFullDisk,
    /// What a full disk did not take is told to be on it.
    AcknowledgeOnFullDisk,
    /// A clean stop hands over neither leadership nor vote.
    KeepVoteOnStop,
    /// A dead voter stays one.
    KeepDeadVoter,
    /// A joint change that an earlier leader has left over is not finished.
    LeaveJoint,
    /// Voters are chosen without a look at their zones.
    IgnoreZones,
    /// A member that was removed may still speak.
    KeepRemoved,
    /// A node speaks its newest version to everybody.
    SpeakNewest,
    /// A command is written that not all members can read.
    WriteAboveLevel,
    /// A leader takes what it speaks itself for what all members do.
    RaiseLevelEarly,
    /// A new certificate authority takes effect before everybody knows it.
    RotateAtOnce,
    /// A new leader does not wait for leases that one before it may have granted.
    ForgetLeases,
    /// A lease is granted without a quorum.
    GrantAlone,
    /// An exclusive task runs on when its lease has ended.
    IgnoreLeaseEnd,
    /// A leader that has just begun starts the last slot of a cron job once more.
    FireTwice,
    /// An update replaces all instances at once.
    IgnoreUnavailable,
    /// Nobody looks at what a team may use.
    ExceedQuota,
    /// A machine whose disk was wiped comes back under its old id.
    KeepWipedId,
    /// An agent that was away takes no notice of how runs have ended meanwhile.
    ForgetExits,
    /// What a killed shim has left is not killed.
    KeepOrphans,
    /// A lease counts as ended as soon as it has by the leader's own clock.
    IgnoreDrift,
}

impl Bug {
    /// All that stand in the code, and are caught.
    pub const ALL: [Self; 53] = [
        Self::ObeyOldFence,
        Self::AcknowledgeBeforeSync,
        Self::ForgetVote,
        Self::PublishForeignRecord,
        Self::ForgeRecord,
        Self::KeepDeadRecords,
        Self::ServeUnhealthy,
        Self::HideHealthy,
        Self::PlaceTwice,
        Self::KeepUnassigned,
        Self::StartTwice,
        Self::OverCommit,
        Self::SamePortTwice,
        Self::ForgetObeyed,
        Self::SnapshotInPart,
        Self::RefuseAndWrite,
        Self::NeverLeadAgain,
        Self::FindNoVoter,
        Self::PreferOldPlace,
        Self::BelieveHearsay,
        Self::NeverRenew,
        Self::SuspectForEver,
        Self::EndWhileGiven,
        Self::LoseOrder,
        Self::AcknowledgeAlone,
        Self::StopWithoutQuorum,
        Self::ReplaceWithoutEvidence,
        Self::ShrinkOnDeath,
        Self::TwoChangesAtOnce,
        Self::ForgetLog,
        Self::EndOnFullDisk,
        Self::AcknowledgeOnFullDisk,
        Self::StartCopy,
        Self::SpeakNewest,
        Self::WriteAboveLevel,
        Self::RaiseLevelEarly,
        Self::ForgetGeneration,
        Self::KeepDeadVoter,
        Self::LeaveJoint,
        Self::IgnoreZones,
        Self::KeepVoteOnStop,
        Self::KeepRemoved,
        Self::RotateAtOnce,
        Self::ForgetLeases,
        Self::GrantAlone,
        Self::IgnoreLeaseEnd,
        Self::FireTwice,
        Self::IgnoreUnavailable,
        Self::ExceedQuota,
        Self::KeepWipedId,
        Self::ForgetExits,
        Self::KeepOrphans,
        Self::IgnoreDrift,
    ];
}

#[cfg(feature = "planted-bugs")]
mod plant {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug in this thread's nodes, or takes it out.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether this bug is planted.
    pub fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "planted-bugs")]
pub use plant::{plant, planted};

/// Whether this bug is planted: never, in this build.
#[cfg(not(feature = "planted-bugs"))]
pub const fn planted(_: Bug) -> bool {
    false
}
