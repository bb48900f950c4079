pub(super) use crate::{
    disk::{Disk, Loaded, Op, is_full},
    files::{
        Files,
        memory::{Image, MemoryFiles},
    },
    segments::{SegmentDisk, Sizes},
    store::tests::MemoryDisk,
};
pub(super) use proptest::prelude::*;
pub(super) use std::{io, sync::Arc};
pub(super) use taffeta_model::NodeId;

pub(super) const NODE: NodeId = NodeId(5);
/// Small, so that a few commits fill some segments.
pub(super) const SMALL: Sizes = Sizes { segment: 4_000, ahead: 1_000 };

pub(super) fn open(files: &MemoryFiles) -> io::Result<SegmentDisk> {
    SegmentDisk::open(Arc::new(files.clone()), NODE, SMALL)
}

/// A disk in use.
pub(super) fn opened(files: &MemoryFiles) -> SegmentDisk {
    let mut disk = open(files).unwrap();
    disk.load().unwrap();
    disk
}

pub(super) fn load(image: &Image) -> io::Result<Loaded> {
    open(&MemoryFiles::holding(image))?.load()
}

/// A log of many commits over some segments, with a snapshot and a purge; what it holds.
pub(super) fn logged() -> (MemoryFiles, Loaded) {
    let files = MemoryFiles::default();
    let (mut disk, mut oracle) = (opened(&files), MemoryDisk::default());
    for n in 0..60_u8 {
        let entry = vec![n; 150 + usize::from(n)];
        let mut ops = vec![Op::Append(vec![(n.into(), entry)]), Op::Vote(vec![n; 9])];
        if n == 30 {
            ops.extend([Op::Snapshot(vec![7; 30], vec![8; 700]), Op::Purge(22, vec![22; 5])]);
        }
        disk.commit(&ops, Some(vec![n; 7])).unwrap();
        oracle.commit(&ops, Some(vec![n; 7])).unwrap();
    }
    (files, oracle.load().unwrap())
}
