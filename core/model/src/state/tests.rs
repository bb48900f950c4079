//! The rules of the replicated state, one by one. What must hold after any commands is in `any_commands`.

use super::{Cause, Member, Place, REMOVED_MAX, State, TASKS_MAX, TOKENS_MAX, Token, TokenRole};
use crate::{
    App, AppName, COUNT_MAX, ClusterId, Command, Cpus, Exit, Fence, FileSource, JobName, NodeId, NodeName, Outcome,
    Placement, Refusal, Removal, Resources, ShippedFile, TaskId, TokenId, UnixMillis, parse_app_file,
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

mod any_commands;
mod generations;
mod leases;
mod rebirth;
mod runs;
mod secrets;
mod volumes;
mod windows;

const SECRET: [u8; 32] = [7; 32];
const NOW: UnixMillis = UnixMillis(1_000_000);
const SHOP: &str =
    "app = \"shop\"\n[service.web]\nrun = [\"./web\"]\ncount = 3\n[batch.migrate]\nrun = [\"./migrate\"]\n";

/// Gives every file: its contents are its name.
struct AnyFile;

impl FileSource for AnyFile {
    fn read(&mut self, name: &str) -> Result<ShippedFile, String> {
        Ok(ShippedFile { body: name.into(), executable: false })
    }
}

fn app(text: &str) -> App {
    parse_app_file(text, &mut AnyFile).unwrap_or_else(|e| panic!("{e}"))
}

fn app_name(s: &str) -> AppName {
    AppName::new(s).unwrap()
}

fn job_name(s: &str) -> JobName {
    JobName::new(s).unwrap()
}

fn task(s: &str) -> TaskId {
    s.parse().unwrap()
}

fn member(n: u8) -> Member {
    Member {
        id: NodeId(n.into()),
        name: NodeName::new(format!("n{n}")).unwrap(),
        address: SocketAddr::from(([127, 0, 0, n], 7400)),
        public_key: [n; 32],
        zone: String::new(),
        attributes: BTreeMap::new(),
        capacity: Resources { cpus: Cpus(4000), memory: 1 << 30, disk: 0, ports: 100 },
        custom: BTreeMap::new(),
        draining: false,
        maintenance: vec![],
        joined: Fence::default(),
        assigned_fence: Fence::default(),
    }
}

/// A state with the log position that its next command gets.
#[derive(Clone, Default)]
struct Log {
    state: State,
    index: u64,
}

impl Log {
    fn try_apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        self.state.apply(Fence { generation: 0, term: 1, index: self.index }, &command)
    }

    #[track_caller]
    fn apply(&mut self, command: Command) -> Fence {
        match self.try_apply(command) {
            Outcome::Done(at) => at,
            Outcome::Refused(refusal) => panic!("refused: {refusal}"),
        }
    }

    /// Expects a refusal that changes nothing but `applied`.
    #[track_caller]
    fn refuse(&mut self, command: Command) -> Refusal {
        let before = self.state.clone();
        let Outcome::Refused(refusal) = self.try_apply(command) else { panic!("the command was applied") };
        assert_eq!(self.state, State { applied: self.state.applied, ..before });
        refusal
    }

    #[track_caller]
    fn deploy(&mut self, text: &str) -> Fence {
        self.apply(Command::Deploy { app: app(text).into(), now: NOW })
    }

    #[track_caller]
    fn place(&mut self, id: &str, node: u64) -> Fence {
        let seen_attempt = self.state.tasks[&task(id)].attempt;
        let at = self.apply(Command::Place(vec![Placement {
            task: task(id),
            seen_attempt,
            node: NodeId(node),
            cause: Cause::Waited,
            older: false,
        }]));
        assert_eq!(self.state.tasks[&task(id)].place, Place::On { node: NodeId(node), fence: at });
        at
    }

    #[track_caller]
    fn finish(&mut self, id: &str, fence: Fence) {
        self.apply(Command::Finish { task: task(id), fence, exit: Exit::Code(0) });
    }

    fn place_of(&self, id: &str) -> &Place {
        &self.state.tasks[&task(id)].place
    }

    fn revision(&self, job: &str) -> u64 {
        self.state.apps[&app_name("shop")].revisions[&job_name(job)]
    }

    fn assigned_fence(&self, node: u64) -> Fence {
        self.state.assigned_to(NodeId(node)).expect("a member").fence
    }

    fn indexes(&self, job: &str) -> Vec<u32> {
        self.state.tasks.keys().filter(|t| t.job == job_name(job)).map(|t| t.index).collect()
    }
}

/// Three members and a token 1 that any number may use.
fn ring() -> Log {
    let mut log = Log::default();
    log.apply(Command::Init {
        cluster: ClusterId(9),
        ca_hash: [1; 32],
        admin_token_hash: [2; 32],
        member: member(1),
        kek_hash: [3; 32],
        recovery_key: [4; 32],
    });
    log.apply(token(1, None));
    for n in 2..=3 {
        log.apply(join(1, member(n)));
    }
    log
}

/// The ring with the shop deployed, and nothing placed.
fn shop() -> Log {
    let mut log = ring();
    log.deploy(SHOP);
    log
}

fn any_token() -> Token {
    let expires = UnixMillis(NOW.0 + 1);
    Token { secret_hash: SECRET, expires, uses: None, used: 0, role: TokenRole::Node, created: NOW }
}

fn token(id: u64, uses: Option<u32>) -> Command {
    let token = Token { expires: UnixMillis(NOW.0 + 5000), uses, ..any_token() };
    Command::CreateToken { id: TokenId(id), token }
}

fn join(token: u64, member: Member) -> Command {
    Command::Join { token: TokenId(token), secret_hash: SECRET, now: NOW, member }
}

#[test]
fn a_cluster_is_born_once() {
    let mut log = ring();
    let again = Command::Init {
        cluster: ClusterId(8),
        ca_hash: [0; 32],
        admin_token_hash: [0; 32],
        member: member(4),
        kek_hash: [0; 32],
        recovery_key: [0; 32],
    };
    assert_eq!(log.refuse(again), Refusal::AlreadyInitialised);
    assert_eq!((log.state.cluster, log.state.members.len()), (ClusterId(9), 3));
    assert_eq!(log.state.directory().admin_token_hash, [2; 32]);
}

#[test]
fn members_keep_the_position_of_their_joining() {
    let mut log = ring();
    let joined = log.state.members[&NodeId(2)].joined;
    log.deploy(SHOP);
    let placed = log.place("shop/web.1", 2);
    let moved = Member { address: SocketAddr::from(([127, 0, 0, 9], 7400)), ..member(2) };
    log.apply(join(1, moved.clone()));
    let known = &log.state.members[&NodeId(2)];
    assert_eq!((known.joined, known.assigned_fence, known.address), (joined, placed, moved.address));
}

#[test]
fn a_token_must_be_known_right_and_valid() {
    let mut log = ring();
    assert_eq!(log.refuse(join(5, member(4))), Refusal::UnknownToken);
    let wrong = Command::Join { token: TokenId(1), secret_hash: [0; 32], now: NOW, member: member(4) };
    assert_eq!(log.refuse(wrong), Refusal::WrongSecret);
    let late =
        |ms| Command::Join { token: TokenId(1), secret_hash: SECRET, now: UnixMillis(NOW.0 + ms), member: member(4) };
    assert_eq!(log.refuse(late(5000)), Refusal::TokenExpired(0));
    assert_eq!(log.refuse(late(8500)), Refusal::TokenExpired(3));
    log.apply(late(4999));
}

#[test]
fn a_used_up_token_is_refused_but_not_to_whom_it_let_in() {
    let mut log = ring();
    log.apply(token(2, Some(1)));
    log.apply(join(2, member(4)));
    assert_eq!(log.refuse(join(2, member(5))), Refusal::TokenUsedUp(1));
    log.apply(join(2, member(4))); // its answer was lost
    assert_eq!(log.state.tokens[&TokenId(2)].used, 1);
}

#[test]
fn a_token_that_is_minted_twice_keeps_its_uses() {
    let mut log = ring();
    log.apply(token(2, Some(1)));
    log.apply(join(2, member(4)));
    log.apply(token(2, Some(1)));
    assert_eq!(log.refuse(join(2, member(5))), Refusal::TokenUsedUp(1));
}

#[test]
fn a_revoked_token_lets_nobody_in() {
    let mut log = ring();
    log.apply(Command::RevokeToken { id: TokenId(1) });
    assert_eq!(log.refuse(join(1, member(4))), Refusal::UnknownToken);
    assert_eq!(log.refuse(Command::RevokeToken { id: TokenId(1) }), Refusal::UnknownToken);
}

fn remove(node: u64, now: UnixMillis) -> Command {
    Command::RemoveMember { node: NodeId(node), now }
}

#[test]
fn a_removed_member_leaves_its_tasks_its_name_and_its_address_and_never_comes_back() {
    let mut log = shop();
    log.place("shop/web.1", 2);
    log.place("shop/web.2", 1);
    let ended = log.place("shop/migrate.1", 2);
    log.finish("shop/migrate.1", ended);
    let at = log.apply(remove(2, NOW));
    assert_eq!(*log.place_of("shop/web.1"), Place::Waiting { last: Some(NodeId(2)) });
    assert!(matches!(log.place_of("shop/web.2"), Place::On { .. }));
    assert!(matches!(log.place_of("shop/migrate.1"), Place::Ended { .. }), "what has ended does not run again");
    assert_eq!(log.state.assigned_to(NodeId(2)), None);
    let directory = log.state.directory();
    assert_eq!((directory.fence, directory.members.len()), (at, 2));
    assert!(directory.removed.contains(&NodeId(2)));
    assert_eq!(log.refuse(join(1, member(2))), Refusal::RemovedKey(NodeId(2)));
    assert_eq!(log.refuse(remove(2, NOW)), Refusal::UnknownMember(NodeId(2)));
    let heir = Member { name: member(2).name, address: member(2).address, ..member(4) };
    log.apply(join(1, heir));
}

#[test]
fn the_last_member_is_not_removed() {
    let mut log = ring();
    log.apply(remove(2, NOW));
    log.apply(remove(1, NOW));
    assert_eq!(log.refuse(remove(3, NOW)), Refusal::LastMember("n3".into()));
}

#[test]
fn removals_are_remembered_for_weeks_and_in_bounded_number() {
    let mut log = ring();
    let add = |log: &mut Log, n: u64, now| {
        let address = SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 7400));
        let name = NodeName::new(format!("m{n}")).unwrap();
        log.apply(join(1, Member { id: NodeId(n), name, address, ..member(9) }));
        log.apply(remove(n, now));
    };
    add(&mut log, 100, NOW);
    add(&mut log, 101, UnixMillis(NOW.0 + 59 * 86_400_000));
    assert_eq!(log.state.removed.len(), 2);
    add(&mut log, 102, UnixMillis(NOW.0 + 60 * 86_400_000));
    assert!(!log.state.removed.contains_key(&NodeId(100)) && log.state.removed.contains_key(&NodeId(101)));
    for n in 200..200 + REMOVED_MAX as u64 {
        add(&mut log, n, UnixMillis(NOW.0 + 61 * 86_400_000));
    }
    assert_eq!(log.state.removed.len(), REMOVED_MAX);
    assert!(!log.state.removed.contains_key(&NodeId(101)), "the oldest makes room");
}

#[test]
fn the_token_that_ends_first_makes_room() {
    let mut log = Log::default();
    for id in 0..=TOKENS_MAX as u64 {
        let expires = UnixMillis(if id == 500 { 1 } else { 1000 + id });
        let token = Token { expires, ..any_token() };
        log.apply(Command::CreateToken { id: TokenId(id), token });
    }
    assert_eq!(log.state.tokens.len(), TOKENS_MAX);
    assert!(!log.state.tokens.contains_key(&TokenId(500)));
}

#[test]
fn names_addresses_and_keys_are_one_members_own() {
    let mut log = ring();
    let same_name = Member { name: member(2).name, ..member(4) };
    assert_eq!(log.refuse(join(1, same_name)), Refusal::NameTaken("n2".into(), NodeId(2)));
    let same_address = Member { address: member(2).address, ..member(4) };
    assert_eq!(log.refuse(join(1, same_address)), Refusal::AddressTaken(member(2).address, "n2".into()));
    let other_key = Member { public_key: [99; 32], ..member(2) };
    assert_eq!(log.refuse(join(1, other_key)), Refusal::KeyMismatch(NodeId(2)));
    assert_eq!(log.refuse(refresh(3, 2)), Refusal::AddressTaken(member(2).address, "n2".into()));
    assert_eq!(log.refuse(refresh(8, 8)), Refusal::UnknownMember(NodeId(8)));
    assert_eq!(log.state.tokens[&TokenId(1)].used, 2, "a refused join is no use");
}

/// The member `node` is at the address of the machine `at` now.
fn refresh(node: u64, at: u8) -> Command {
    let Member { address, capacity, custom, attributes, .. } = member(at);
    Command::Refresh { node: NodeId(node), address, capacity, custom, attributes, zone: "north".into() }
}

#[test]
fn only_a_new_address_makes_everyone_pull_the_directory() {
    let mut log = ring();
    let before = log.state.directory_fence;
    log.apply(refresh(2, 2));
    assert_eq!(log.state.members[&NodeId(2)].zone, "north");
    assert_eq!(log.state.directory_fence, before);
    let at = log.apply(refresh(2, 7));
    assert_eq!(log.state.directory().fence, at);
    assert_eq!(log.state.directory().members[&NodeId(2)].address, member(7).address);
}

#[test]
fn a_deployed_app_waits_to_be_placed_and_is_in_the_directory() {
    let log = shop();
    assert_eq!((log.indexes("web"), log.indexes("migrate")), (vec![1, 2, 3], vec![1]));
    assert!(log.state.tasks.values().all(|t| t.place == Place::Waiting { last: None } && t.attempt == 0));
    let directory = log.state.directory();
    assert_eq!(directory.apps[&app_name("shop")][&job_name("web")].count, 3);
    assert_eq!(log.state.job(&task("shop/web.1")).map(|job| job.count), Some(3));
}

#[test]
fn an_invalid_app_is_refused_with_its_field() {
    let mut log = ring();
    let mut app = app(SHOP);
    Arc::make_mut(app.jobs.get_mut(&job_name("web")).unwrap()).run.clear();
    let refusal = log.refuse(Command::Deploy { app: app.into(), now: NOW });
    assert!(matches!(&refusal, Refusal::Invalid { field, .. } if field == "service.web.run"), "{refusal}");
}

#[test]
fn a_placement_gives_the_node_its_task_and_fence() {
    let mut log = shop();
    let at = log.place("shop/web.2", 2);
    let set = log.state.assigned_to(NodeId(2)).unwrap();
    assert_eq!((set.fence, set.tasks.len()), (at, 1));
    let assigned = &set.tasks[&task("shop/web.2")];
    assert_eq!((assigned.attempt, assigned.version, assigned.fence), (1, 1, at));
    assert_eq!(assigned.job.run, ["./web"]);
    assert_eq!(log.state.assigned_to(NodeId(3)).unwrap().tasks, BTreeMap::new());
    assert_eq!(log.state.assigned_to(NodeId(9)), None);
}

#[test]
fn a_task_brings_only_the_files_of_its_own_job() {
    let mut log = ring();
    log.deploy(
        "app = \"shop\"\n[service.a]\nrun = [\"x\"]\nfiles = [\"f\"]\n[service.b]\nrun = [\"x\"]\nfiles = [\"g\"]\n",
    );
    log.place("shop/a.1", 1);
    let set = log.state.assigned_to(NodeId(1)).unwrap();
    assert_eq!(set.tasks[&task("shop/a.1")].files.keys().collect::<Vec<_>>(), ["f"]);
}

#[test]
fn a_stale_placement_is_void_and_the_others_of_its_entry_stand() {
    let mut log = shop();
    let first = log.place("shop/web.1", 1);
    let placement = |id: &str, seen_attempt, node| Placement {
        task: task(id),
        seen_attempt,
        node: NodeId(node),
        cause: Cause::Waited,
        older: false,
    };
    let at = log.apply(Command::Place(vec![
        placement("shop/web.1", 0, 2),  // it has attempt 1 by now
        placement("shop/web.2", 0, 99), // no member
        placement("shop/web.9", 0, 2),  // no such task
        placement("shop/web.3", 0, 3),
    ]));
    assert_eq!(*log.place_of("shop/web.1"), Place::On { node: NodeId(1), fence: first });
    assert_eq!(*log.place_of("shop/web.2"), Place::Waiting { last: None });
    assert_eq!(*log.place_of("shop/web.3"), Place::On { node: NodeId(3), fence: at });
    assert_eq!((log.assigned_fence(1), log.assigned_fence(3)), (first, at));
    assert!(log.assigned_fence(2) < first);
}

#[test]
fn a_moved_task_changes_the_sets_of_both_machines() {
    let mut log = shop();
    log.place("shop/web.1", 1);
    let at = log.place("shop/web.1", 2);
    assert_eq!((log.assigned_fence(1), log.assigned_fence(2)), (at, at));
    assert!(log.state.assigned_to(NodeId(1)).unwrap().tasks.is_empty());
    assert_eq!(log.state.tasks[&task("shop/web.1")].attempt, 2);
}

#[test]
fn a_stale_removal_is_void() {
    let mut log = shop();
    let placed = log.place("shop/web.1", 1);
    let removal =
        |seen_attempt| Command::Remove(vec![Removal { task: task("shop/web.1"), seen_attempt, cause: Cause::Waited }]);
    log.apply(removal(0));
    assert_eq!(*log.place_of("shop/web.1"), Place::On { node: NodeId(1), fence: placed });
    let at = log.apply(removal(1));
    assert_eq!(*log.place_of("shop/web.1"), Place::Waiting { last: Some(NodeId(1)) });
    assert_eq!(log.assigned_fence(1), at);
    log.apply(removal(1));
    assert_eq!(*log.place_of("shop/web.1"), Place::Waiting { last: Some(NodeId(1)) });
    assert_eq!(log.assigned_fence(1), at);
}

#[test]
fn a_batch_task_ends_once_and_only_by_its_own_fence() {
    let mut log = shop();
    let finish = |fence| Command::Finish { task: task("shop/migrate.1"), fence, exit: Exit::Code(0) };
    assert_eq!(log.refuse(finish(Fence::default())), Refusal::Outdated);
    let old = log.place("shop/migrate.1", 1);
    let new = log.place("shop/migrate.1", 2);
    assert_eq!(log.refuse(finish(old)), Refusal::Outdated);
    let at = log.apply(finish(new));
    assert!(matches!(log.place_of("shop/migrate.1"), Place::Ended { node: NodeId(2), exit: Exit::Code(0), .. }));
    assert_eq!(log.assigned_fence(2), at);
    assert_eq!(log.refuse(finish(new)), Refusal::Outdated);
    let again = Placement {
        task: task("shop/migrate.1"),
        seen_attempt: 2,
        node: NodeId(1),
        cause: Cause::Waited,
        older: false,
    };
    log.apply(Command::Place(vec![again]));
    assert!(matches!(log.place_of("shop/migrate.1"), Place::Ended { .. }), "what has ended is not placed");
}

#[test]
fn the_machine_of_an_ended_task_is_told_to_keep_its_output_until_it_runs_again() {
    let mut log = shop();
    let placed = log.place("shop/migrate.1", 2);
    log.apply(Command::Finish { task: task("shop/migrate.1"), fence: placed, exit: Exit::Code(0) });
    let kept = log.state.assigned_to(NodeId(2)).unwrap();
    let assigned = &kept.tasks[&task("shop/migrate.1")];
    assert_eq!((assigned.fence, assigned.ended.clone()), (placed, Some(Exit::Code(0))));
    let at = log.apply(Command::Restart { app: task("shop/migrate.1").app, job: None });
    assert_eq!(log.assigned_fence(2), at);
    assert!(log.state.assigned_to(NodeId(2)).unwrap().tasks.is_empty());
}

#[test]
fn a_service_does_not_end() {
    let mut log = shop();
    let fence = log.place("shop/web.1", 1);
    let finish = Command::Finish { task: task("shop/web.1"), fence, exit: Exit::Code(0) };
    assert_eq!(log.refuse(finish), Refusal::Outdated);
}

#[test]
fn an_equal_deploy_restarts_nothing() {
    let mut log = shop();
    log.place("shop/web.1", 1);
    let done = log.place("shop/migrate.1", 2);
    log.finish("shop/migrate.1", done);
    let tasks = log.state.tasks.clone();
    let revisions = log.state.apps[&app_name("shop")].revisions.clone();
    log.deploy(SHOP);
    assert_eq!(log.state.tasks, tasks);
    assert_eq!(log.state.apps[&app_name("shop")].revisions, revisions);
    assert_eq!(log.state.apps[&app_name("shop")].version, 2);
}

#[test]
fn what_a_node_holds_a_copy_of_does_not_change_behind_its_back() {
    let mut log = shop();
    log.place("shop/web.1", 1);
    let at = log.deploy(SHOP); // another version
    assert_eq!((log.assigned_fence(1), log.state.assigned_to(NodeId(1)).unwrap().fence), (at, at));
    let at = log.apply(scale(4)); // another count
    assert_eq!(log.assigned_fence(1), at);
    assert!(log.assigned_fence(2) < at, "a machine without a task of the app is not bothered");
}

fn scale(count: u32) -> Command {
    Command::Scale { app: app_name("shop"), job: job_name("web"), count }
}

#[test]
fn a_changed_job_changes_only_its_own_revision() {
    let mut log = shop();
    let (web, migrate) = (log.revision("web"), log.revision("migrate"));
    let at = log.deploy(&SHOP.replace("./web", "./web2"));
    assert_eq!((log.revision("web"), log.revision("migrate")), (at.index, migrate));
    assert!(web < at.index);
    for line in ["cpuset = \"0\"", "io_weight = 50"] {
        let at = log.deploy(&SHOP.replace("run = [\"./web\"]", &format!("run = [\"./web\"]\n{line}")));
        assert_eq!((log.revision("web"), log.revision("migrate")), (at.index, migrate), "{line}");
    }
}

#[test]
fn how_a_job_is_kept_apart_is_part_of_what_runs() {
    let mut log = shop();
    for line in ["isolation = \"strict\"", "user = \"1000\"", "rlimits = { nofile = 9 }"] {
        let at = log.deploy(&SHOP.replace("[service.web]", &format!("[service.web]\n{line}")));
        assert_eq!(log.revision("web"), at.index, "{line}");
    }
}

#[test]
fn a_changed_file_changes_the_revision_of_the_jobs_that_use_it() {
    let mut log = ring();
    let text = "app = \"shop\"\n[service.web]\nrun = [\"x\"]\nfiles = [\"f\"]\n[service.api]\nrun = [\"x\"]\nfiles = [\"g\"]\n";
    log.deploy(text);
    let (web, api) = (log.revision("web"), log.revision("api"));
    let mut changed = app(text);
    changed.files.get_mut("f").unwrap().executable = true;
    let at = log.apply(Command::Deploy { app: changed.into(), now: NOW });
    assert_eq!((log.revision("web"), log.revision("api")), (at.index, api));
    assert!(web < at.index);
}

#[test]
fn count_order_and_delay_change_without_a_restart() {
    let mut log = shop();
    let before = log.revision("web");
    log.deploy(&SHOP.replace("count = 3", "count = 5\nafter = [\"migrate\"]\nreschedule_after = \"1s\""));
    log.apply(scale(2));
    assert_eq!(log.revision("web"), before);
    assert_eq!(log.indexes("web"), [1, 2]);
}

#[test]
fn a_deploy_that_the_directory_does_not_show_makes_nobody_pull_it() {
    let mut log = shop();
    let before = log.state.directory_fence;
    let revised = log.deploy(&format!("{SHOP}env = {{ GREETING = \"hello\" }}\n"));
    assert_eq!(log.state.directory_fence, before);
    assert!(log.state.apps[&app_name("shop")].revisions.values().any(|revision| *revision == revised.index));
    let at = log.deploy(&format!("{SHOP}count = 2\n"));
    assert_eq!(log.state.directory_fence, at);
}

#[test]
fn scaling_down_removes_the_highest_indexes_and_tells_their_machines() {
    let mut log = shop();
    let kept = log.place("shop/web.1", 1);
    log.place("shop/web.2", 2);
    log.place("shop/web.3", 3);
    let at = log.apply(scale(1));
    assert_eq!(log.indexes("web"), [1]);
    assert_eq!(*log.place_of("shop/web.1"), Place::On { node: NodeId(1), fence: kept });
    assert_eq!((log.assigned_fence(2), log.assigned_fence(3)), (at, at));
    assert!(log.state.assigned_to(NodeId(3)).unwrap().tasks.is_empty());
    assert_eq!(log.state.directory_fence, at);
    log.apply(scale(0));
    assert!(log.indexes("web").is_empty());
}

#[test]
fn scaling_what_is_not_there_or_too_far_is_refused() {
    let mut log = shop();
    let other = Command::Scale { app: app_name("other"), job: job_name("web"), count: 1 };
    assert_eq!(log.refuse(other), Refusal::UnknownApp(app_name("other")));
    let other = Command::Scale { app: app_name("shop"), job: job_name("other"), count: 1 };
    assert_eq!(log.refuse(other), Refusal::UnknownJob(app_name("shop"), job_name("other")));
    assert!(matches!(log.refuse(scale(COUNT_MAX + 1)), Refusal::Invalid { .. }));
}

#[test]
fn the_table_of_tasks_is_bounded() {
    let mut log = ring();
    let jobs: String = (0..11).map(|i| format!("[service.j{i}]\nrun = [\"x\"]\ncount = 9000\n")).collect();
    log.deploy(&format!("app = \"big\"\n{jobs}"));
    assert_eq!(log.state.tasks.len(), 99_000);
    let text = SHOP.replace("count = 3", "count = 1000");
    let refusal = log.refuse(Command::Deploy { app: app(&text).into(), now: NOW });
    assert_eq!(refusal, Refusal::Full(TASKS_MAX, "tasks".into()));
    log.deploy(&SHOP.replace("count = 3", "count = 999"));
    assert_eq!(log.refuse(scale(1000)), Refusal::Full(TASKS_MAX, "tasks".into()));
}

#[test]
fn a_stopped_app_leaves_nothing_behind_and_its_neighbour_alone() {
    let mut log = shop();
    log.deploy(&SHOP.replace("\"shop\"", "\"shop-2\""));
    log.place("shop/web.1", 1);
    let neighbour = log.place("shop-2/web.1", 2);
    let at = log.apply(Command::Stop { app: app_name("shop") });
    assert!(log.state.tasks.keys().all(|t| t.app == app_name("shop-2")));
    assert_eq!((log.state.tasks.len(), log.state.apps.len()), (4, 1));
    assert_eq!((log.assigned_fence(1), log.assigned_fence(2)), (at, neighbour));
    assert_eq!(log.state.directory_fence, at);
    assert_eq!(log.refuse(Command::Stop { app: app_name("shop") }), Refusal::UnknownApp(app_name("shop")));
}

#[test]
fn a_job_that_is_gone_from_the_app_is_gone_from_the_machines() {
    let mut log = shop();
    log.place("shop/migrate.1", 1);
    let at = log.deploy("app = \"shop\"\n[service.web]\nrun = [\"./web\"]\n");
    assert_eq!((log.indexes("migrate"), log.indexes("web")), (vec![], vec![1]));
    assert_eq!(log.assigned_fence(1), at);
}

#[test]
fn a_restart_raises_revisions_and_runs_batch_jobs_again() {
    let mut log = shop();
    let done = log.place("shop/migrate.1", 1);
    log.finish("shop/migrate.1", done);
    let before = log.revision("migrate");
    let restart = |job: Option<&str>| Command::Restart { app: app_name("shop"), job: job.map(job_name) };
    let at = log.apply(restart(Some("web")));
    assert_eq!((log.revision("web"), log.revision("migrate")), (at.index, before));
    assert!(matches!(log.place_of("shop/migrate.1"), Place::Ended { .. }));
    let at = log.apply(restart(None));
    assert_eq!((log.revision("web"), log.revision("migrate")), (at.index, at.index));
    assert_eq!(*log.place_of("shop/migrate.1"), Place::Waiting { last: None });
    let unknown = Refusal::UnknownJob(app_name("shop"), job_name("x"));
    assert_eq!(log.refuse(restart(Some("x"))), unknown);
}

#[test]
fn a_changed_batch_job_runs_again_whether_it_ended_before_or_after_the_change() {
    let changed = SHOP.replace("./migrate", "./migrate2");
    let mut before = shop();
    let fence = before.place("shop/migrate.1", 1);
    before.finish("shop/migrate.1", fence);
    before.deploy(&changed);
    assert_eq!(*before.place_of("shop/migrate.1"), Place::Waiting { last: None });

    let mut after = shop();
    let fence = after.place("shop/migrate.1", 1);
    after.deploy(&changed);
    after.finish("shop/migrate.1", fence); // what ended is the old definition
    assert_eq!(*after.place_of("shop/migrate.1"), Place::Waiting { last: Some(NodeId(1)) });
    let fence = after.place("shop/migrate.1", 2);
    after.finish("shop/migrate.1", fence);
    assert!(matches!(after.place_of("shop/migrate.1"), Place::Ended { node: NodeId(2), exit: Exit::Code(0), .. }));
}

#[test]
fn commands_come_back_from_json() {
    let commands = [Command::Deploy { app: app(SHOP).into(), now: NOW }, join(1, member(1)), scale(2)];
    for command in commands {
        let json = serde_json::to_string(&command).unwrap();
        assert_eq!(serde_json::from_str::<Command>(&json).unwrap(), command);
    }
}
