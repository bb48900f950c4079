use super::*;
use crate::wire::encode;
use taffeta_model::UnixMillis;
use taffeta_secrets::{BackupHeader, Kek, Keys};
use taffeta_store::encode_state;

const CLUSTER: ClusterId = ClusterId(7);

fn key() -> RecoveryKey {
    RecoveryKey::new([5; 32])
}

/// A backup of a state that is encoded so.
fn backup(state: &[u8]) -> Vec<u8> {
    let authority = Authority::create(CLUSTER, [1; 32], UnixMillis(1_000_000)).unwrap();
    let kek = Kek::new([2; 32]).export();
    let keys = Keys { cluster: CLUSTER, position: Fence::default(), authority: encode(&authority.export()), kek };
    let header = BackupHeader {
        cluster: CLUSTER.to_string(),
        generation: 0,
        position: Fence::default().to_string(),
        taken_at: "2026-11-22T02:00:00Z".into(),
        node: "n1".into(),
        version: "9.9.9".into(),
        machines: vec![],
        apps: vec![],
        secrets: vec![],
        state_bytes: 0,
        keys_bytes: 0,
    };
    Backup::write(header, state, &keys, &key().public(), [3; 32])
}

fn config(root: &Path) -> FabricConfig {
    let mut config = FabricConfig::new(root.join("n1"));
    config.name = Some("n1".parse().unwrap());
    config.address = Some(SocketAddr::from(([127, 0, 0, 1], 7400)));
    config
}

#[tokio::test]
async fn a_state_of_a_newer_version_is_refused_in_words_and_nothing_is_written() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    let sound = encode_state(&State { cluster: CLUSTER, ..State::default() });
    let mut newer = sound.clone();
    newer[0] += 1;
    let bare = sound[1..].to_vec();
    for (state, words) in [(newer, "newer version of taffeta"), (bare, "cannot be read"), (vec![], "cannot be read")] {
        let refused = restore(&config, &backup(&state), &key()).await.unwrap_err();
        let said = refused.to_string();
        assert!(refused.code == ErrorCode::Invalid && said.contains(words) && said.contains("9.9.9"), "{said}");
        assert!(!config.data.exists());
    }
    restore(&config, &backup(&sound), &key()).await.unwrap_or_else(|e| panic!("{e}"));
    assert!(config.data.join(file::MEMBERSHIP).is_file());
}
