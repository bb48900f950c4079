//! Files that a task's machine downloads before the task starts.

use crate::{Job, app::is_plain_file_name};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// Most files that one job has fetched: each is looked at before every start.
pub const FETCHES_MAX: usize = 32;

/// Longest address in bytes, as most servers take it.
const URL_BYTES_MAX: usize = 2048;

/// One file from the network. What it holds is known beforehand by its digest, so it does not matter who serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// `http://` or `https://`, without a fragment.
    pub url: String,
    /// Of the body, as it is sent.
    pub digest: Sha256,
    /// Its name in the task's folder. Of an archive that is unpacked: the folder for what is in it, `None` for the task's
    /// folder itself.
    pub name: Option<String>,
    /// Whether it is an archive (tar, plain or by gzip or zstd) of which the task finds the contents.
    pub unpack: bool,
    /// Whether the file may be executed. In an archive each file says so itself.
    pub executable: bool,
}

/// A SHA-256 digest. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a SHA-256: 64 hexadecimal digits are, as `sha256sum` prints them");
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut digest = [0; 32];
        for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(digest))
    }
}

impl Fetch {
    /// The file of this address with this digest, under the name that the address ends in, if it ends in one.
    pub fn new(url: impl Into<String>, digest: Sha256) -> Self {
        let url = url.into();
        let name = name_in(&url).map(Into::into);
        Self { url, digest, name, unpack: false, executable: false }
    }

    /// For people: its name, else the end of its address.
    pub fn title(&self) -> &str {
        self.name.as_deref().or_else(|| name_in(&self.url)).unwrap_or(&self.url)
    }

    fn check(&self) -> Result<(), String> {
        check_url(&self.url)?;
        match &self.name {
            Some(name) if !is_plain_file_name(name) => {
                return Err(format!("`{name}` is not a plain file name: no `/`, and not `.` or `..`"));
            }
            None if !self.unpack => {
                return Err(format!("`{}` does not end in a file name: say `name = \"...\"`", self.url));
            }
            Some(_) | None => {}
        }
        if self.unpack && self.executable {
            return Err(format!("`{}`: each file of an archive says itself whether it is executable", self.url));
        }
        let ending = name_in(&self.url).unwrap_or_default().to_ascii_lowercase();
        if self.unpack && [".zip", ".7z", ".rar", ".xz", ".bz2"].iter().any(|other| ending.ends_with(other)) {
            return Err(format!("`{ending}` cannot be unpacked: .tar, .tar.gz, .tgz and .tar.zst can"));
        }
        Ok(())
    }
}

/// The file name that the path of an address ends in.
fn name_in(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let path = rest.split('?').next()?;
    let (_, name) = path.rsplit_once('/')?;
    is_plain_file_name(name).then_some(name)
}

/// Refuses what cannot be fetched from, in words.
fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err(format!("`{url}` is not an address to fetch from: it begins with https:// or http://"));
    };
    if url.len() > URL_BYTES_MAX || !url.bytes().all(|b| b.is_ascii_graphic()) || url.contains('#') {
        return Err(format!(
            "an address has at most {URL_BYTES_MAX} bytes, and spaces and the like are written as %20"
        ));
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("an address with a user or a password in it would be seen by everybody: leave them out".into());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    if host.is_empty() || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(format!("`{url}`: `{authority}` is not HOST or HOST:PORT"));
    }
    Ok(())
}

impl Job {
    pub(super) fn check_fetch(&self) -> Result<(), String> {
        if self.fetch.len() > FETCHES_MAX {
            return Err(format!("{} files; at most {FETCHES_MAX} are fetched", self.fetch.len()));
        }
        self.fetch.iter().try_for_each(Fetch::check)?;
        let volume = self.volume.as_ref().map(|volume| volume.name.as_str());
        let mut taken: BTreeSet<&str> = self.files.iter().map(String::as_str).chain(volume).collect();
        for name in self.fetch.iter().filter_map(|fetch| fetch.name.as_deref()) {
            if !taken.insert(name) {
                return Err(format!("`{name}` is the name of something else in its folder, too: say `name = \"...\"`"));
            }
        }
        Ok(())
    }

    pub(super) fn around_bytes(&self) -> usize {
        let fetched = self.fetch.iter().map(|fetch| fetch.url.len() + fetch.name.as_ref().map_or(0, String::len));
        let mounts = self.mounts.iter().map(|mount| mount.host.as_str().len() + mount.at.as_str().len());
        fetched.chain(mounts).chain(self.tmpfs.iter().map(|tmpfs| tmpfs.at.as_str().len())).sum()
    }
}
