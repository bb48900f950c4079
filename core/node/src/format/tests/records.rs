//! The small files of the folder, byte for byte: `format-2.txt` beside this file is what format 2 writes. The jobs in them
//! are those of the log, whose every field is in the like file of `taffeta-store`.
//!
//! A new format gets a file of its own: TAFFETA_RECORD_FORMAT=1 lets the test write the one that is missing.

use crate::{
    folder::{FORMAT, Membership, Settings, file},
    renewal::Papers,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::Path,
};
use taffeta_model::{
    Assigned, AssignedSet, CertificateAuthority, Chaos, ClusterId, Directory, DirectoryJob, DirectoryMember, DnsPolicy,
    Exit, Fence, Job, JobKind, Life, NodeId, Recovery, ShippedFile, TaskId, UnixMillis, VolumeId,
};
use taffeta_net::SealedAuthority;

const NODE: NodeId = NodeId(0x1234_5678_9abc_def0);
const CLUSTER: ClusterId = ClusterId(0xc1);

fn fence(index: u64) -> Fence {
    Fence { generation: 1, term: 300, index }
}

fn task() -> TaskId {
    "shop/web.1".parse().unwrap()
}

pub(crate) fn assigned() -> AssignedSet {
    let assigned = Assigned {
        attempt: 3,
        version: 4,
        fence: fence(2),
        job: Job::new(JobKind::Batch { retries: 2 }),
        files: BTreeMap::from([("server.py".into(), ShippedFile { body: vec![1; 3], executable: true })]),
        hidden: true,
        ended: Some(Exit::Code(1)),
        args: vec!["--all".into()],
        secrets: BTreeMap::from([("db-password".parse().unwrap(), 2)]),
        volume: Some(fence(3)),
    };
    let volume = VolumeId { task: task(), name: "data".parse().unwrap() };
    AssignedSet {
        fence: fence(1),
        tasks: BTreeMap::from([(task(), assigned)]),
        volumes: Some(BTreeMap::from([(volume, fence(4))])),
    }
}

pub(crate) fn directory() -> Directory {
    let job = DirectoryJob { kind: JobKind::Service, ports: vec!["http".into()], count: 3, dns: DnsPolicy::default() };
    let member =
        DirectoryMember { name: "n1".parse().unwrap(), address: "10.0.0.1:7400".parse().unwrap(), public_key: [5; 32] };
    let authority = CertificateAuthority {
        hash: [6; 32],
        certificate: vec![7; 3],
        cross: vec![8; 2],
        since: UnixMillis(1_800_000_000_000),
    };
    Directory {
        fence: fence(5),
        apps: BTreeMap::from([("shop".parse().unwrap(), BTreeMap::from([("web".parse().unwrap(), job)]))]),
        members: BTreeMap::from([(NODE, member)]),
        admin_token_hash: [9; 32],
        removed: BTreeSet::from([NodeId(2)]),
        authorities: vec![authority],
        chaos: Chaos { blocked: None, tokens: BTreeMap::from([(NODE, [14; 32])]) },
    }
}

pub(crate) fn recovery() -> Recovery {
    Recovery {
        cluster: CLUSTER,
        generation: 1,
        node: NODE,
        date: UnixMillis(1_800_000_000_000),
        signature: vec![10; 64],
    }
}

/// Its nonce and its key are drawn, so this is how it is stored.
fn sealed() -> Vec<SealedAuthority> {
    let stored = postcard::to_stdvec(&(CLUSTER, [11_u8; 12], vec![12_u8; 48], vec![13_u8; 3])).unwrap();
    vec![postcard::from_bytes(&stored).unwrap()]
}

/// Everything that is stored by position, by the name of its file.
fn written() -> BTreeMap<&'static str, Vec<u8>> {
    let membership = Membership { cluster: CLUSTER, certificate: vec![14; 3], authority: vec![15; 3] };
    let papers = Papers {
        certificate: vec![16; 3],
        issuer: [17; 32],
        authorities: vec![vec![18; 3]],
        crosses: vec![vec![19; 2]],
    };
    let peers: BTreeMap<NodeId, SocketAddr> = BTreeMap::from([(NODE, "[2001:db8::1]:7400".parse().unwrap())]);
    let encoded = [
        (file::MEMBERSHIP, postcard::to_stdvec(&membership)),
        (file::CERTIFICATE, postcard::to_stdvec(&papers)),
        (file::STARTS, postcard::to_stdvec(&400_u64)),
        (file::LIVES, postcard::to_stdvec(&vec![Life { start: 400, nonce: 77 }])),
        (file::ASSIGNED, postcard::to_stdvec(&assigned())),
        (file::DIRECTORY, postcard::to_stdvec(&directory())),
        (file::PEERS, postcard::to_stdvec(&peers)),
        (file::AUTHORITY, postcard::to_stdvec(&sealed())),
        (file::RECOVERY, postcard::to_stdvec(&recovery())), // also of `fenced`
    ];
    encoded.into_iter().map(|(name, bytes)| (name, bytes.unwrap())).collect()
}

#[test]
fn the_files_of_the_folder_change_only_with_a_new_format() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/format/tests");
    let path = folder.join(format!("format-{FORMAT}.txt"));
    let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let now: String = written().iter().map(|(name, bytes)| format!("{name}: {}\n", hexadecimal(bytes))).collect();
    if std::env::var_os("TAFFETA_RECORD_FORMAT").is_some() && !path.exists() {
        fs::write(&path, &now).unwrap();
    }
    let known = fs::read_to_string(&path).unwrap_or_else(|e| {
        panic!("{}: {e}; TAFFETA_RECORD_FORMAT=1 records what is written now", path.display());
    });
    assert!(
        now == known,
        "a file of the data folder is stored in another shape than format {FORMAT} has. Folders of that format exist, \
         and {} stays as it is: keep the shapes of that time as `taffeta_model::v1` does, convert them in format.rs, and \
         raise FORMAT in folder.rs.\nbefore:\n{known}\nnow:\n{now}",
        path.display(),
    );
}

/// This one is stored by the names of its fields: a new one has a default.
#[test]
fn settings_that_say_only_what_the_first_ones_of_this_format_said_are_read() {
    let text = r#"{ "name": "n1", "address": "10.0.0.1:7400", "advertise": "10.0.0.1:7400", "http": null, "dns": null,
        "zone": "z1", "attributes": { "disk": "ssd" }, "api_open": true, "best_effort": true }"#;
    let settings: Settings = serde_json::from_str(text).unwrap();
    assert_eq!((settings.zone.as_str(), settings.api_open), ("z1", true));
    let again: Settings = serde_json::from_str(&serde_json::to_string(&settings).unwrap()).unwrap();
    assert_eq!(again, settings);
}
