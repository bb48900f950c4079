//! A snapshot's file: 40 bytes of header (mark, node, serial number, lengths of both parts), metadata, contents. Its
//! checksum is in the log, in the very frame that makes it the newest one.

use super::{checksum::Checksum, state::SnapshotRef};
use crate::files::Files;
use std::io;

const MARK: &[u8; 8] = b"TFTsnap1";
const HEADER: usize = 40;
/// Name while it is written.
pub(super) const PARTIAL: &str = "snapshot.new";
const PREFIX: &str = "snapshot-";

pub(super) fn name(serial: u64) -> String {
    format!("{PREFIX}{serial:08}")
}

/// The serial number in a name.
pub(super) fn serial(text: &str) -> Option<u64> {
    let serial = text.strip_prefix(PREFIX)?.parse::<u32>().ok()?.into();
    (name(serial) == text).then_some(serial)
}

fn header(node: u64, serial: u64, about: &[u8], contents: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MARK);
    let parts = [node, serial, about.len() as u64, contents.len() as u64];
    for (to, part) in header[8..].chunks_exact_mut(8).zip(parts) {
        to.copy_from_slice(&part.to_le_bytes());
    }
    header
}

/// Writes a snapshot, durably. It is not the newest one until the log says so.
pub(super) fn write(
    files: &dyn Files,
    node: u64,
    serial: u64,
    (about, contents): (&[u8], &[u8]),
) -> io::Result<SnapshotRef> {
    let header = header(node, serial, about, contents);
    let (mut checksum, mut length) = (Checksum::new(), 0);
    let mut file = files.create(PARTIAL)?;
    for part in [&header[..], about, contents] {
        file.write_at(length, part)?;
        checksum = checksum.add(part);
        length += part.len() as u64;
    }
    file.sync()?;
    files.rename(PARTIAL, &name(serial))?;
    files.sync_folder()?;
    Ok(SnapshotRef { serial, length, checksum: checksum.sum() })
}

/// Takes a snapshot's file apart; the reason in words if it is not the one that the log names.
pub(super) fn read(bytes: &[u8], node: u64, expected: SnapshotRef) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    if bytes.len() as u64 != expected.length {
        return Err("its length is not what the log says");
    }
    if Checksum::new().add(bytes).sum() != expected.checksum {
        return Err("its checksum is not what the log says");
    }
    let number = |n: usize| Some(u64::from_le_bytes(bytes.get(8 * n..8 * n + 8)?.try_into().ok()?));
    let split = || {
        let length = usize::try_from(number(3)?).ok()?;
        let (about, contents) = bytes.get(HEADER..)?.split_at_checked(length)?;
        (bytes.get(..8)? == MARK && number(1)? == node && number(2)? == expected.serial).then_some((about, contents))
    };
    split()
        .map(|(about, contents)| (about.to_vec(), contents.to_vec()))
        .ok_or("it is another node's or another snapshot")
}
