//! Users and groups of the machine, as `/etc/passwd` and `/etc/group` tell them to the process that asks.
//!
//! Without the C library's services: those may load code and ask the network, in a process that is to be small and quick.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};
use taffeta_model::{Account, RunAs};

/// Longest line of either file that is read: a group of some thousand members.
const LINE_BYTES_MAX: u64 = 256 << 10;

/// Most groups of one user (`NGROUPS_MAX` of Linux).
const GROUPS_MAX: usize = 65_536;

/// Who a process is to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The other groups that it is a member of.
    pub(crate) groups: Vec<u32>,
}

impl Ids {
    /// Root, in no other group.
    pub(crate) const ROOT: Self = Self { uid: 0, gid: 0, groups: vec![] };
}

/// Looks up who that is. A user's number need not be in the file: its group then is the one of that number.
pub(crate) fn resolve(run_as: &RunAs) -> io::Result<Ids> {
    resolve_in(Path::new("/etc"), run_as)
}

pub(super) fn resolve_in(etc: &Path, run_as: &RunAs) -> io::Result<Ids> {
    let passwd = etc.join("passwd");
    let entry = find(&passwd, |fields| match &run_as.user {
        Account::Name(name) => fields.first() == Some(&name.as_str()),
        Account::Id(id) => fields.get(2).and_then(|field| field.parse().ok()) == Some(*id),
    });
    // A name is nothing without the file, a number stands for itself.
    let entry = match (entry, &run_as.user) {
        (Ok(entry), _) => entry,
        (Err(e), Account::Name(name)) => return Err(unknown("user", name, &passwd, Some(e))),
        (Err(_), Account::Id(_)) => None,
    };
    let (name, uid, own) = match (entry, &run_as.user) {
        (Some(fields), _) => user_of(&fields).ok_or_else(|| broken(&passwd, &fields))?,
        (None, Account::Id(id)) => (None, *id, *id),
        (None, Account::Name(name)) => return Err(unknown("user", name, &passwd, None)),
    };
    match &run_as.group {
        Some(group) => Ok(Ids { uid, gid: group_id(&etc.join("group"), group)?, groups: vec![] }),
        None => {
            let groups = name.map_or_else(|| Ok(vec![]), |name| groups_of(&etc.join("group"), &name, own))?;
            Ok(Ids { uid, gid: own, groups })
        }
    }
}

fn user_of(fields: &[String]) -> Option<(Option<String>, u32, u32)> {
    Some((Some(fields.first()?.clone()), fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

fn group_id(file: &Path, group: &Account) -> io::Result<u32> {
    let name = match group {
        Account::Id(id) => return Ok(*id),
        Account::Name(name) => name,
    };
    let fields = find(file, |fields| fields.first() == Some(&name.as_str()));
    let fields = fields.map_err(|e| unknown("group", name, file, Some(e)))?;
    let fields = fields.ok_or_else(|| unknown("group", name, file, None))?;
    fields.get(2).and_then(|id| id.parse().ok()).ok_or_else(|| broken(file, &fields))
}

/// The groups that have this user among their members, its own excepted. None if there is no such file.
fn groups_of(file: &Path, user: &str, own: u32) -> io::Result<Vec<u32>> {
    let mut groups = vec![];
    let read = each(file, |fields| {
        let member = fields.get(3).is_some_and(|members| members.split(',').any(|member| member == user));
        let id: Option<u32> = fields.get(2).and_then(|id| id.parse().ok());
        groups.extend(id.filter(|id| member && *id != own));
        groups.len() < GROUPS_MAX
    });
    match read {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        read => read.map(|()| groups),
    }
}

/// The fields of the first line for which it is true.
fn find(file: &Path, is_it: impl Fn(&[&str]) -> bool) -> io::Result<Option<Vec<String>>> {
    let mut found = None;
    each(file, |fields| {
        if is_it(fields) {
            found = Some(fields.iter().map(|field| (*field).to_owned()).collect());
        }
        found.is_none()
    })?;
    Ok(found)
}

/// Shows each line, split, until told to stop. What is no text is passed over.
fn each(file: &Path, mut goes_on: impl FnMut(&[&str]) -> bool) -> io::Result<()> {
    let mut lines = BufReader::new(File::open(file)?);
    let mut line = vec![];
    loop {
        line.clear();
        if io::Read::take(&mut lines, LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let Ok(text) = str::from_utf8(&line) else { continue };
        let fields: Vec<&str> = text.trim_end_matches('\n').split(':').collect();
        if !goes_on(&fields) {
            return Ok(());
        }
    }
}

fn unknown(what: &str, name: &str, file: &Path, why: Option<io::Error>) -> io::Error {
    let why = why.map_or_else(String::new, |e| format!(" ({e})"));
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("{what} `{name}`: this machine has none in {}{why}", file.display()),
    )
}

fn broken(file: &Path, fields: &[String]) -> io::Error {
    let name = fields.first().map_or("", String::as_str);
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: the line of `{name}` has no numbers", file.display()))
}
