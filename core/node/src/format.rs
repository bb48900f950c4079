//! The layout of the data folder: one that is newer is refused, the last release's is converted.

use crate::{
    api::ErrorCode,
    folder::{FORMAT, Folder, Membership, encoded, file, load, save},
    start_error::StartError,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, net::SocketAddr};
use taffeta_model::{AssignedSet, Directory, NodeId, v1};
use taffeta_net::SealedAuthority;

/// The oldest layout that is converted.
const CONVERTED_FROM: u32 = 1;

/// Files in their new encoding, by name: written before the first of them is replaced.
type Converted = Vec<(String, Vec<u8>)>;

/// Marks a new folder, converts that of the last release, and refuses any other.
pub(crate) fn check(folder: &dyn Folder) -> Result<(), StartError> {
    let Some(found) = folder.read(file::FORMAT)? else {
        folder.write(file::FORMAT, FORMAT.to_string().as_bytes())?;
        return Ok(());
    };
    let text = String::from_utf8_lossy(&found);
    match text.trim().parse::<u32>() {
        Ok(FORMAT) => Ok(()),
        Ok(CONVERTED_FROM) => convert(folder),
        Ok(newer) if newer > FORMAT => Err(of_newer(newer)),
        Ok(_) | Err(_) => {
            let message = format!("the data folder has format `{}`; this version reads format {FORMAT}", text.trim());
            Err(StartError::new(ErrorCode::Invalid, message)
                .help("start the version of taffeta that wrote it, or give another --data"))
        }
    }
}

/// The refusal of a folder that a newer version wrote.
pub(crate) fn of_newer(found: u32) -> StartError {
    let message = format!(
        "the data folder has format {found}: a newer version of taffeta wrote it, and this one reads format {FORMAT}"
    );
    StartError::new(ErrorCode::Invalid, message)
        .help("start the version of taffeta that wrote it, or a newer one, or give another --data")
}

/// From layout 1. The log needs nothing, as its entries and snapshots tell their versions. It can be interrupted anywhere
/// and done again: the new contents are written as one file first, then file by file, and the mark comes last.
fn convert(folder: &dyn Folder) -> Result<(), StartError> {
    let converted: Converted = match load(folder, file::CONVERTED)? {
        Some(converted) => converted,
        None => {
            let files = [
                one::<v1::AssignedSet, AssignedSet>(folder, file::ASSIGNED, AssignedSet::from)?,
                one::<v1::Directory, Directory>(folder, file::DIRECTORY, Directory::from)?,
                one::<SealedAuthority, _>(folder, file::AUTHORITY, |sealed| vec![sealed])?,
                // These had no checksum.
                one::<Membership, _>(folder, file::MEMBERSHIP, |same| same)?,
                one::<BTreeMap<NodeId, SocketAddr>, _>(folder, file::PEERS, |same| same)?,
                one::<u64, _>(folder, file::STARTS, |same| same)?,
            ];
            let converted = files.into_iter().flatten().collect();
            save(folder, file::CONVERTED, &converted)?;
            converted
        }
    };
    for (name, contents) in &converted {
        folder.write(name, contents)?;
    }
    folder.write(file::FORMAT, FORMAT.to_string().as_bytes())?;
    folder.remove(file::CONVERTED)?;
    tracing::info!(from = CONVERTED_FROM, to = FORMAT, "the data folder was converted");
    Ok(())
}

fn one<Old: DeserializeOwned, New: Serialize>(
    folder: &dyn Folder,
    name: &str,
    renew: impl FnOnce(Old) -> New,
) -> Result<Option<(String, Vec<u8>)>, StartError> {
    let Some(contents) = folder.read(name)? else { return Ok(None) };
    let old = postcard::from_bytes::<Old>(&contents).map_err(|_| StartError::damaged(name))?;
    Ok(Some((name.into(), encoded(&renew(old))?)))
}

#[cfg(test)]
pub(crate) mod tests;
