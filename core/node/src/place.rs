//! That a data folder is the node's own, and not a copy: by where it lies, by what it remembers, and by whether another
//! process with its identity answers elsewhere.
//!
//! What cannot be told here: a copy that takes the machine's id, the file's number and its birth along, as an image of a
//! whole disk does, while the original stands still. Its lives are told apart later, in `lives`.

use crate::{
    api::ErrorCode,
    folder::{Folder, file},
    generation::Generation,
    start_error::StartError,
    wire::{Ask, Told, decode, encode},
};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};
use taffeta_model::{Directory, NodeId};
use taffeta_net::{Lane, Net};

/// What has happened to a folder that was set back.
const STALE: &str = "the data folder is an older copy: this node has lived on after it was made, and has forgotten \
                                what it promised since";
/// What to do with it.
const STALE_HELP: &str =
    "move it away and join again with a new token (`taffeta token create` on a member); tasks are placed anew";
/// What to do with a folder that lies elsewhere.
const MOVED_HELP: &str = "if the original will never start again, and this is all of it at its newest, say so: `taffeta up \
                          --moved`; else move it away and join again with a new token";
/// Members that are asked where this node was last.
const ASKED_MAX: usize = 5;
/// How long they may take.
const ASK_LIMIT: Duration = Duration::from_secs(1);

/// Marks a folder as set back, so that no later start takes it for a good one, and gives the refusal.
pub(crate) fn mark_stale(folder: &dyn Folder) -> StartError {
    if let Err(error) = folder.write(file::STALE, b"a later life of this node is known\n") {
        tracing::error!(%error, "that the data folder is stale could not be stored");
    }
    stale()
}

/// The refusal of a folder that was set back.
pub(crate) fn stale() -> StartError {
    StartError::new(ErrorCode::Conflict, STALE).help(STALE_HELP)
}

/// Refuses a folder that is known to be stale, and one that does not lie where it did, unless it was said to be moved.
pub(crate) fn check(folder: &dyn Folder, moved: bool) -> Result<(), StartError> {
    if folder.read(file::STALE)?.is_some() {
        return Err(stale());
    }
    let (Some(bound), Some(now)) = (folder.read(file::PLACE)?, folder.place()?) else { return Ok(()) };
    let bound = String::from_utf8_lossy(&bound);
    if moved || same_place(&bound, &now) {
        return Ok(());
    }
    let message = format!(
        "the data folder was copied or moved: by its file `place` its lock file was `{}` and is `{now}`",
        bound.trim()
    );
    Err(StartError::new(ErrorCode::Conflict, message).help(MOVED_HELP))
}

/// Binds the folder to where it lies.
pub(crate) fn bind(folder: &dyn Folder) -> Result<(), StartError> {
    let Some(now) = folder.place()? else { return Ok(()) };
    if folder.read(file::PLACE)?.as_deref() != Some(now.as_bytes()) {
        folder.write(file::PLACE, now.as_bytes())?;
    }
    Ok(())
}

/// What both know must be equal. A file system that knows no birth, or a machine without an id, says less.
fn same_place(bound: &str, now: &str) -> bool {
    let value = |key: &str| now.split_whitespace().filter_map(|p| p.split_once('=')).find(|(k, _)| *k == key);
    let parts = bound.split_whitespace().filter_map(|part| part.split_once('='));
    parts.into_iter().all(|(key, was)| value(key).is_none_or(|(_, is)| is == was))
}

/// The node that is to start.
pub(crate) struct Wanted {
    /// Its id.
    pub(crate) me: NodeId,
    /// Where it is to be reached.
    pub(crate) own: SocketAddr,
    /// Whether its folder was said to be moved.
    pub(crate) moved: bool,
}

/// Refuses a start while another process with this node's identity answers where the cluster knows it to be. Looked at
/// when the node comes to another address, or its folder was said to be moved; called before it takes part in anything.
pub(crate) async fn check_alone(
    net: &Net,
    wanted: &Wanted,
    generation: &Generation,
    directory: &Directory,
) -> Result<(), StartError> {
    let Wanted { me, own, moved } = *wanted;
    let listed = directory.members.get(&me).map(|member| member.address);
    if !moved && listed.is_none_or(|listed| listed == own) {
        return Ok(());
    }
    let ask = generation.mark(&encode(&Ask::Whereabouts(me)));
    let others = directory.members.keys().filter(|id| **id != me).take(ASKED_MAX);
    let asked = others.map(|peer| net.call(*peer, Lane::Control, &ask, ASK_LIMIT));
    let told = futures::future::join_all(asked).await;
    let told = told.into_iter().flatten().filter_map(|reply| match decode::<Told>(&reply) {
        Ok(Told::At(address)) => address,
        Ok(_) | Err(_) => None,
    });
    let places: BTreeSet<SocketAddr> = told.chain(listed).filter(|place| *place != own).collect();
    for place in places {
        if net.who_is_at(place).await == Some(me) {
            let message = format!("the data folder is in use twice: this very node runs at {place}");
            return Err(StartError::new(ErrorCode::Conflict, message).help(
                "stop that one first if this is to take its place, and do not keep two copies of a data folder",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::same_place;

    #[test]
    fn a_place_is_the_same_if_what_is_known_of_both_is() {
        let here = "inode=7 born=9 machine=aa";
        assert!(same_place(here, here));
        assert!(same_place("inode=7", here) && same_place(here, "inode=7 born=9"), "less is known");
        assert!(!same_place(here, "inode=8 born=9 machine=aa"), "another file");
        assert!(!same_place(here, "inode=7 born=10 machine=aa"), "another file with the same number");
        assert!(!same_place(here, "inode=7 born=9 machine=bb"), "another machine");
    }
}
