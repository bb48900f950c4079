//! Every check is proven by bugs that it catches: each is planted, and the seed that caught it is run again.
//!
//! `cargo run --release -p taffeta-sim --features planted-bugs --example hunt` finds such seeds anew when a change of the
//! code has moved them.

use std::time::Duration;
use taffeta_chaos_plan::{Fault, FaultKind, FaultPlan, PartitionShape, Planned, Target};
use taffeta_model::{Bug, plant};
use taffeta_sim::{SimConfig, Verdict, run};

/// A bug, the seed that catches it, and words of what is then said.
const CAUGHT: &[(Bug, u64, &str)] = &[
    (Bug::ObeyOldFence, 1, "takes an assigned set of"),
    (Bug::AcknowledgeBeforeSync, 7, "acknowledged"),
    (Bug::ForgetVote, 4, "in one life"),
    (Bug::PublishForeignRecord, 1, "which was never placed there"),
    (Bug::ForgeRecord, 1, "has not signed"),
    (Bug::KeepDeadRecords, 24, "after it died"),
    (Bug::ServeUnhealthy, 2, "after it fell ill"),
    (Bug::HideHealthy, 2, "although"),
    (Bug::PlaceTwice, 1, "was moved from"),
    (Bug::KeepUnassigned, 1, "still runs on"),
    (Bug::StartTwice, 1, "run at once"),
    (Bug::OverCommit, 2, "was given more than it has"),
    (Bug::SamePortTwice, 1, "is had by"),
    (Bug::ForgetObeyed, 1, "takes an assigned set of None"),
    (Bug::SnapshotInPart, 3, "another state than elsewhere"),
    (Bug::RefuseAndWrite, 2, "was refused and took effect"),
    (Bug::NeverLeadAgain, 1, "s after all faults ended"),
    (Bug::FindNoVoter, 17, "s after all faults ended"),
    (Bug::PreferOldPlace, 13, "instead of"),
    (Bug::BelieveHearsay, 1, "and nothing was wrong with any machine"),
    (Bug::NeverRenew, 6, "although both have long been well"),
    (Bug::SuspectForEver, 1, "although it is dead"),
    (Bug::EndWhileGiven, 1, "was told to end"),
    (Bug::LoseOrder, 35, "came before"),
    (Bug::AcknowledgeAlone, 2, "no majority of the voters"),
    (Bug::StopWithoutQuorum, 8, "no majority of the voters"),
    (Bug::ReplaceWithoutEvidence, 1, "was well"),
    (Bug::ShrinkOnDeath, 1, "they are fewer"),
    (Bug::TwoChangesAtOnce, 2, "at once lose their votes"),
    (Bug::ForgetLog, 1, "its log ends at"),
    (Bug::KeepDeadVoter, 2, "voters live, and there are"),
    (Bug::LeaveJoint, 3, "half done"),
    (Bug::IgnoreZones, 8, "zones only"),
    (Bug::KeepVoteOnStop, 1, "although machines were only restarted"),
    (Bug::KeepRemoved, 3, "was removed, and goes on"),
    (Bug::RotateAtOnce, 1, "s after all faults ended"),
    (Bug::EndOnFullDisk, 1, "ended because its disk is full"),
    (Bug::AcknowledgeOnFullDisk, 1, "s after all faults ended"),
    (Bug::StartCopy, 28, "runs from a copied folder"),
    (Bug::SpeakNewest, 1, "although"),
    (Bug::WriteAboveLevel, 1, "although not all members speak"),
    (Bug::RaiseLevelEarly, 1, "and is of the older version"),
    (Bug::ForgetGeneration, 3, "which was acknowledged first"),
    (Bug::FireTwice, 1, "was started"),
    (Bug::IgnoreUnavailable, 1, "have to, although nothing was taken but by us"),
    (Bug::ExceedQuota, 4, "bytes of memory, after"),
    (Bug::KeepWipedId, 1, "has the id of"),
    (Bug::ForgetLeases, 1, "run at once, and are exclusive"),
    (Bug::GrantAlone, 1, "run at once, and are exclusive"),
    (Bug::IgnoreLeaseEnd, 1, "run at once, and are exclusive"),
    (Bug::ForgetExits, 2, "although its task had succeeded"),
    (Bug::KeepOrphans, 1, "lost its shim"),
    (Bug::IgnoreDrift, 1, "run at once, and are exclusive"),
];

/// Bugs that show when nothing is broken: under faults a task may well be placed twice, and news of its end be late.
const QUIET: &[Bug] = &[Bug::PlaceTwice, Bug::EndWhileGiven];

/// A bug that shows when nothing happens but lies: a machine that is ill besides may well be evicted.
const BELIEVED: Bug = Bug::BelieveHearsay;

/// Bugs that show while a quorum is lost for long, which few runs see: it alone happens then.
const WITHOUT_QUORUM: &[Bug] = &[Bug::AcknowledgeAlone, Bug::StopWithoutQuorum];

/// A bug that shows in a write that waits for an election, where nothing else would hold it up.
const ROLLING: Bug = Bug::KeepVoteOnStop;

/// A bug that shows where not every machine votes: of four three do, in three zones.
const ZONED: Bug = Bug::IgnoreZones;

/// A bug that shows when a leader dies between the two steps of a change of who votes.
const HALF_DONE: Bug = Bug::LeaveJoint;

/// Again and again a machine stops, whose vote a stand-by gets, and the leader dies a little later; the wire is slow.
fn leaders_that_die_over_a_change() -> FaultPlan {
    let ms = Duration::from_millis;
    let planned = |at, lasts, target, fault| Planned { at: ms(at), lasts: Some(ms(lasts)), target, fault };
    let delay = Fault::Delay { by: ms(20), jitter: ms(5) };
    let rounds = (0..10).flat_map(|round| {
        let at = 12_000 + round * 10_000;
        let killed = planned(at + 120 + round * 50, 4_000, Target::Leader, Fault::KillAgent);
        [planned(at, 3_000, Target::One, Fault::Stop), killed]
    });
    FaultPlan { faults: [planned(1_000, 110_000, Target::All, delay)].into_iter().chain(rounds).collect() }
}

/// A bug that shows when those come back that were left behind by a recovery.
const LEFT_BEHIND: Bug = Bug::ForgetGeneration;

/// The quorum is lost for good as soon as those have come back that were lost the last time: in the newer generation, or
/// behind one that they do not know.
fn quorums_that_are_lost_one_after_the_other() -> FaultPlan {
    let at = Duration::from_secs;
    let lost =
        |n: u64| Planned { at: at(10 + n * 15), lasts: Some(at(14)), target: Target::Voters, fault: Fault::QuorumLost };
    FaultPlan { faults: (0..7).map(lost).collect() }
}

/// A bug that shows when a machine that was removed comes back.
const REMOVED: Bug = Bug::KeepRemoved;

/// A bug that shows at a machine that did not hear of the new authority in time.
const ROTATED: Bug = Bug::RotateAtOnce;

/// One machine is off while the certificate authority is replaced.
fn rotation_while_one_is_away() -> FaultPlan {
    let at = Duration::from_secs;
    let off = Planned { at: at(10), lasts: Some(at(12)), target: Target::One, fault: Fault::KillMachine };
    let rotation = Planned { at: at(12), lasts: None, target: Target::All, fault: Fault::Rotate };
    FaultPlan { faults: vec![off, rotation] }
}
/// Bugs that show at an exclusive task on a machine that is cut off.
const CUT_OFF: &[Bug] = &[Bug::GrantAlone, Bug::IgnoreLeaseEnd];

/// The machine of the exclusive service.
fn vault() -> Target {
    Target::Service { app: "shop".into(), service: "vault".into() }
}

/// Again and again that machine is cut off, for longer than a lease.
fn vaults_that_are_cut_off() -> FaultPlan {
    let ms = Duration::from_millis;
    let cut = |round: u64| {
        let fault = Fault::Partition { shape: PartitionShape::Split };
        Planned { at: ms(10_000 + round * 36_000), lasts: Some(ms(26_000)), target: vault(), fault }
    };
    FaultPlan { faults: (0..3).map(cut).collect() }
}

/// A bug that shows at an exclusive task on a machine that stands still while the leader dies.
const LEASED: Bug = Bug::ForgetLeases;

/// Again and again that machine stands still, and the leader dies at the same time.
fn leaders_that_die_with_leases() -> FaultPlan {
    let planned = |at, lasts, target, fault| Planned {
        at: Duration::from_millis(at),
        lasts: Some(Duration::from_millis(lasts)),
        target,
        fault,
    };
    let rounds = (0..4).flat_map(|round| {
        let at = 10_000 + round * 27_000;
        let still = planned(at, 20_000, vault(), Fault::Pause);
        [still, planned(at + 10, 1_000, Target::Leader, Fault::KillAgent)]
    });
    FaultPlan { faults: rounds.collect() }
}

/// A bug that shows where clocks differ, and a task lives to the very end of its lease.
const DRIFTING: Bug = Bug::IgnoreDrift;

/// All nodes' clocks are fast. Again and again the machine of the exclusive service stands still, which does not hear SIGTERM.
fn vaults_that_end_late() -> FaultPlan {
    let ms = Duration::from_millis;
    let planned = |at, lasts: Option<u64>, target, fault| Planned { at: ms(at), lasts: lasts.map(ms), target, fault };
    let fast = planned(5_000, Some(110_000), Target::All, Fault::ClockDrift { ppm: 50_000 });
    let rounds = (0..4).flat_map(|round| {
        let at = 10_000 + round * 27_000;
        let deaf = planned(at, None, vault(), Fault::TaskIgnoreTerm);
        [deaf, planned(at + 10, Some(20_000), vault(), Fault::Pause)]
    });
    FaultPlan { faults: [fast].into_iter().chain(rounds).collect() }
}

/// Bugs that show only under certain faults: nothing else happens then.
const UNDER: &[(Bug, &[FaultKind])] = &[
    (Bug::RefuseAndWrite, &[FaultKind::QuorumLost]),
    (Bug::EndOnFullDisk, &[FaultKind::DiskFull]),
    (Bug::AcknowledgeOnFullDisk, &[FaultKind::DiskFull, FaultKind::KillAgent, FaultKind::PowerCut]),
    (Bug::StartCopy, &[FaultKind::Copy]),
    (Bug::SpeakNewest, &[FaultKind::Upgrade]),
    (Bug::WriteAboveLevel, &[FaultKind::Upgrade]),
    (Bug::RaiseLevelEarly, &[FaultKind::Upgrade]),
    // Leaders are killed at chosen instants then, too.
    (Bug::FireTwice, &[FaultKind::KillAgent]),
    (Bug::IgnoreUnavailable, &[FaultKind::KillAgent]),
    (Bug::KeepWipedId, &[FaultKind::Wipe]),
    // Whoever is suspected must be dead for good, and nobody else be so.
    (Bug::SuspectForEver, &[FaultKind::KillMachine]),
];

/// Seeds within which a bug must be caught.
const SEEDS: u64 = 50;

/// The seed that caught it once comes first. A change of the code may have made another run of it: then another seed has to
/// catch the bug, and is named.
fn is_caught(bug: Bug) {
    let (_, seed, words) = CAUGHT.iter().find(|(known, ..)| *known == bug).expect("every bug has its seed");
    plant(Some(bug));
    let mut seen = String::new();
    let by = [*seed].into_iter().chain((1..=SEEDS).filter(|other| other != seed)).find(|seed| {
        let mut config = SimConfig { lasts: Duration::from_secs(120), ..SimConfig::new(*seed) };
        if QUIET.contains(&bug) {
            config.faults.clear();
        }
        if WITHOUT_QUORUM.contains(&bug) {
            config.faults = [FaultKind::QuorumLost].into();
        }
        if let Some((_, kinds)) = UNDER.iter().find(|(known, _)| *known == bug) {
            config.faults = kinds.iter().copied().collect();
        }
        if bug == BELIEVED {
            config.faults = [FaultKind::Lie].into();
        }
        if bug == ROLLING {
            config.faults = [FaultKind::Rolling].into();
        }
        if bug == REMOVED {
            config.faults = [FaultKind::Remove, FaultKind::KillAgent].into();
        }
        if bug == HALF_DONE {
            (config.nodes, config.plan) = (7, Some(leaders_that_die_over_a_change()));
        }
        if bug == LEFT_BEHIND {
            config.plan = Some(quorums_that_are_lost_one_after_the_other());
        }
        if bug == ROTATED {
            config.plan = Some(rotation_while_one_is_away());
        }
        if CUT_OFF.contains(&bug) {
            config.plan = Some(vaults_that_are_cut_off());
        }
        if bug == LEASED {
            config.plan = Some(leaders_that_die_with_leases());
        }
        if bug == DRIFTING {
            config.plan = Some(vaults_that_end_late());
        }
        if bug == ZONED {
            (config.nodes, config.faults) = (4, [].into());
        }
        let report = run(&config, &mut |_| {}).expect("a good configuration");
        let why = report.why.unwrap_or_default();
        let caught = report.verdict != Verdict::Pass && why.contains(words);
        if !caught {
            seen += &format!("seed {seed} is {}: {why}\n", report.verdict);
        }
        caught
    });
    plant(None);
    match by {
        Some(by) if by == *seed => {}
        Some(by) => println!("{bug:?} is caught by seed {by} now, no more by {seed}: change the table"),
        None => panic!("{bug:?} is not caught by {SEEDS} seeds:\n{seen}"),
    }
}

/// The power goes everywhere at once, again and again, while writes go on.
fn blackouts() -> FaultPlan {
    let at = Duration::from_secs;
    let cut = |n: u64| Planned { at: at(10 + n * 8), lasts: Some(at(2)), target: Target::All, fault: Fault::PowerCut };
    FaultPlan { faults: (0..6).map(cut).collect() }
}

/// What an acknowledgement before the sync costs: not only a log that is shorter than was said, but a client's write.
#[test]
fn a_write_that_an_early_acknowledgement_has_lost_is_missed_by_its_client() {
    plant(Some(Bug::AcknowledgeBeforeSync));
    let seen: Vec<String> = (1..=10)
        .map(|seed| {
            let thinks = Duration::from_millis(100);
            let plan = Some(blackouts());
            let lasts = Duration::from_secs(60);
            let config = SimConfig { lasts, plan, thinks, trusts_logs: true, ..SimConfig::new(seed) };
            run(&config, &mut |_| {}).expect("a good configuration").why.unwrap_or_default()
        })
        .collect();
    plant(None);
    assert!(seen.iter().any(|why| why.contains("the acknowledged write") && why.contains("is lost")), "{seen:?}");
}

macro_rules! caught {
    ($($name:ident: $bug:ident,)*) => {
        $(#[test]
        fn $name() {
            is_caught(Bug::$bug);
        })*

        #[test]
        fn every_bug_has_a_test() {
            let tested = [$(Bug::$bug,)*];
            assert!(Bug::ALL.iter().all(|bug| tested.contains(bug)));
        }
    };
}

caught! {
    an_agent_that_obeys_an_old_fence_is_caught: ObeyOldFence,
    an_acknowledgement_before_the_sync_is_caught: AcknowledgeBeforeSync,
    a_vote_that_is_not_stored_is_caught: ForgetVote,
    a_node_that_publishes_the_record_of_another_is_caught: PublishForeignRecord,
    a_forged_record_is_caught: ForgeRecord,
    dead_records_that_stay_in_dns_are_caught: KeepDeadRecords,
    an_unhealthy_instance_in_dns_is_caught: ServeUnhealthy,
    a_healthy_instance_that_is_hidden_is_caught: HideHealthy,
    a_task_that_is_placed_twice_after_a_leader_change_is_caught: PlaceTwice,
    a_task_that_runs_on_although_it_was_moved_is_caught: KeepUnassigned,
    a_running_task_that_is_started_again_is_caught: StartTwice,
    an_over_committed_machine_is_caught: OverCommit,
    a_port_that_is_given_twice_is_caught: SamePortTwice,
    an_obeyed_set_that_is_not_stored_is_caught: ForgetObeyed,
    a_snapshot_that_leaves_something_out_is_caught: SnapshotInPart,
    a_refused_write_that_takes_effect_is_caught: RefuseAndWrite,
    a_leader_that_places_nothing_is_caught: NeverLeadAgain,
    a_member_that_finds_no_voter_is_caught: FindNoVoter,
    a_name_that_tells_of_the_old_place_is_caught: PreferOldPlace,
    a_leader_that_believes_hearsay_is_caught: BelieveHearsay,
    a_member_that_stays_down_is_caught: NeverRenew,
    a_suspicion_without_a_verdict_is_caught: SuspectForEver,
    a_task_that_is_ended_while_dns_gives_it_is_caught: EndWhileGiven,
    a_write_that_is_acknowledged_before_it_is_made_is_caught: LoseOrder,
    an_acknowledgement_without_a_quorum_is_caught: AcknowledgeAlone,
    a_node_that_ends_its_tasks_without_a_quorum_is_caught: StopWithoutQuorum,
    a_voter_that_is_replaced_at_the_first_suspicion_is_caught: ReplaceWithoutEvidence,
    a_set_of_voters_that_death_makes_smaller_is_caught: ShrinkOnDeath,
    two_voters_that_are_replaced_at_once_are_caught: TwoChangesAtOnce,
    a_log_that_has_forgotten_what_it_acknowledged_is_caught: ForgetLog,
    a_dead_voter_that_is_not_replaced_is_caught: KeepDeadVoter,
    a_change_of_voters_that_stays_half_done_is_caught: LeaveJoint,
    voters_that_are_chosen_without_their_zones_are_caught: IgnoreZones,
    a_vote_that_is_not_handed_over_is_caught: KeepVoteOnStop,
    a_removed_member_that_is_listened_to_is_caught: KeepRemoved,
    an_authority_that_takes_effect_at_once_is_caught: RotateAtOnce,
    a_node_that_ends_on_a_full_disk_is_caught: EndOnFullDisk,
    an_acknowledgement_of_what_a_full_disk_did_not_take_is_caught: AcknowledgeOnFullDisk,
    a_copied_folder_that_is_let_in_is_caught: StartCopy,
    a_node_that_speaks_only_its_newest_version_is_caught: SpeakNewest,
    a_command_that_not_all_members_can_read_is_caught: WriteAboveLevel,
    a_level_that_a_leader_raises_too_early_is_caught: RaiseLevelEarly,
    a_node_that_believes_an_older_generation_is_caught: ForgetGeneration,
    a_slot_that_a_new_leader_starts_again_is_caught: FireTwice,
    an_update_that_takes_all_instances_at_once_is_caught: IgnoreUnavailable,
    a_wiped_machine_that_comes_back_under_its_old_id_is_caught: KeepWipedId,
    a_leader_that_does_not_wait_for_the_leases_of_another_is_caught: ForgetLeases,
    a_lease_that_is_granted_without_a_quorum_is_caught: GrantAlone,
    an_exclusive_task_that_outlives_its_lease_is_caught: IgnoreLeaseEnd,
    a_team_that_gets_more_than_its_quota_is_caught: ExceedQuota,
    an_agent_that_forgets_how_runs_ended_is_caught: ForgetExits,
    what_a_killed_shim_leaves_and_nobody_kills_is_caught: KeepOrphans,
    a_leader_that_allows_for_no_clock_but_its_own_is_caught: IgnoreDrift,
}
