//! The CA on the voters: its key goes from one to the other, never elsewhere, and is replaced by another one on demand.
//!
//! A rotation, step by step. The leader makes a new CA, signs its key with the old one, and gives the new key to the voters.
//! When a majority has it on disk, the log names it: so it can get lost no more easily than the log itself. From then on it
//! signs; every node believes both, and shows the cross certificate, by which those who were cut off and believe only the
//! old CA can still follow the chain. All have their certificates renewed within seconds. When every member, dead or alive,
//! is known to have one of the new CA, the leader ends the old one. Cross certificates are shown ever after: whoever comes
//! back from before is refused, but believes who says so.

use crate::{
    api::{ApiError, AuthoritiesView, AuthorityView, ErrorCode},
    birth::seal_authorities,
    events::rfc3339,
    folder::file,
    node::Core,
    renewal::short,
    wire::{Ask, Told},
};
use std::{sync::Arc, time::Duration};
use taffeta_model::{AUTHORITIES_MAX, CertificateAuthority, Command, Fence, NodeId, NodeName};
use taffeta_net::{Authority, CallError, sha256};
use tokio::time::{Instant, sleep, sleep_until};

/// How often a voter without the CA asks for it.
const AUTHORITY_EVERY: Duration = Duration::from_millis(500);
/// A node keeps the keys of voters for so long after it has lost its vote.
const KEYS_KEPT: Duration = Duration::from_secs(10);
/// How long another voter may take to give the CA, or to store it.
const AUTHORITY_LIMIT: Duration = Duration::from_secs(2);
/// How long a leader may take for what only it can do.
const LEADER_LIMIT: Duration = Duration::from_secs(10);
/// Keys of CAs that a voter holds at most: of the one that signs, and of those that were to follow it. There is more than
/// one of these only if leaders have changed in the middle of a rotation.
const HELD_MAX: usize = 4;

impl Core {
    /// The CA that signs, if this node holds its key.
    pub(crate) fn signing_authority(&self) -> Option<Authority> {
        let signing = self.papers().signing();
        self.authorities().iter().find(|ca| ca.hash() == signing).cloned()
    }

    /// Whether a node votes, as far as is known here: by the log, or, where it is not followed any more, by what was pulled.
    pub(crate) fn votes_now(&self, node: NodeId) -> bool {
        self.consensus.borrow().voters.contains(&node)
    }

    /// Only a voter gets the CA.
    pub(crate) fn give_authority(&self, to: NodeId) -> Told {
        let voter = self.votes_now(to);
        match self.signing_authority().filter(|_| voter) {
            Some(authority) => {
                let (seed, certificate) = authority.export();
                Told::Authority(seed, certificate)
            }
            None => Told::No,
        }
    }

    /// Takes a CA that the leader is about to let sign.
    pub(crate) fn take_next_authority(&self, from: NodeId, seed: [u8; 32], certificate: Vec<u8>) -> Told {
        let known = self.consensus.borrow().clone();
        let from_leader = known.leader.is_some_and(|(leader, _)| leader == from);
        if !from_leader || !known.voters.contains(&self.me) {
            return Told::No;
        }
        match self.keep_authority(Authority::import(self.cluster, (seed, certificate))) {
            Ok(()) => Told::Yes,
            Err(_) => Told::No,
        }
    }

    /// Gets the CA when this node has come to vote, deletes it when it has lost its vote, and forgets one that signs no
    /// more. On the leader, ends a rotation that is complete.
    pub(crate) async fn run_authority(self: Arc<Self>) {
        let (mut lost, mut turn) = (None, 0);
        loop {
            let known = self.consensus.borrow().clone();
            let votes = known.voters.contains(&self.me);
            let signing = self.papers().signing();
            let (held, signs) = {
                let held = self.authorities();
                (held.len(), held.iter().position(|ca| ca.hash() == signing))
            };
            match signs {
                None if votes => {
                    self.fetch_authority(turn).await;
                    turn += 1;
                }
                Some(former) if votes && former > 0 => self.forget_authorities(former),
                None | Some(_) => {}
            }
            if held > 0 && self.may_forget_keys(&mut lost).await {
                self.forget_authorities(held);
                tracing::info!("this node votes no more; its copy of the CA key was deleted");
            }
            if known.leads {
                self.finish_when_complete().await;
            }
            sleep_until(self.next_beat(AUTHORITY_EVERY)).await;
        }
    }

    /// Whether what only voters hold may be deleted here: this node has lost its vote, it stays, a leader has been heard of
    /// for [`KEYS_KEPT`], and most of those who vote now have said that they hold all keys. A voter that was away while a key
    /// came may have it from nobody else. `lost` is the caller's memory.
    pub(crate) async fn may_forget_keys(&self, lost: &mut Option<Instant>) -> bool {
        let voters = {
            let known = self.consensus.borrow();
            if known.voters.contains(&self.me) || known.leader.is_none() || *self.leaving.borrow() {
                *lost = None;
                return false;
            }
            known.voters.clone()
        };
        if lost.get_or_insert_with(Instant::now).elapsed() < KEYS_KEPT {
            return false;
        }
        let asked = voters.iter().map(|id| self.ask(*id, &Ask::HoldsKeys, AUTHORITY_LIMIT));
        let told = futures::future::join_all(asked).await;
        let holders = told.iter().filter(|told| matches!(told, Ok(Told::Yes))).count();
        holders * 2 > voters.len()
    }

    /// Whether this node holds all that voters hold.
    pub(crate) fn holds_keys(&self) -> bool {
        self.signing_authority().is_some() && self.keyring.kek().is_some()
    }

    /// Asks the other voters, and after them some others: who has lost its vote keeps the keys until it is sure of its heirs.
    async fn fetch_authority(&self, turn: usize) {
        for holder in self.renewers(turn) {
            let told = self.ask(holder, &Ask::Authority, AUTHORITY_LIMIT).await;
            if let Ok(Told::Authority(seed, certificate)) = told {
                if sha256(&certificate) != self.store.read(|state| state.ca_hash) {
                    tracing::warn!(from = %holder, "a CA that is not the cluster's was offered");
                    continue;
                }
                if self.keep_authority(Authority::import(self.cluster, (seed, certificate))).is_ok() {
                    tracing::info!(from = %holder, "the CA key was received, as this node votes now");
                    return;
                }
            }
        }
    }

    /// Seals a CA on disk, as the newest, beside the one that signs and others that were to follow it: which of them does is
    /// for the log to say.
    pub(crate) fn keep_authority(&self, authority: Authority) -> std::io::Result<()> {
        let signing = self.papers().signing();
        let mut held = self.authorities();
        let mut next: Vec<Authority> = held.iter().filter(|ca| ca.hash() != authority.hash()).cloned().collect();
        next.push(authority);
        while next.len() > HELD_MAX {
            let oldest = next.iter().position(|ca| ca.hash() != signing).unwrap_or_default();
            next.remove(oldest);
        }
        seal_authorities(&*self.folder, &*self.entropy, &self.key, &next)?;
        *held = next;
        Ok(())
    }

    /// Forgets the oldest ones.
    fn forget_authorities(&self, count: usize) {
        let mut held = self.authorities();
        let gone = held.len().min(count);
        held.drain(..gone);
        let stored = match held.is_empty() {
            true => self.folder.remove(file::AUTHORITY),
            false => seal_authorities(&*self.folder, &*self.entropy, &self.key, &held),
        };
        if let Err(error) = stored {
            tracing::error!(%error, "a CA key that is not needed any more could not be deleted");
        }
    }

    /// The CA that was to sign next when a rotation was begun here before.
    fn next_authority(&self) -> Option<Authority> {
        let signing = self.papers().signing();
        let held = self.authorities();
        let signs = held.iter().position(|ca| ca.hash() == signing)?;
        held[signs + 1..].last().cloned()
    }

    /// Lets the leader do something that is more than one command.
    pub(crate) async fn through_leader(&self, ask: Ask) -> Result<Fence, ApiError> {
        let deadline = Instant::now() + LEADER_LIMIT;
        loop {
            let leader = self.wait_for_leader().await?;
            let result = if leader == self.me {
                self.lead_here(&ask).await
            } else {
                match self.ask(leader, &ask, LEADER_LIMIT).await {
                    Ok(Told::Submitted(result)) => result,
                    // Never sent, or refused before it was looked at: another leader may be there soon.
                    Err(CallError::Unreachable(..) | CallError::UnknownNode(_)) => Err(self.no_quorum()),
                    Ok(_) | Err(CallError::Refused(_)) => Err(ApiError::new(ErrorCode::Failed, "an unexpected reply")),
                    Err(CallError::Timeout | CallError::Broken(_)) => return Err(crate::node::unknown_outcome()),
                }
            };
            match result {
                Err(e) if e.code == ErrorCode::NoQuorum && Instant::now() < deadline => {
                    sleep(Duration::from_millis(200)).await;
                }
                result => return result,
            }
        }
    }

    /// What [`Core::through_leader`] may ask; this node must lead.
    pub(crate) async fn lead_here(&self, ask: &Ask) -> Result<Fence, ApiError> {
        if !self.consensus.borrow().leads {
            return Err(self.no_quorum());
        }
        match ask {
            Ask::Rotate => self.rotate().await,
            Ask::FinishRotation { force } => self.finish_rotation(*force).await,
            Ask::Remove { node, force } => self.remove_member(*node, *force).await,
            Ask::Ping
            | Ask::Generation(_)
            | Ask::Whereabouts(_)
            | Ask::PingVia(_)
            | Ask::Exchange { .. }
            | Ask::Farewell(_)
            | Ask::Pull(_)
            | Ask::Authority
            | Ask::NextAuthority(..)
            | Ask::Submit(_)
            | Ask::Join(_)
            | Ask::Read(_)
            | Ask::Depart
            | Ask::Logs(..)
            | Ask::Keyring
            | Ask::SetSecret(..)
            | Ask::Secrets(_)
            | Ask::Backup
            | Ask::HoldsKeys
            | Ask::Usage(_)
            | Ask::Volumes
            | Ask::Figures(_)
            | Ask::Output(..)
            | Ask::Files(..)
            | Ask::Chaos(_)
            | Ask::Lease(_) => Err(in_another_way()),
            #[cfg(test)]
            Ask::Newer => Err(in_another_way()),
        }
    }

    async fn rotate(&self) -> Result<Fence, ApiError> {
        let failed =
            |e: &dyn std::fmt::Display| ApiError::new(ErrorCode::Failed, format!("the CA was not rotated: {e}"));
        if self.store.read(|state| state.authorities.len()) >= AUTHORITIES_MAX {
            let message = "the CA is being rotated already: the one before it is still believed";
            return Err(ApiError::new(ErrorCode::Conflict, message).help("`taffeta ca status` says for whom it waits"));
        }
        let former = self.signing_authority().ok_or_else(|| failed(&"the leader has no CA key yet; try again"))?;
        let now = self.dates.agreed();
        // What was proposed with the one before may still take effect, although nobody could say so: its key is offered
        // again, so that whichever entry does names a CA that a majority holds.
        let next = match self.next_authority() {
            Some(begun) => begun,
            None => {
                let mut seed = [0; 32];
                self.entropy.fill(&mut seed);
                Authority::create(self.cluster, seed, now).map_err(|e| failed(&e))?
            }
        };
        let cross = next.cross_signed_by(&former, now).map_err(|e| failed(&e))?;
        let entry = |ca: &Authority, cross| CertificateAuthority {
            hash: ca.hash(),
            certificate: ca.certificate().to_vec(),
            cross,
            since: now,
        };
        let (first, second) = (entry(&former, vec![]), entry(&next, cross));
        let (seed, certificate) = next.export();
        self.keep_authority(next).map_err(|e| failed(&e))?;
        let voters = self.consensus.borrow().voters.clone();
        let ask = Ask::NextAuthority(seed, certificate);
        let others = voters.iter().filter(|id| **id != self.me);
        let asked = others.map(|id| self.ask(*id, &ask, AUTHORITY_LIMIT));
        let told = futures::future::join_all(asked).await;
        let stored = 1 + told.iter().filter(|told| matches!(told, Ok(Told::Yes))).count();
        if stored * 2 <= voters.len() {
            return Err(failed(&format!(
                "{stored} of {} voters have stored the new key, which is no majority",
                voters.len()
            ))
            .help("nothing was changed; start the missing machines, then try again"));
        }
        let at = self.write_here(Command::RotateAuthority { former: first, next: second }).await?;
        tracing::info!("the CA is rotated: the new one signs from now on");
        Ok(at)
    }

    async fn finish_rotation(&self, force: bool) -> Result<Fence, ApiError> {
        let Some(former) = self.former_authority() else {
            return Err(ApiError::new(ErrorCode::Conflict, "no rotation of the CA is under way")
                .help("`taffeta ca rotate` begins one"));
        };
        let waiting = self.rotation_waits_for();
        if !force && !waiting.is_empty() {
            let message = format!("no certificate of the new CA yet: {}", waiting.join(", "));
            return Err(ApiError::new(ErrorCode::Forbidden, message).help(
                "wait until they have one; those that will not come back: `taffeta remove NODE`, or \
                 `taffeta ca finish --force`, after which they have to join anew",
            ));
        }
        let at = self.write_here(Command::FinishRotation { former }).await?;
        tracing::info!("the rotation of the CA is complete: the former one is believed no more");
        Ok(at)
    }

    async fn finish_when_complete(&self) {
        if self.former_authority().is_some()
            && self.rotation_waits_for().is_empty()
            && let Err(error) = self.finish_rotation(false).await
        {
            tracing::warn!(%error, "the rotation of the CA could not be completed yet");
        }
    }

    /// The CA that is believed besides the one that signs.
    fn former_authority(&self) -> Option<[u8; 32]> {
        self.store.read(|state| (state.authorities.len() == AUTHORITIES_MAX).then(|| state.authorities[0].hash))
    }

    /// Names of members that are not known to have a certificate of the CA that signs. By the state, which the leader has: what
    /// it shows and believes itself, and its directory, may be of the moment before, when all had one of the CA that signed.
    fn rotation_waits_for(&self) -> Vec<String> {
        let (signing, members) = self.store.read(|state| {
            (state.ca_hash, state.members.values().map(|member| (member.id, member.name.clone())).collect::<Vec<_>>())
        });
        self.without_certificate(&signing, members)
    }

    fn without_certificate(
        &self,
        signing: &[u8; 32],
        members: impl IntoIterator<Item = (NodeId, NodeName)>,
    ) -> Vec<String> {
        let (sets, signing, own) = (self.gossip.sets(), short(signing), short(&self.issuer.borrow()));
        let shown = |id: NodeId| if id == self.me { Some(own) } else { sets.get(&id).map(|set| set.info.authority) };
        let without = members.into_iter().filter(|(id, _)| shown(*id) != Some(signing));
        without.map(|(_, name)| name.to_string()).collect()
    }

    /// The CAs, for people.
    pub(crate) fn authorities_view(&self) -> AuthoritiesView {
        let directory = Arc::clone(&self.directory.borrow());
        let signing = self.papers().signing();
        let believed = self.papers().authorities.clone();
        let members = directory.members.iter().map(|(id, member)| (*id, member.name.clone()));
        let view = |der: &Vec<u8>| {
            let hash = sha256(der);
            let entry = directory.authorities.iter().find(|ca| ca.hash == hash);
            AuthorityView {
                hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
                since: entry.map(|ca| rfc3339(ca.since)),
                signs: hash == signing,
            }
        };
        AuthoritiesView {
            rotating: believed.len() == AUTHORITIES_MAX,
            authorities: believed.iter().map(view).collect(),
            waiting: self.without_certificate(&signing, members),
            node: self.name().to_string(),
            certificate_expires_at: rfc3339(self.credentials.ends()),
        }
    }
}

fn in_another_way() -> ApiError {
    ApiError::new(ErrorCode::Failed, "this is asked in another way")
}
