use super::*;
use crate::{random::stream, trace::Trace};

fn disk() -> Arc<Disk> {
    Disk::new(Run::new(Trace::new(false)), 1)
}

fn contents(disk: &Arc<Disk>) -> Vec<u8> {
    let file = LogFile(disk.open());
    let mut out = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read(0, &mut out).unwrap();
    out
}

#[test]
fn a_killed_process_leaves_what_it_wrote() {
    let disk = disk();
    LogFile(disk.open()).write(0, b"synced or not").unwrap();
    disk.close();
    assert_eq!(contents(&disk), b"synced or not");
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_tears_the_rest() {
    let (mut lost, mut torn) = (0, 0);
    for seed in 0..50 {
        let disk = disk();
        let file = LogFile(disk.open());
        file.write(0, &[1; 4096]).unwrap();
        file.sync_data().unwrap();
        file.write(0, &[2; 4096]).unwrap();
        disk.cut_power(&mut stream(seed, "power"));
        let left = contents(&disk);
        let new = left.iter().take_while(|byte| **byte == 2).count();
        assert!(left[new..].iter().all(|byte| *byte == 1), "what was synced is there");
        assert!(new.is_multiple_of(SECTOR), "sectors are whole");
        lost += usize::from(new == 0);
        torn += usize::from(new > 0 && new < 4096);
    }
    assert!(lost > 0 && torn > 0, "{lost} lost, {torn} torn");
}

#[test]
fn a_process_that_is_no_more_reaches_nothing() {
    let disk = disk();
    let (file, folder) = (LogFile(disk.open()), disk.open());
    disk.close();
    assert!(file.write(0, b"late").is_err() && file.sync_data().is_err() && file.len().is_err());
    assert!(folder.write("late", b"").is_err() && folder.read("late").is_err());
    assert!(!disk.has_file("late"));
}

#[test]
fn a_full_disk_takes_no_byte_until_there_is_room() {
    let disk = disk();
    let (file, folder) = (LogFile(disk.open()), disk.open());
    disk.set_full(true);
    let full = |e: io::Error| e.kind() == io::ErrorKind::StorageFull;
    assert!(file.write(0, b"x").is_err_and(full) && file.set_len(1).is_err_and(full));
    assert!(folder.write("x", b"x").is_err_and(full));
    disk.set_full(false);
    file.write(0, b"x").unwrap();
    folder.write("x", b"x").unwrap();
    assert_eq!(folder.read("x").unwrap(), Some(b"x".to_vec()));
}
