//! What the product under test is able to do. What is `false` here is not demanded of it, and faults that only make sense
//! with it are not performed.

use taffeta_chaos_plan::Fault;

/// Voters that are dead for long are replaced, zones are kept apart, and two stand-bys follow the log.
pub(crate) const REPLACES_VOTERS: bool = false;

/// A node whose disk is full lives on and refuses writes, and goes on by itself when there is room.
pub(crate) const LIVES_WITH_FULL_DISK: bool = false;

/// A copied or outdated data folder is refused.
pub(crate) const REFUSES_COPIES: bool = false;

/// A cluster that has lost its quorum for good is recovered on the survivor that knows most; see `offline.rs`.
pub(crate) const RECOVERS: bool = false;

/// Nodes of two versions work in one ring; see `Machine::config`.
pub(crate) const NEGOTIATES_VERSIONS: bool = false;

/// An operator can remove a member; see `workload/administrator.rs`.
pub(crate) const REMOVES_MEMBERS: bool = false;

/// An operator can replace the certificate authority; see `workload/administrator.rs`.
pub(crate) const ROTATES_AUTHORITY: bool = false;

/// A node that is stopped cleanly hands leadership and vote over first, so that no write waits for an election.
pub(crate) const STOPS_WITHOUT_A_PAUSE: bool = false;

/// Whether the product has an answer to this fault. Without, it would only break.
pub(crate) fn has_answer_to(fault: &Fault) -> bool {
    match fault {
        Fault::Copy { .. } => REFUSES_COPIES,
        Fault::Upgrade => NEGOTIATES_VERSIONS,
        Fault::Remove => REMOVES_MEMBERS,
        Fault::Rotate => ROTATES_AUTHORITY,
        Fault::KillAgent
        | Fault::KillMachine
        | Fault::PowerCut
        | Fault::Stop
        | Fault::Wipe
        | Fault::Pause
        | Fault::Slow { .. }
        | Fault::DiskFull
        | Fault::Partition { .. }
        | Fault::Loss { .. }
        | Fault::Delay { .. }
        | Fault::Duplicate { .. }
        | Fault::Reorder { .. }
        | Fault::ClockOffset { .. }
        | Fault::ClockDrift { .. }
        | Fault::TaskCrash
        | Fault::TaskHang
        | Fault::TaskIgnoreTerm
        | Fault::TaskFailHealth
        | Fault::Lie
        | Fault::Move
        | Fault::Rolling
        | Fault::QuorumLost
        | Fault::Lag => true,
    }
}
