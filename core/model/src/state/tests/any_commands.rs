//! What holds after any commands: random logs over a small world, so that they meet each other.

use super::{AnyFile, Log, NOW, SECRET, app_name, job_name, member};
use crate::{
    Cause, ChaosBlock, Command, Decision, Exit, Fence, FileSource, Firing, Member, Missed, NodeId, Outcome, Place,
    Placement, Removal, SecretName, State, TaskId, Token, TokenId, Trigger, UnixMillis, VolumeId, parse_app_file,
};
use proptest::prelude::*;
use std::{collections::BTreeSet, net::SocketAddr};

/// A command in small numbers; which task and which fence it means depends on the state that it meets.
#[derive(Clone, Debug)]
enum Draft {
    Init(u8),
    Join { token: u64, secret: bool, late: bool, node: u8, name: u8, address: u8 },
    Refresh { node: u8, address: u8 },
    Token { id: u64, uses: Option<u32> },
    RevokeToken(u64),
    RemoveMember(u8),
    Rotate { former: u8, next: u8 },
    FinishRotation(u8),
    Deploy { app: usize, web: u32, job: u32, program: u8, file: bool, secret: bool },
    Scale { app: usize, job: usize, count: u32 },
    Stop(usize),
    Restart { app: usize, job: Option<usize> },
    Place(Vec<(usize, u8, bool)>),
    Remove(Vec<(usize, bool)>),
    Finish { task: usize, stale: bool },
    SetSecret { name: usize, stale: bool },
    RemoveSecret { name: usize, force: bool },
    Fire { app: usize, job: usize, stale: bool, decision: u8, slot: u64 },
    Run { app: usize, job: usize },
    Release { task: usize, stale: bool },
    ResetVolume(usize),
    RemoveVolume(usize),
    BlockChaos(Option<u8>),
    OptIntoChaos { node: u8, token: Option<u8> },
}

const SECRETS: [&str; 2] = ["s1", "s2"];
const APPS: [&str; 2] = ["shop", "shop-2"];
const JOBS: [&str; 5] = ["web", "job", "none", "tick", "tock"];

fn draft() -> impl Strategy<Value = Draft> {
    let pick = 0..64_usize;
    prop_oneof![
        1 => (1..3_u8).prop_map(Draft::Init),
        3 => (0..3_u64, any::<bool>(), prop::bool::weighted(0.1), 1..5_u8, 1..5_u8, 1..5_u8).prop_map(
            |(token, secret, late, node, name, address)| Draft::Join { token, secret, late, node, name, address }
        ),
        3 => (1..5_u8).prop_map(|n| Draft::Join { token: 1, secret: true, late: false, node: n, name: n, address: n }),
        1 => (1..5_u8, 1..6_u8).prop_map(|(node, address)| Draft::Refresh { node, address }),
        2 => (0..3_u64, prop::option::of(0..3_u32)).prop_map(|(id, uses)| Draft::Token { id, uses }),
        1 => (0..3_u64).prop_map(Draft::RevokeToken),
        1 => (1..6_u8).prop_map(Draft::RemoveMember),
        1 => (1..3_u8, 1..3_u8).prop_map(|(former, next)| Draft::Rotate { former, next }),
        1 => (1..3_u8).prop_map(Draft::FinishRotation),
        4 => (0..2_usize, 0..4_u32, 0..3_u32, 0..2_u8, any::<bool>(), any::<bool>())
            .prop_map(|(app, web, job, program, file, secret)| Draft::Deploy { app, web, job, program, file, secret }),
        2 => (0..2_usize, prop::bool::weighted(0.1)).prop_map(|(name, stale)| Draft::SetSecret { name, stale }),
        1 => (0..2_usize, any::<bool>()).prop_map(|(name, force)| Draft::RemoveSecret { name, force }),
        8 => (0..2_usize, 0..5_usize, prop::bool::weighted(0.1), 0..7_u8, 0..40_u64)
            .prop_map(|(app, job, stale, decision, slot)| Draft::Fire { app, job, stale, decision, slot }),
        1 => (0..2_usize, 0..5_usize).prop_map(|(app, job)| Draft::Run { app, job }),
        1 => (0..64_usize).prop_map(Draft::ResetVolume),
        1 => (0..64_usize).prop_map(Draft::RemoveVolume),
        1 => prop::option::of(any::<u8>()).prop_map(Draft::BlockChaos),
        1 => (1..6_u8, prop::option::of(any::<u8>())).prop_map(|(node, token)| Draft::OptIntoChaos { node, token }),
        2 => (0..2_usize, 0..5_usize, 0..5_u32).prop_map(|(app, job, count)| Draft::Scale { app, job, count }),
        1 => (0..2_usize).prop_map(Draft::Stop),
        1 => (0..2_usize, prop::option::of(0..5_usize)).prop_map(|(app, job)| Draft::Restart { app, job }),
        8 => prop::collection::vec((pick.clone(), 1..6_u8, prop::bool::weighted(0.2)), 0..5).prop_map(Draft::Place),
        2 => prop::collection::vec((pick.clone(), prop::bool::weighted(0.2)), 0..3).prop_map(Draft::Remove),
        3 => (pick.clone(), prop::bool::weighted(0.2)).prop_map(|(task, stale)| Draft::Finish { task, stale }),
        2 => (pick, prop::bool::weighted(0.2)).prop_map(|(task, stale)| Draft::Release { task, stale }),
    ]
}

/// The task that a number means, and its attempt: one of the present ones, or one that never was.
fn pick(state: &State, number: usize) -> (TaskId, u32) {
    let chosen = number.checked_rem(state.tasks.len()).and_then(|n| state.tasks.iter().nth(n));
    chosen.map_or_else(|| ("shop/web.77".parse().unwrap(), 0), |(id, task)| (id.clone(), task.attempt))
}

fn command(draft: &Draft, state: &State) -> Command {
    match draft {
        Draft::Init(n) => Command::Init {
            cluster: crate::ClusterId((*n).into()),
            ca_hash: [*n; 32],
            admin_token_hash: [*n; 32],
            member: member(*n),
            kek_hash: [*n; 32],
            recovery_key: [*n; 32],
        },
        Draft::Join { token, secret, late, node, name, address } => Command::Join {
            token: TokenId(*token),
            secret_hash: if *secret { SECRET } else { [0; 32] },
            now: if *late { UnixMillis(u64::MAX) } else { NOW },
            member: Member { name: member(*name).name, address: member(*address).address, ..member(*node) },
        },
        Draft::Refresh { node, address } => Command::Refresh {
            node: NodeId((*node).into()),
            address: SocketAddr::from(([127, 0, 0, *address], 7400)),
            capacity: member(*node).capacity,
            custom: member(*node).custom,
            attributes: member(*node).attributes,
            zone: address.to_string(),
        },
        Draft::Token { id, uses } => {
            let token = Token { uses: *uses, ..super::any_token() };
            Command::CreateToken { id: TokenId(*id), token }
        }
        Draft::RevokeToken(id) => Command::RevokeToken { id: TokenId(*id) },
        Draft::RemoveMember(node) => Command::RemoveMember { node: NodeId((*node).into()), now: NOW },
        Draft::Rotate { former, next } => {
            let ca = |n: &u8| crate::CertificateAuthority {
                hash: [*n; 32],
                certificate: vec![*n],
                cross: vec![*n],
                since: NOW,
            };
            Command::RotateAuthority { former: ca(former), next: ca(next) }
        }
        Draft::FinishRotation(former) => Command::FinishRotation { former: [*former; 32] },
        Draft::SetSecret { name, stale } => {
            let name = SecretName::new(SECRETS[*name]).unwrap();
            let version = state.next_secret_version(&name) + u64::from(*stale);
            Command::SetSecret { name, version, bytes: 1, envelope: super::secrets::envelope(1), now: NOW }
        }
        Draft::RemoveSecret { name, force } => {
            Command::RemoveSecret { name: SecretName::new(SECRETS[*name]).unwrap(), force: *force }
        }
        Draft::Fire { app, job, stale, decision, slot } => {
            let (app, job, slot) = (app_name(APPS[*app]), job_name(JOBS[*job]), UnixMillis(NOW.0 + slot));
            let seen = state.apps.get(&app).and_then(|a| a.runs.get(&job)).map(|runs| runs.changed);
            let seen = seen.filter(|_| !stale).unwrap_or_default();
            let decision = match decision {
                0 => Decision::Start(Trigger::Slot(slot)),
                1 => Decision::Start(Trigger::After),
                2 => Decision::Queue(slot),
                3 => Decision::Miss { first: slot, last: slot, count: 1, why: Missed::NoLeader },
                4 => Decision::Placed,
                5 => Decision::Over,
                _ => Decision::Expired,
            };
            Command::Fire(vec![Firing { app, job, seen, now: slot, decision }])
        }
        Draft::Run { app, job } => {
            let (app, job) = (app_name(APPS[*app]), job_name(JOBS[*job]));
            Command::Run { app, job, args: vec!["x".into()], now: NOW }
        }
        Draft::ResetVolume(number) => Command::ResetVolume { task: pick(state, *number).0 },
        Draft::RemoveVolume(number) => {
            let id = number.checked_rem(state.volumes.len()).and_then(|n| state.volumes.keys().nth(n)).cloned();
            let name = id.as_ref().filter(|_| number % 2 == 0).map(|id| id.name.clone());
            Command::RemoveVolume { task: id.map_or_else(|| pick(state, *number).0, |id| id.task), name }
        }
        Draft::BlockChaos(length) => {
            let block = |length: u8| ChaosBlock { by: member(1).name, at: NOW, reason: "x".repeat(length.into()) };
            Command::BlockChaos(length.map(block))
        }
        Draft::OptIntoChaos { node, token } => {
            Command::OptIntoChaos { node: NodeId((*node).into()), token: token.map(|byte| [byte; 32]) }
        }
        Draft::Deploy { app, web, job, program, file, secret } => {
            Command::Deploy { app: drafted_app(APPS[*app], *web, *job, (*program, *secret), *file).into(), now: NOW }
        }
        Draft::Scale { app, job, count } => {
            Command::Scale { app: app_name(APPS[*app]), job: job_name(JOBS[*job]), count: *count }
        }
        Draft::Stop(app) => Command::Stop { app: app_name(APPS[*app]) },
        Draft::Restart { app, job } => {
            Command::Restart { app: app_name(APPS[*app]), job: job.map(|job| job_name(JOBS[job])) }
        }
        Draft::Place(places) => {
            let placement = |(number, node, stale): &(usize, u8, bool)| {
                let (task, attempt) = pick(state, *number);
                Placement {
                    task,
                    seen_attempt: attempt + u32::from(*stale),
                    node: NodeId((*node).into()),
                    cause: Cause::Waited,
                    older: false,
                }
            };
            Command::Place(places.iter().map(placement).collect())
        }
        Draft::Remove(removals) => {
            let removal = |(number, stale): &(usize, bool)| {
                let (task, attempt) = pick(state, *number);
                Removal { task, seen_attempt: attempt + u32::from(*stale), cause: Cause::Waited }
            };
            Command::Remove(removals.iter().map(removal).collect())
        }
        Draft::Release { task, stale } => {
            let leased = task.checked_rem(state.leased.len()).and_then(|n| state.leased.iter().nth(n));
            let (id, fence) =
                leased.map_or_else(|| (pick(state, *task).0, Fence::default()), |(id, l)| (id.clone(), l.fence));
            Command::Release(vec![(id, Fence { index: fence.index + u64::from(*stale), ..fence })])
        }
        Draft::Finish { task, stale } => {
            let on = state.tasks.iter().filter_map(|(id, task)| match task.place {
                Place::On { fence, .. } => Some((id.clone(), fence)),
                Place::Waiting { .. } | Place::Ended { .. } => None,
            });
            let on: Vec<_> = on.collect();
            let chosen = task.checked_rem(on.len()).and_then(|n| on.get(n).cloned());
            let (id, fence) = chosen.unwrap_or_else(|| (pick(state, *task).0, Fence::default()));
            let fence = if *stale { Fence { index: fence.index + 1, ..fence } } else { fence };
            Command::Finish { task: id, fence, exit: Exit::Code(0) }
        }
    }
}

/// A service `web` and, unless its count is 0, a batch `job`.
fn drafted_app(name: &str, web: u32, job: u32, (program, secret): (u8, bool), file: bool) -> crate::App {
    let file = if file { "files = [\"f\"]" } else { "" };
    let file = format!("{file}\n{}", if secret { "secrets = [\"s1\"]\nsecret_env = { S = \"s2\" }" } else { "" });
    let batch = if job > 0 { format!("[batch.job]\nrun = [\"p{program}\"]\ncount = {job}\n") } else { String::new() };
    let overlap = ["skip", "queue", "replace"][web as usize % 3];
    // The same name is a job of another kind at times.
    let kind = ["cron", "batch", "service"][job as usize];
    let tick = match kind {
        "cron" => format!("deadline = \"1s\"\nschedule = \"* * * * *\"\noverlap = \"{overlap}\"\n"),
        _ => String::new(),
    };
    let cron = format!(
        "[{kind}.tick]\nrun = [\"p{program}\"]\ncount = 2\n{tick}[batch.tock]\nrun = [\"p\"]\nafter = [\"tick\"]\n"
    );
    let exclusive = web % 2 == 1;
    let volume = match web {
        0 | 3 => String::new(),
        size => format!("volume = {{ name = \"data{program}\", size = \"{size}GiB\" }}"),
    };
    let text = format!(
        "app = \"{name}\"\n[service.web]\nrun = [\"p{program}\"]\ncount = {web}\nexclusive = {exclusive}\n{volume}\n{file}\n{batch}{cron}"
    );
    let files: &mut dyn FileSource = &mut AnyFile;
    parse_app_file(&text, files).unwrap()
}

fn invariant_every_slot_of_every_job_exists_and_no_other(state: &State) {
    let wanted: BTreeSet<TaskId> = (state.apps.iter())
        .flat_map(|(app, s)| s.app.jobs.iter().map(move |(name, job)| (app, name, job.count)))
        .flat_map(|(app, job, count)| {
            (1..=count).map(move |index| TaskId { app: app.clone(), job: job.clone(), index })
        })
        .collect();
    assert_eq!(state.tasks.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    for app in state.apps.values() {
        assert!(app.app.jobs.keys().eq(app.revisions.keys()));
    }
}

fn invariant_tasks_are_on_members_only(state: &State) {
    assert!(state.tasks.values().filter_map(super::super::Task::node).all(|node| state.members.contains_key(&node)));
    let sets = state.members.keys().filter_map(|node| state.assigned_to(*node));
    // A task that has ended stays ended when its machine is removed.
    let there = |task: &&super::super::Task| task.machine().is_some_and(|node| state.members.contains_key(&node));
    let placed = state.tasks.values().filter(there).count();
    assert_eq!(sets.map(|set| set.tasks.len()).sum::<usize>(), placed, "each placed task is in one set");
}

/// Tasks of batch and cron jobs are on machines only in a run; runs have bounds, and no slot comes back.
fn invariant_runs_are_in_order(before: &State, after: &State) {
    for (name, app) in &after.apps {
        let batch = app.app.jobs.iter().filter(|(_, job)| job.kind.is_batch()).map(|(job, _)| job);
        assert!(app.runs.keys().eq(batch));
        for (job, runs) in &app.runs {
            let of_job = || after.tasks.of_job(name, job).map(|(_, task)| task);
            assert!(runs.current.is_some() || of_job().all(|task| task.node().is_none()), "{job} runs without a run");
            assert!(
                runs.current.is_some() || app.recurs(job) || app.app.jobs[job].deadline.is_some() || {
                    of_job().all(|task| matches!(task.place, Place::Ended { .. }))
                }
            );
            assert!(runs.queue.len() <= crate::QUEUE_MAX && runs.queue.is_sorted());
            assert!(runs.queue.iter().all(|slot| *slot <= runs.handled));
            assert!(runs.history.len() <= crate::HISTORY_MAX.into());
            let finished = |parent| app.runs.get(parent).map(|runs: &crate::Runs| runs.finished);
            assert!(runs.taken.iter().all(|(parent, taken)| finished(parent) >= Some(*taken)), "{job} is ahead");
            let same =
                |was: &&super::super::AppState| was.app.jobs.get(job).is_some_and(|w| w.kind == app.app.jobs[job].kind);
            let known = before.apps.get(name).filter(same).and_then(|app| app.runs.get(job));
            assert!(known.is_none_or(|known| known.handled <= runs.handled && known.finished <= runs.finished));
        }
    }
}

fn invariant_who_was_removed_is_no_member(state: &State) {
    assert!(state.removed.keys().all(|node| !state.members.contains_key(node)));
}

fn invariant_the_ca_that_signs_is_the_last_of_at_most_two(state: &State) {
    assert!(state.authorities.len() <= crate::AUTHORITIES_MAX);
    assert!(state.authorities.last().is_none_or(|ca| ca.hash == state.ca_hash));
}

fn invariant_names_and_addresses_are_unique(state: &State) {
    let names: BTreeSet<_> = state.members.values().map(|m| &m.name).collect();
    let addresses: BTreeSet<_> = state.members.values().map(|m| m.address).collect();
    assert_eq!((names.len(), addresses.len()), (state.members.len(), state.members.len()));
}

fn invariant_fences_tell_of_every_change(before: &State, after: &State, at: Fence) {
    for node in after.members.keys() {
        let (old, new) = (before.assigned_to(*node), after.assigned_to(*node).expect("a member"));
        if old.as_ref().is_none_or(|old| (&old.tasks, &old.volumes) != (&new.tasks, &new.volumes)) {
            assert_eq!(new.fence, at, "the assigned set of {node} changed");
        } else {
            assert!(old.is_some_and(|old| old.fence <= new.fence));
        }
    }
    let (mut old, new) = (before.directory(), after.directory());
    if old.fence != new.fence {
        assert_eq!(new.fence, at);
        old.fence = at;
    }
    assert!(old == new || new.fence == at, "the directory changed under its old fence");
}

fn invariant_a_fence_and_a_running_task_belong_together(before: &State, after: &State, at: Fence) {
    for (id, task) in &after.tasks {
        let Place::On { fence, .. } = task.place else { continue };
        let was = before.tasks.get(id).filter(|was| was.place == task.place);
        assert!(fence == at || was.is_some_and(|was| was.attempt == task.attempt), "{id} has a fence of another run");
    }
}

/// An exclusive task has one machine at a time, until its end there is known.
fn invariant_a_leased_task_has_one_machine(before: &State, after: &State, command: &Command) {
    for (id, leased) in &after.leased {
        let on = after.tasks.get(id).and_then(super::super::Task::node);
        assert!(on.is_none_or(|on| on == leased.node), "{id} is on {on:?}, and may run on {}", leased.node);
        assert!(before.leased.get(id).is_none_or(|was| was.node == leased.node), "{id} may run on another machine");
    }
    if !matches!(command, Command::Release(_) | Command::Finish { .. }) {
        assert!(before.leased.keys().all(|id| after.leased.contains_key(id)), "{command:?} ends a lease");
    }
    for (id, task) in &after.tasks {
        if matches!(task.place, Place::On { fence, .. } if fence == after.applied) {
            let exclusive = after.job_of(id).is_some_and(|job| job.exclusive);
            assert!(!exclusive || after.leased.get(id).is_some_and(|leased| leased.fence == after.applied), "{id}");
        }
    }
}

/// Whoever has a volume is where that is; it is of no use elsewhere, and goes only when an operator says so.
fn invariant_tasks_are_where_their_volumes_are(before: &State, after: &State, command: &Command) {
    for (id, task) in &after.tasks {
        let (Some(node), Some(volume)) = (task.node(), after.job_of(id).and_then(|job| job.volume.as_ref())) else {
            continue;
        };
        // What was placed before its job got a volume has none until it is replaced.
        let revision = after.apps[&id.app].revisions[&id.job];
        let known = after.volumes.get(&VolumeId { task: id.clone(), name: volume.name.clone() });
        assert!(
            known.is_some_and(|known| known.node == node) || task.revision != revision,
            "{id} is not at its volume"
        );
    }
    let said = matches!(command, Command::ResetVolume { .. } | Command::RemoveVolume { .. });
    for (id, volume) in before.volumes.iter() {
        let now = after.volumes.get(id);
        assert!(said || now.is_some_and(|now| (now.node, now.born) == (volume.node, volume.born)), "{id} is lost");
    }
    let listed = after.members.keys().filter_map(|node| after.assigned_to(*node)?.volumes);
    let there = after.volumes.values().filter(|volume| after.members.contains_key(&volume.node)).count();
    assert_eq!(listed.map(|volumes| volumes.len()).sum::<usize>(), there, "each volume is in one set");
}

fn invariant_a_refusal_changes_nothing(before: &State, after: &State) {
    assert_eq!(*after, State { applied: after.applied, ..before.clone() });
}

fn invariant_versions_of_secrets_are_kept_while_used_and_never_used_twice(before: &State, after: &State) {
    let pins = after.apps.values().flat_map(|app| app.secrets.values()).flatten();
    for (name, version) in pins {
        assert!(
            after.secret(name, *version).is_some() || *version <= after.secrets_removed,
            "{name} {version} is used"
        );
    }
    for (name, secret) in &after.secrets {
        assert!(secret.versions.last_key_value().is_some_and(|(newest, _)| *newest == secret.newest), "{name}");
        let known = before.secrets.get(name);
        let used = known.map_or(before.secrets_removed, |known| known.newest);
        assert!(secret.newest > used || known.is_some_and(|known| known.newest == secret.newest), "{name} is new");
    }
}

fn invariant_only_members_let_themselves_be_hurt(state: &State) {
    assert!(state.chaos.tokens.keys().all(|node| state.members.contains_key(node)));
    let reason = state.chaos.blocked.as_ref().map_or(0, |block| block.reason.len());
    assert!(reason <= crate::CHAOS_REASON_MAX);
    assert_eq!(state.directory().chaos, state.chaos);
}

fn invariant_tokens_are_not_overused(state: &State) {
    assert!(state.tokens.values().all(|token| token.uses.is_none_or(|uses| token.used <= uses)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_state_keeps_its_promises(drafts in prop::collection::vec(draft(), 1..60)) {
        let mut log = if drafts.len() % 2 == 0 { super::shop() } else { Log::default() };
        let (mut replica, mut commands) = (log.clone(), vec![]);
        for draft in &drafts {
            let before = log.state.clone();
            let command = command(draft, &before);
            let outcome = log.try_apply(command.clone());
            let after = &log.state;
            invariant_tasks_are_where_their_volumes_are(&before, after, &command);
            prop_assert_eq!(after.applied.index, log.index);
            invariant_every_slot_of_every_job_exists_and_no_other(after);
            invariant_tasks_are_on_members_only(after);
            invariant_runs_are_in_order(&before, after);
            invariant_names_and_addresses_are_unique(after);
            invariant_who_was_removed_is_no_member(after);
            invariant_the_ca_that_signs_is_the_last_of_at_most_two(after);
            invariant_fences_tell_of_every_change(&before, after, after.applied);
            invariant_a_fence_and_a_running_task_belong_together(&before, after, after.applied);
            invariant_tokens_are_not_overused(after);
            invariant_only_members_let_themselves_be_hurt(after);
            invariant_a_leased_task_has_one_machine(&before, after, &command);
            invariant_versions_of_secrets_are_kept_while_used_and_never_used_twice(&before, after);
            if let Outcome::Refused(_) = outcome {
                invariant_a_refusal_changes_nothing(&before, after);
            }
            commands.push((command, outcome));
        }
        for (command, outcome) in commands {
            prop_assert_eq!(replica.try_apply(command), outcome);
        }
        prop_assert_eq!(replica.state, log.state, "equal logs give equal states");
    }
}
