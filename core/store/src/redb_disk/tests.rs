use super::*;
use crate::store::tests::MemoryDisk;
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

/// A block device of memory. Clones are one device.
#[derive(Clone, Debug, Default)]
struct Device(Arc<Mutex<Vec<u8>>>);

impl Device {
    fn holding(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(image)))
    }

    fn image(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl StorageBackend for Device {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let bytes = self.0.lock().unwrap();
        let from = usize::try_from(offset).unwrap();
        let found = bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let from = usize::try_from(offset).unwrap();
        self.0.lock().unwrap()[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn any_op() -> impl Strategy<Value = Op> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        4 => (0_u64..60, prop::collection::vec(bytes(), 1..8))
            .prop_map(|(from, entries)| Op::Append((from..).zip(entries).collect())),
        1 => bytes().prop_map(Op::Vote),
        1 => (0_u64..60).prop_map(Op::Truncate),
        1 => (0_u64..60, bytes()).prop_map(|(to, id)| Op::Purge(to, id)),
        1 => (bytes(), prop::collection::vec(any::<u8>(), 0..20_000)).prop_map(|(m, s)| Op::Snapshot(m, s)),
        1 => Just(Op::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The oracle is the disk of memory. After each commit the image is what a kill would leave behind.
    #[test]
    fn what_is_committed_is_there_after_a_stop_and_after_a_kill(
        commits in prop::collection::vec(
            (prop::collection::vec(any_op(), 0..5), prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), any::<bool>()),
            1..12,
        ),
    ) {
        let device = Device::default();
        let mut oracle = MemoryDisk::default();
        let mut disk = RedbDisk::on(device.clone()).unwrap();
        disk.load().unwrap();
        for (ops, committed, stop) in commits {
            disk.commit(&ops, committed.clone()).unwrap();
            oracle.commit(&ops, committed).unwrap();
            let mut killed = RedbDisk::on(Device::holding(device.image())).unwrap();
            prop_assert_eq!(killed.load().unwrap(), oracle.load().unwrap());
            if stop {
                drop(disk);
                disk = RedbDisk::on(device.clone()).unwrap();
                prop_assert_eq!(disk.load().unwrap(), oracle.load().unwrap());
            }
        }
    }
}

/// Images of a log of 40 commits: after a clean stop, after a kill; what it holds, and what it held one commit before.
struct Logged {
    stopped: Vec<u8>,
    killed: Vec<u8>,
    contents: Loaded,
    before: Loaded,
}

fn logged() -> Logged {
    let device = Device::default();
    let mut disk = RedbDisk::on(device.clone()).unwrap();
    disk.load().unwrap();
    let mut oracle = MemoryDisk::default();
    let mut before = Loaded::default();
    for n in 0..40_u8 {
        before = oracle.load().unwrap();
        let entry = vec![n; 150 + usize::from(n)];
        let ops = [Op::Append(vec![(n.into(), entry)]), Op::Vote(vec![n; 9])];
        disk.commit(&ops, Some(vec![n; 7])).unwrap();
        oracle.commit(&ops, Some(vec![n; 7])).unwrap();
    }
    let killed = device.image();
    drop(disk);
    Logged { stopped: device.image(), killed, contents: oracle.load().unwrap(), before }
}

fn load(device: Device) -> io::Result<Loaded> {
    RedbDisk::on(device)?.load()
}

/// Places to flip: all of the header, and a sample of every page that is not empty.
fn places(image: &[u8]) -> Vec<usize> {
    let used = image.chunks(4096).enumerate().filter(|(_, page)| page.iter().any(|b| *b != 0));
    let sampled = used.flat_map(|(n, page)| (n % 61..page.len()).step_by(61).map(move |at| n * 4096 + at));
    (0..320).chain(sampled).collect()
}

#[derive(Debug, Default)]
struct Outcomes {
    refused: usize,
    harmless: usize,
    one_back: usize,
}

fn flip_everywhere(image: &[u8], logged: &Logged) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for at in places(image) {
        let mut bytes = image.to_vec();
        bytes[at] ^= 0x10;
        let device = Device::holding(bytes);
        match load(device.clone()) {
            Ok(found) if found == logged.contents => outcomes.harmless += 1,
            Ok(found) if found == logged.before => outcomes.one_back += 1,
            Ok(found) => panic!("byte {at}: a damaged log was opened: {found:?}"),
            Err(_) => {
                outcomes.refused += 1;
                assert!(load(device).is_err(), "byte {at}: it was refused once only");
            }
        }
    }
    outcomes
}

#[test]
fn a_flipped_byte_is_refused_or_harmless_after_a_clean_stop() {
    let logged = logged();
    let outcomes = flip_everywhere(&logged.stopped, &logged);
    assert!(outcomes.refused > 50, "{outcomes:?}");
    assert_eq!(outcomes.one_back, 0, "{outcomes:?}");
}

/// After a kill, damage in the newest commit cannot be told from a commit that was never finished: that one may go.
#[test]
fn a_flipped_byte_is_refused_or_costs_the_newest_commit_only_after_a_kill() {
    let logged = logged();
    let outcomes = flip_everywhere(&logged.killed, &logged);
    assert!(outcomes.refused > 20, "{outcomes:?}");
}

#[test]
fn a_shortened_log_is_refused() {
    let logged = logged();
    for image in [&logged.stopped, &logged.killed] {
        for eighths in 1..8 {
            let device = Device::holding(image[..image.len() * eighths / 8].to_vec());
            match load(device.clone()) {
                Ok(found) => assert_eq!(found, logged.contents, "only unused room may be cut off"),
                Err(_) => assert!(load(device).is_err(), "it was refused once only"),
            }
        }
    }
}

#[test]
fn a_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let logged = logged();
    std::fs::write(&path, &logged.stopped).unwrap();
    assert_eq!(RedbDisk::open(&path).unwrap().load().unwrap(), logged.contents);
    for harm in [&b"not a log at all"[..], &[0; 5000], &logged.stopped[..4096]] {
        std::fs::write(&path, harm).unwrap();
        assert!(RedbDisk::open(&path).and_then(|mut disk| disk.load()).is_err(), "{} bytes", harm.len());
    }
}

#[test]
fn a_log_is_opened_by_one_process_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let held = RedbDisk::open(&path).unwrap();
    assert!(RedbDisk::open(&path).is_err());
    drop(held);
    RedbDisk::open(&path).unwrap();
}
