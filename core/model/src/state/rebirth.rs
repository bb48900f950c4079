//! A state that was restored from a backup begins another life.

use super::{Cause, Member, State};
use crate::{Fence, NodeId};
use std::collections::BTreeSet;

impl State {
    /// Raises the generation and makes `member` the machine that goes on. The others stay members, so that they may come
    /// back; whoever had its name or address gives way. Every set and the directory count as changed, so that a machine
    /// that comes back with newer ones obeys what is here. Join tokens are void: some may have been used since.
    pub fn begin_again(&mut self, member: Member, admin_token_hash: [u8; 32]) {
        self.generation = self.generation.saturating_add(1);
        let at = Fence { generation: self.generation, ..self.applied };
        let replaced = |m: &Member| m.id == member.id || m.name == member.name || m.address == member.address;
        let gone: BTreeSet<NodeId> = self.members.values().filter(|m| replaced(m)).map(|m| m.id).collect();
        self.members.retain(|id, _| !gone.contains(id));
        self.leave_machines(at, &gone, Cause::MachineRemoved);
        self.members.insert(member.id, Member { joined: at, ..member });
        self.members.values_mut().for_each(|m| m.assigned_fence = at);
        self.admin_token_hash = admin_token_hash;
        self.tokens.clear();
        (self.applied, self.directory_fence, self.pool_fence) = (at, at, at);
    }
}
