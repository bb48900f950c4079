use crate::{Backup, BackupError, BackupHeader, Damaged, Fresh, Kek, Keys, RecoveryKey};
use proptest::prelude::*;
use taffeta_model::{ClusterId, Fence, Secret, SecretName};

const CLUSTER: ClusterId = ClusterId(7);

fn name(name: &str) -> SecretName {
    SecretName::new(name).unwrap()
}

fn fresh(n: u8) -> Fresh {
    Fresh { key: [n; 32], nonce: [n; 12] }
}

#[test]
fn an_envelope_opens_only_where_it_belongs() {
    let kek = Kek::new([1; 32]);
    let value = Secret::new(b"hunter2".to_vec());
    let envelope = kek.encrypt(CLUSTER, (&name("db"), 3), &value, &fresh(9));
    assert!(envelope.fits());
    assert_eq!(kek.decrypt(CLUSTER, (&name("db"), 3), &envelope), Ok(value));
    for (cluster, other, version) in [(ClusterId(8), "db", 3), (CLUSTER, "dc", 3), (CLUSTER, "db", 4)] {
        assert_eq!(
            kek.decrypt(cluster, (&name(other), version), &envelope),
            Err(Damaged),
            "{cluster} {other} {version}"
        );
    }
    assert_eq!(Kek::new([2; 32]).decrypt(CLUSTER, (&name("db"), 3), &envelope), Err(Damaged));
}

#[test]
fn nothing_shows_a_key_or_a_value() {
    let kek = Kek::new(*b"0123456789abcdef0123456789abcdef");
    let value = Secret::new(b"hunter2".to_vec());
    let envelope = kek.encrypt(CLUSTER, (&name("db"), 1), &value, &fresh(9));
    let key = RecoveryKey::new([5; 32]);
    let shown = format!("{kek:?} {value:?} {envelope:?} {key:?}");
    assert_eq!(shown, "Kek(hidden) (hidden) Envelope(23 bytes) RecoveryKey(hidden)");
    let held = [&envelope.sealed[..], &envelope.wrapped].concat();
    assert!(!held.windows(7).any(|window| window == b"hunter2"));
}

#[test]
fn the_recovery_key_is_read_from_its_file() {
    let key = RecoveryKey::new([5; 32]);
    let file = key.file(CLUSTER);
    let read: RecoveryKey = file.parse().unwrap();
    assert_eq!(read.public(), key.public());
    let last: RecoveryKey = file.lines().last().unwrap().parse().unwrap();
    assert_eq!(last.public(), key.public());
    for wrong in ["", "# nothing\n", "taffeta-recovery-2-AAAA", "taffeta-recovery-1-AAAA", &format!("{file}{file}")] {
        assert!(wrong.parse::<RecoveryKey>().is_err(), "{wrong}");
    }
}

fn header() -> BackupHeader {
    BackupHeader {
        cluster: CLUSTER.to_string(),
        generation: 2,
        position: "2.3.4".into(),
        taken_at: "2026-03-01T00:00:00Z".into(),
        node: "n1".into(),
        version: "0.1.0".into(),
        machines: vec!["n1".into()],
        apps: vec!["shop".into()],
        secrets: vec!["db".into()],
        state_bytes: 0,
        keys_bytes: 0,
    }
}

fn file(recovery: &RecoveryKey) -> Vec<u8> {
    let position = Fence { generation: 2, term: 3, index: 4 };
    let keys = Keys { cluster: CLUSTER, position, authority: vec![1, 2, 3], kek: [8; 32] };
    Backup::write(header(), b"the state\nwith a line", &keys, &recovery.public(), [6; 32])
}

#[test]
fn a_backup_is_read_as_it_was_written() {
    let recovery = RecoveryKey::new([5; 32]);
    let backup = Backup::read(&file(&recovery)).unwrap();
    assert_eq!(backup.state, b"the state\nwith a line");
    let (state_bytes, keys_bytes) = (21, backup.header.keys_bytes);
    assert_eq!(backup.header, BackupHeader { state_bytes, keys_bytes, ..header() });
    let keys = backup.open(&recovery).unwrap();
    assert_eq!((keys.cluster, keys.authority.clone(), keys.kek()), (CLUSTER, vec![1, 2, 3], Kek::new([8; 32])));
    assert_eq!(backup.open(&RecoveryKey::new([4; 32])).unwrap_err(), BackupError::WrongKey);
}

#[test]
fn keys_do_not_open_beside_another_state() {
    let recovery = RecoveryKey::new([5; 32]);
    let mut forged = file(&recovery);
    let at = forged.windows(9).position(|window| window == b"the state").unwrap();
    forged[at] ^= 1;
    let end = forged.len() - 32;
    let sum = super::backup_hash(&forged[..end]);
    forged[end..].copy_from_slice(&sum);
    let backup = Backup::read(&forged).expect("whoever forges makes the checksum right");
    assert_eq!(backup.open(&recovery).unwrap_err(), BackupError::WrongKey);
}

#[test]
fn another_format_is_named() {
    let newer = b"taffeta-backup 3\nsomething else".as_slice();
    assert_eq!(Backup::read(newer).unwrap_err(), BackupError::OtherFormat(3));
    assert_eq!(Backup::read(b"hello\n").unwrap_err(), BackupError::NoBackup);
    assert_eq!(Backup::read(b"").unwrap_err(), BackupError::NoBackup);
}

proptest! {
    #[test]
    fn any_flipped_bit_is_noticed(at in 0usize..1_000, bit in 0u8..8) {
        let mut file = file(&RecoveryKey::new([5; 32]));
        let at = at % file.len();
        file[at] ^= 1 << bit;
        prop_assert!(Backup::read(&file).is_err());
    }

    #[test]
    fn any_cut_is_noticed(length in 0usize..1_000) {
        let file = file(&RecoveryKey::new([5; 32]));
        prop_assert!(Backup::read(&file[..length % file.len()]).is_err());
    }

    #[test]
    fn any_bytes_give_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Backup::read(&[b"taffeta-backup 1\n", &bytes[..]].concat()).is_err());
    }
}
