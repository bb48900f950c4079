//! Looking for values where they must not be: as they are, and as programs would write them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// What is looked for.
pub(crate) struct Needles {
    needles: Vec<(String, Vec<u8>)>,
    /// Bytes that one of them begins with.
    begins: [bool; 256],
}

impl Needles {
    /// The values, and what they look like in hexadecimal, in base64 at any offset, and as lists of numbers.
    pub(crate) fn of(values: &[&str]) -> Self {
        Self::of_bytes(&values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>())
    }

    /// The same of values that are no text.
    pub(crate) fn of_bytes(values: &[&[u8]]) -> Self {
        let mut needles = vec![];
        for (n, value) in values.iter().enumerate() {
            let bytes: &[u8] = value;
            let mut add = |how: &str, text: Vec<u8>| needles.push((format!("value {n} {how}"), text));
            add("as it is", bytes.to_vec());
            add("in hexadecimal", bytes.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect());
            add("in upper hexadecimal", bytes.iter().flat_map(|b| format!("{b:02X}").into_bytes()).collect());
            for offset in 0..3 {
                // What comes before and after changes the first and last characters.
                let text = STANDARD_NO_PAD.encode([&b"\0\0"[..offset], bytes].concat());
                let text = &text[4..text.len() - 4];
                add("in base64", text.into());
                add("in base64 for addresses", text.replace('+', "-").replace('/', "_").into());
            }
            for separator in [",", ", "] {
                let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
                add("as numbers", numbers.join(separator).into_bytes());
            }
        }
        let mut begins = [false; 256];
        needles.iter().for_each(|(_, needle)| begins[usize::from(needle[0])] = true);
        Self { needles, begins }
    }

    /// Which of them is in these bytes.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Option<&str> {
        for (at, first) in bytes.iter().enumerate().filter(|(_, first)| self.begins[usize::from(**first)]) {
            let _ = first;
            if let Some((what, _)) = self.needles.iter().find(|(_, needle)| bytes[at..].starts_with(needle)) {
                return Some(what);
            }
        }
        None
    }

    /// Files below a folder that hold one of them. Links are not followed.
    pub(crate) fn found_below(&self, folder: &Path) -> Vec<String> {
        let (mut found, mut files) = (vec![], 0);
        self.walk(folder, &mut found, &mut files);
        assert!(files > 0, "there is nothing below {}", folder.display());
        found
    }

    fn walk(&self, folder: &Path, found: &mut Vec<String>, files: &mut usize) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                self.walk(&path, found, files);
            } else if kind.is_file() {
                *files += 1;
                if let Some(what) = fs::read(&path).ok().and_then(|bytes| self.found_in(&bytes).map(String::from)) {
                    found.push(format!("{}: {what}", path.display()));
                }
            }
        }
    }

    /// Panics if a process has one of them anywhere in its memory. Says so if it may not be looked at.
    pub(crate) fn not_in_memory_of(&self, pid: u32) {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process lives");
        let Ok(mut memory) = File::open(format!("/proc/{pid}/mem")) else {
            eprintln!("SKIPPED: the memory of another process may not be read here");
            return;
        };
        let mut bytes_read = 0;
        for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw"))) {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let number = |text: &str| u64::from_str_radix(text, 16).expect("hexadecimal");
            let (from, to) = range.map(|(from, to)| (number(from), number(to))).expect("a range");
            let mut bytes = vec![0; usize::try_from(to - from).expect("64 bits")];
            let read = memory.seek(SeekFrom::Start(from)).and_then(|_| memory.read(&mut bytes)).unwrap_or(0);
            bytes_read += read;
            assert_eq!(self.found_in(&bytes[..read]), None, "in the memory of {pid}: {line}");
        }
        assert!(bytes_read > 0, "nothing of {pid} could be read");
    }
}

/// What nodes have left in memory that outlives them.
pub(crate) fn below_shm(needles: &Needles) -> Vec<String> {
    let ours = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("taffeta-");
    let folders = fs::read_dir("/dev/shm").into_iter().flatten().flatten().filter(ours);
    let (mut found, mut files) = (vec![], 0); // there may be none
    folders.for_each(|folder| needles.walk(&folder.path(), &mut found, &mut files));
    found
}
