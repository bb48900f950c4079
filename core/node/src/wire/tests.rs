//! What nodes ask of one another and tell, byte for byte: `wire-2.txt` beside this file. Every field is set; the jobs and commands
//! in it are those of the log, whose every field is in the like file of `taffeta-store`.

use super::*;
use crate::{
    api::{ErrorCode, ExecEnd, ExecRequest, ExecSize, ExecTerminal},
    exec::{Answers, Says},
    format::tests::records::{assigned, directory, recovery},
};
use std::{collections::BTreeMap, path::Path};
use taffeta_isolation_plan::{FileEntry, FileKind, FilePiece};
use taffeta_model::{Cpus, Liveness, Resources};
use taffeta_shapes::{assert_every_variant, assert_recorded};
use taffeta_swim::Identity;

const NODE: NodeId = NodeId(0x1234_5678_9abc_def0);
const DATE: UnixMillis = UnixMillis(1_800_000_000_000);

type Named<T> = Vec<(&'static str, T)>;

fn fence(index: u64) -> Fence {
    Fence { generation: 1, term: 300, index }
}

fn task() -> TaskId {
    "shop/web.1".parse().unwrap()
}

fn secret() -> SecretName {
    "db-password".parse().unwrap()
}

fn veiled() -> Veiled {
    Veiled(Secret::new(b"hunter2".to_vec()))
}

fn metric() -> Metric {
    Metric { name: "queue".into(), path: "/metrics".into(), port: "http".into(), target: 1_500 }
}

fn fact() -> MemberFact {
    let incarnation = Incarnation { start: 300, renewal: 400 };
    let identity = Identity { id: NODE, address: "10.0.0.1:7400".parse().unwrap(), incarnation };
    MemberFact { identity, refutations: 500, liveness: Liveness::Suspect }
}

fn member() -> Member {
    Member {
        id: NODE,
        name: "n1".parse().unwrap(),
        address: "10.0.0.1:7400".parse().unwrap(),
        public_key: [5; 32],
        zone: "z1".into(),
        attributes: BTreeMap::from([("disk".into(), "ssd".into())]),
        capacity: Resources { cpus: Cpus(4_000), memory: 300 << 20, disk: 70 << 30, ports: 12_000 },
        custom: BTreeMap::from([("gpu".into(), 2)]),
        draining: true,
        maintenance: vec![],
        joined: fence(1),
        assigned_fence: fence(2),
    }
}

fn join() -> JoinRequest {
    JoinRequest {
        token: TokenId(5),
        secret: [6; 16],
        member: member(),
        signature: vec![7; 64],
        speaks: Versions { min: 1, max: 2 },
    }
}

fn queries() -> Named<Query> {
    let app = App { name: "shop".parse().unwrap(), team: None, jobs: BTreeMap::new(), files: BTreeMap::new() };
    vec![
        ("nodes", Query::Nodes),
        ("apps", Query::Apps),
        ("tasks", Query::Tasks(Some("shop".parse().unwrap()))),
        ("why", Query::Why(task())),
        ("plan", Query::Plan(app)),
        ("status", Query::Status),
        ("tokens", Query::Tokens),
        ("secrets", Query::Secrets),
        ("quotas", Query::Quotas),
        ("volumes", Query::Volumes),
        ("maintenance", Query::Maintenance),
    ]
}

fn asks() -> Named<Ask> {
    let pull = Pull { assigned: Some(fence(1)), directory: Some(fence(2)), leader: Some((NODE, 300)), confirm: true };
    let older = LogReadV1 { stderr: true, offset: Some(400), tail: 500, limit: 600 };
    let read = LogRead {
        stderr: true,
        offset: Some(400),
        tail: 500,
        limit: 600,
        lines: Some(700),
        since: Some(DATE),
        times: true,
        run: Some("web.1-1".into()),
    };
    let lease = LeaseAsk { obeyed: fence(1), held: vec![(task(), fence(2))], rid: vec![task()] };
    vec![
        ("ping", Ask::Ping),
        ("generation", Ask::Generation(Some(recovery()))),
        ("whereabouts", Ask::Whereabouts(NODE)),
        ("ping via", Ask::PingVia(NODE)),
        ("exchange", Ask::Exchange { parts: 1 << 63 | 1, facts: vec![fact()] }),
        ("farewell", Ask::Farewell(Incarnation { start: 300, renewal: 400 })),
        ("pull", Ask::Pull(pull)),
        ("authority", Ask::Authority),
        ("next authority", Ask::NextAuthority([8; 32], vec![9; 3])),
        ("rotate", Ask::Rotate),
        ("finish rotation", Ask::FinishRotation { force: true }),
        ("remove", Ask::Remove { node: NODE, force: true }),
        ("submit", Ask::Submit(Command::Stop { app: "shop".parse().unwrap() })),
        ("join", Ask::Join(join())),
        ("depart", Ask::Depart),
        ("logs", Ask::Logs(task(), older)),
        ("keyring", Ask::Keyring),
        ("set secret", Ask::SetSecret(secret(), veiled())),
        ("secrets", Ask::Secrets(vec![(secret(), 300)])),
        ("backup", Ask::Backup),
        ("holds keys", Ask::HoldsKeys),
        ("lease", Ask::Lease(lease)),
        ("usage", Ask::Usage(vec![Gauge { task: task(), metric: Some(metric()) }])),
        ("volumes", Ask::Volumes),
        ("figures", Ask::Figures(task())),
        ("output", Ask::Output(task(), read)),
        ("files", Ask::Files(task(), FileAsk { path: "a/b".into(), offset: 300, bytes_max: 400 })),
        ("chaos", Ask::Chaos(b"{}".to_vec())),
    ]
}

fn error() -> ApiError {
    ApiError::new(ErrorCode::Conflict, "no").help("try").field("count")
}

fn errors() -> Named<ErrorCode> {
    vec![
        ("invalid", ErrorCode::Invalid),
        ("unauthorized", ErrorCode::Unauthorized),
        ("forbidden", ErrorCode::Forbidden),
        ("not found", ErrorCode::NotFound),
        ("conflict", ErrorCode::Conflict),
        ("no quorum", ErrorCode::NoQuorum),
        ("disk full", ErrorCode::DiskFull),
        ("timeout", ErrorCode::Timeout),
        ("failed", ErrorCode::Failed),
    ]
}

fn pulled() -> Pulled {
    Pulled {
        assigned: Some(assigned()),
        confirmed: true,
        directory: Some(directory()),
        voters: vec![NODE],
        learners: vec![NodeId(2)],
        leader: Some((NODE, 300)),
        date: DATE,
        level: 2,
    }
}

fn welcome() -> Welcome {
    Welcome {
        cluster: ClusterId(0xc1),
        certificate: vec![1; 3],
        authority: vec![2; 3],
        members: vec![(NODE, "10.0.0.1:7400".parse().unwrap())],
        voters: vec![NODE],
        directory: directory(),
    }
}

fn files() -> Named<FileTold> {
    let kinds = [FileKind::File, FileKind::Folder, FileKind::Link, FileKind::Other];
    let entry = |kind| FileEntry { name: "a".into(), kind, size: 300, mode: 0o644, modified: DATE };
    vec![
        ("folder", FileTold::Folder { entries: kinds.map(entry).into(), more: true }),
        ("piece of a file", FileTold::Piece(FilePiece { bytes: vec![1, 2], size: 300, identity: 400 })),
    ]
}

fn told() -> Named<Told> {
    let run = || "web.1-1".to_owned();
    let older = LogChunkV1 { bytes: vec![1, 2], next: 300, run: run(), ended: true };
    let (next, from, gone, node) = (300, 298, 400, "n1".into());
    let chunk = LogChunk { bytes: vec![1, 2], next, run: run(), ended: true, from, gone, node, over: true };
    let leases = LeaseTold { granted: vec![(task(), fence(1), Duration::from_millis(7_500))], known: vec![task()] };
    let metered = Metered {
        task: task(),
        run: run(),
        at: Duration::from_millis(1_500),
        cpu: Some(Duration::from_millis(2_500)),
        memory: Some(300 << 20),
        metric: Some(1.5),
    };
    let volume = VolumeId { task: task(), name: "data".parse().unwrap() };
    let volume = VolumeUse { id: volume, born: fence(3), bytes: Some(400), enforced: true };
    let [folder, piece] = [0, 1].map(|at| files().swap_remove(at).1);
    vec![
        ("yes", Told::Yes),
        ("generation", Told::Generation(Some(recovery()))),
        ("at", Told::At(Some("10.0.0.1:7400".parse().unwrap()))),
        ("no", Told::No),
        ("facts", Told::Facts(vec![fact()])),
        ("pulled", Told::Pulled(Box::new(pulled()))),
        ("authority", Told::Authority([3; 32], vec![4; 3])),
        ("submitted", Told::Submitted(Ok(fence(1)))),
        ("refusal", Told::Submitted(Err(error()))),
        ("joined", Told::Joined(Ok(Box::new(welcome())))),
        ("refusal of a join", Told::Joined(Err("no".into()))),
        ("document", Told::Document(Ok(b"{}".to_vec()))),
        ("elsewhere", Told::Elsewhere(Some(NODE))),
        ("logs", Told::Logs(Ok(older))),
        ("keyring", Told::Keyring(veiled())),
        ("secret set", Told::SecretSet(Ok(300))),
        ("secrets", Told::Secrets(vec![(secret(), 300, veiled())])),
        ("backup", Told::Backup(Ok(vec![5; 3]))),
        ("leases", Told::Leases(leases)),
        ("usage", Told::Usage(vec![metered])),
        ("volumes", Told::Volumes(vec![volume])),
        ("output", Told::Output(Ok(chunk))),
        ("folder", Told::Files(Ok(folder))),
        ("piece of a file", Told::Files(Ok(piece))),
    ]
}

fn says() -> Named<Says> {
    let size = ExecSize { columns: 300, rows: 50 };
    let terminal = Some(ExecTerminal { kind: "xterm".into(), size });
    let request = ExecRequest { run: vec!["sh".into(), "-i".into()], terminal, input: true };
    vec![
        ("begin", Says::Begin(task(), request)),
        ("input", Says::Input(b"ls".to_vec())),
        ("end of the input", Says::InputEnds),
        ("size", Says::Size(size)),
        ("alive", Says::Alive),
    ]
}

fn answers() -> Named<Answers> {
    vec![
        ("begun", Answers::Begun(Ok(()))),
        ("not begun", Answers::Begun(Err(ApiError::new(ErrorCode::Conflict, "it does not run").help("look")))),
        ("stdout", Answers::Stdout(b"a".to_vec())),
        ("stderr", Answers::Stderr(b"b".to_vec())),
        ("ended", Answers::Ended(ExecEnd::Code(300))),
        ("ended by a signal", Answers::Ended(ExecEnd::Signal(9))),
        ("lost", Answers::Ended(ExecEnd::Lost("gone".into()))),
        ("alive", Answers::Alive),
    ]
}

fn encoded<T: Serialize>(named: &Named<T>) -> Vec<Vec<u8>> {
    named.iter().map(|(_, value)| encode(value)).collect()
}

#[test]
fn what_nodes_say_to_each_other_changes_only_with_a_new_version() {
    let mut now = BTreeMap::new();
    now.extend(asks().iter().map(|(name, ask)| (format!("ask {name}"), encode(ask))));
    now.extend(queries().into_iter().map(|(name, query)| (format!("ask read {name}"), encode(&Ask::Read(query)))));
    now.extend(told().iter().map(|(name, told)| (format!("told {name}"), encode(told))));
    now.extend(errors().iter().map(|(name, code)| (format!("error {name}"), encode(code))));
    now.extend(says().iter().map(|(name, says)| (format!("exec says {name}"), encode(says))));
    now.extend(answers().iter().map(|(name, told)| (format!("exec answers {name}"), encode(told))));
    now.insert("join".into(), encode(&join()));
    now.insert("welcome".into(), encode(&welcome()));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/tests/wire-2.txt");
    assert_recorded(&path, &now, taffeta_shapes::WIRE);
}

#[test]
fn every_message_is_recorded() {
    let mut all = encoded(&asks());
    all.push(encode(&Ask::Read(Query::Nodes)));
    all.push(encode(&Ask::Newer));
    assert_every_variant::<Ask>(&all);
    assert_every_variant::<Query>(&encoded(&queries()));
    assert_every_variant::<Told>(&encoded(&told()));
    assert_every_variant::<ErrorCode>(&encoded(&errors()));
    assert_every_variant::<FileTold>(&encoded(&files()));
    assert_every_variant::<Says>(&encoded(&says()));
    assert_every_variant::<Answers>(&encoded(&answers()));
}

#[test]
fn what_is_recorded_is_read() {
    for (name, bytes) in
        taffeta_shapes::recorded(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/tests/wire-2.txt"))
    {
        let read = match name.split(' ').next() {
            Some("ask") => decode::<Ask>(&bytes).map(|ask| encode(&ask)),
            Some("told") => decode::<Told>(&bytes).map(|told| encode(&told)),
            Some("error") => decode::<ErrorCode>(&bytes).map(|code| encode(&code)),
            Some("exec") if name.starts_with("exec says") => decode::<Says>(&bytes).map(|says| encode(&says)),
            Some("exec") => decode::<Answers>(&bytes).map(|answer| encode(&answer)),
            Some("join") => decode::<JoinRequest>(&bytes).map(|join| encode(&join)),
            Some("welcome") => decode::<Welcome>(&bytes).map(|welcome| encode(&welcome)),
            _ => panic!("{name}"),
        };
        assert_eq!(read.unwrap_or_else(|e| panic!("{name}: {e}")), bytes, "{name}");
    }
}
