//! Commands about members and the tokens that let them in.

use super::{Cause, MEMBERS_MAX, Member, Place, REMOVED_MAX, State, TOKENS_MAX, Token, TokenRole, leases};
use crate::{Fence, JobKind, Life, NodeId, Refusal, Resources, TaskId, TokenId, UnixMillis};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};
use subtle::ConstantTimeEq;

/// A removed member is remembered for so long: its certificates have ended then, with all that is granted after their end,
/// and weeks are left for clocks that are wrong.
const REMOVED_KEPT: Duration = Duration::from_secs(60 * 86_400);

impl State {
    pub(super) fn join(
        &mut self,
        at: Fence,
        id: TokenId,
        secret_hash: &[u8; 32],
        now: UnixMillis,
        member: &Member,
    ) -> Result<(), Refusal> {
        self.check_token(id, secret_hash, now)?;
        if self.removed.contains_key(&member.id) {
            return Err(Refusal::RemovedKey(member.id));
        }
        // A join that is asked twice, since its answer was lost, counts once, also against a token that it used up.
        let rejoins = self.members.contains_key(&member.id);
        let token = self.tokens.get(&id).ok_or(Refusal::UnknownToken)?;
        if let Some(uses) = token.uses.filter(|uses| !rejoins && token.used >= *uses) {
            return Err(Refusal::TokenUsedUp(uses));
        }
        self.add_member(at, member)?;
        if let Some(token) = self.tokens.get_mut(&id).filter(|_| !rejoins) {
            token.used = token.used.saturating_add(1);
        }
        Ok(())
    }

    pub(super) fn add_member(&mut self, at: Fence, member: &Member) -> Result<(), Refusal> {
        if self.removed.contains_key(&member.id) {
            return Err(Refusal::RemovedKey(member.id));
        }
        if let Some(known) = self.members.get(&member.id) {
            if known.public_key != member.public_key {
                return Err(Refusal::KeyMismatch(member.id));
            }
        } else if self.members.len() >= MEMBERS_MAX {
            return Err(Refusal::Full(MEMBERS_MAX, "members".into()));
        }
        for other in self.members.values().filter(|other| other.id != member.id) {
            if other.name == member.name {
                return Err(Refusal::NameTaken(member.name.to_string(), other.id));
            }
            if other.address == member.address {
                return Err(Refusal::AddressTaken(member.address, other.name.to_string()));
            }
        }
        let joined = self.members.get(&member.id).map_or(at, |known| known.joined);
        let assigned_fence = self.members.get(&member.id).map_or(at, |known| known.assigned_fence);
        let draining = self.members.get(&member.id).is_some_and(|known| known.draining);
        let maintenance = self.members.get(&member.id).map(|known| known.maintenance.clone()).unwrap_or_default();
        let known = Member { joined, assigned_fence, draining, maintenance, ..member.clone() };
        self.members.insert(member.id, known);
        self.directory_fence = at;
        self.pool_fence = at;
        Ok(())
    }

    /// Whether a join with this token would be let in now; how often it was used is looked at when it is.
    pub fn check_token(&self, id: TokenId, secret_hash: &[u8; 32], now: UnixMillis) -> Result<(), Refusal> {
        let token = self.tokens.get(&id).ok_or(Refusal::UnknownToken)?;
        // In constant time: how long it takes tells nothing of where the two begin to differ.
        if !bool::from(token.secret_hash.ct_eq(secret_hash)) {
            return Err(Refusal::WrongSecret);
        }
        match token.role {
            TokenRole::Node => {} // a role that is added is to be refused here
        }
        if token.expires <= now {
            return Err(Refusal::TokenExpired((now.0 - token.expires.0) / 1000));
        }
        Ok(())
    }

    pub(super) fn refresh(
        &mut self,
        at: Fence,
        node: NodeId,
        address: SocketAddr,
        (capacity, custom): (Resources, &BTreeMap<String, u64>),
        attributes: &BTreeMap<String, String>,
        zone: &str,
    ) -> Result<(), Refusal> {
        if let Some(other) = self.members.values().find(|m| m.address == address && m.id != node) {
            return Err(Refusal::AddressTaken(address, other.name.to_string()));
        }
        let member = self.members.get_mut(&node).ok_or(Refusal::UnknownMember(node))?;
        if member.address != address {
            self.directory_fence = at; // the directory has nothing else of this: no need for all nodes to pull it
        }
        self.pool_fence = at;
        member.address = address;
        member.capacity = capacity;
        member.custom = custom.clone();
        member.attributes = attributes.clone();
        member.zone = zone.into();
        Ok(())
    }

    pub(super) fn revoke_token(&mut self, id: TokenId) -> Result<(), Refusal> {
        self.tokens.remove(&id).map(drop).ok_or(Refusal::UnknownToken)
    }

    /// Its name and address are free for another machine then. Its tasks wait for another place; what a batch task gave
    /// that ended there has gone with it, and the task has ended all the same.
    pub(super) fn remove_member(&mut self, at: Fence, node: NodeId, now: UnixMillis) -> Result<(), Refusal> {
        let member = self.members.get(&node).ok_or(Refusal::UnknownMember(node))?;
        if self.members.len() == 1 {
            return Err(Refusal::LastMember(member.name.to_string()));
        }
        self.members.remove(&node);
        self.chaos.tokens.remove(&node);
        self.leave_machines(at, &BTreeSet::from([node]), Cause::MachineRemoved);
        self.removed.retain(|_, date| *date + REMOVED_KEPT > now);
        if self.removed.len() >= REMOVED_MAX {
            let first = self.removed.iter().min_by_key(|(_, date)| **date).map(|(id, _)| *id);
            first.and_then(|id| self.removed.remove(&id));
        }
        self.removed.insert(node, now);
        self.directory_fence = at;
        self.pool_fence = at;
        Ok(())
    }

    /// Tasks that run on these machines wait for another; a daemon's slot goes with its machine.
    pub(super) fn leave_machines(&mut self, at: Fence, nodes: &BTreeSet<NodeId>, cause: Cause) {
        let on = |node: &NodeId| self.tasks.of_machine(*node).filter(|(_, task)| task.node().is_some());
        let gone: Vec<TaskId> = nodes.iter().flat_map(on).map(|(id, _)| id.clone()).collect();
        for id in gone {
            let app = self.apps.get_mut(&id.app);
            let job = app.as_ref().and_then(|app| app.app.jobs.get(&id.job));
            if let Some(&Place::On { node, fence }) = self.tasks.get(&id).map(|task| &task.place) {
                leases::leave(&mut self.leased, &id, (node, fence), job);
            }
            if job.is_some_and(|job| job.kind == JobKind::Daemon) {
                self.tasks.remove(&id);
            } else {
                self.tasks.update(&id, |task| {
                    task.place = Place::Waiting { last: task.node() };
                    task.cause = cause.clone();
                });
            }
            if let Some(app) = app {
                app.touched = at;
            }
        }
    }

    pub(super) fn drain(&mut self, at: Fence, node: NodeId, on: bool) -> Result<(), Refusal> {
        let member = self.members.get_mut(&node).ok_or(Refusal::UnknownMember(node))?;
        if member.draining != on {
            member.draining = on;
            self.pool_fence = at;
        }
        Ok(())
    }

    pub(super) fn started(&mut self, node: NodeId, life: Life) -> Result<(), Refusal> {
        if !self.members.contains_key(&node) {
            return Err(Refusal::UnknownMember(node));
        }
        if self.lives.get(&node).is_some_and(|known| life.is_over(known)) {
            return Err(Refusal::Outdated);
        }
        self.lives.insert(node, life);
        Ok(())
    }

    pub(super) fn create_token(&mut self, id: TokenId, token: &Token) -> Result<(), Refusal> {
        if self.tokens.get(&id).is_some_and(|known| known.secret_hash == token.secret_hash) {
            return Ok(()); // asked twice, since the answer was lost: its uses stay counted
        }
        if self.tokens.len() >= TOKENS_MAX && !self.tokens.contains_key(&id) {
            // Tokens live an hour by default: the one that ends first is the one least missed.
            let first = self.tokens.iter().min_by_key(|(_, t)| t.expires).map(|(id, _)| *id);
            first.and_then(|id| self.tokens.remove(&id));
        }
        self.tokens.insert(id, token.clone());
        Ok(())
    }
}
