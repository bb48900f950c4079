//! What is broken on purpose, here and in the whole cluster, and what could be.

use super::{
    Hurt,
    choose::{Ground, choose, choose_some_task, example},
    end::block_view,
    journal::Entry,
    netfilter,
    serve::{ChaosAsk, OwnView, VIEW_LIMIT, failed},
};
use crate::{
    api::{ApiError, ChaosBackendView, ChaosNodeView, ChaosView, FaultView, NodeView},
    node::Core,
    wire::{Ask, Query, Told},
};
use std::{net::SocketAddr, path::Path};
use taffeta_chaos_plan::FaultKind;
use taffeta_model::{Liveness, NodeId};

impl Core {
    /// Faults that are on anywhere, as far as this node knows.
    pub(crate) fn active_faults(&self) -> usize {
        let own = self.chaos.as_ref().map_or(0, |chaos| chaos.inside().told.len());
        own + self.heard_of(&[]).len()
    }

    /// What members other than these have told of their faults.
    fn heard_of(&self, answering: &[NodeId]) -> Vec<FaultView> {
        let directory = self.directory.borrow();
        self.heard_faults.of(|id| id != self.me && !answering.contains(&id) && directory.members.contains_key(&id))
    }

    /// Faults of this node.
    pub(crate) fn own_active_faults(&self) -> usize {
        self.chaos.as_ref().map_or(0, |chaos| chaos.inside().told.len())
    }

    pub(super) fn own_chaos_view(&self) -> OwnView {
        let hurt = self.chaos.as_ref().and_then(|chaos| chaos.hurt());
        let backends = hurt.map(|hurt| self.backends(hurt)).unwrap_or_default();
        let node = ChaosNodeView {
            node: self.name().to_string(),
            address: self.settings.advertise.to_string(),
            answers: true,
            chaos: hurt.is_some(),
            backends,
        };
        let entries = self.chaos.as_ref().map(|chaos| chaos.journal.entries()).unwrap_or_default();
        OwnView { blocked: self.chaos_block().map(block_view), node, faults: entries.iter().map(Entry::view).collect() }
    }

    /// What would bring about which fault here.
    pub(super) fn backends(&self, hurt: &Hurt) -> Vec<ChaosBackendView> {
        let ends = self.everybody_else();
        let can_freeze = taffeta_isolation_linux::can_freeze(self.executor.permitted());
        let ground = self.ground(hurt, &ends, true, None);
        let backend = |kind: FaultKind| {
            let on_node = || choose("0123456789abcdef", &example(kind), &ground).map(|choice| choice.backend);
            let chosen = choose_some_task(kind, can_freeze).unwrap_or_else(on_node);
            let (backend, refused) = chosen.map_or_else(|why| ("", Some(why)), |backend| (backend, None));
            ChaosBackendView { fault: kind.to_string(), backend: backend.into(), refused }
        };
        FaultKind::all().into_iter().map(backend).collect()
    }

    pub(super) fn ground<'a>(
        &'a self,
        hurt: &Hurt,
        ends: &'a [SocketAddr],
        everybody: bool,
        run: Option<&'a Path>,
    ) -> Ground<'a> {
        Ground {
            own: self.settings.advertise,
            ends,
            everybody,
            no_nft: netfilter::missing(),
            run,
            agent: hurt.agent.pid,
            journal: self.chaos.as_ref().map(|chaos| chaos.journal.folder()),
            permitted: Some(self.executor.permitted()),
            serves_dns: self.info.dns.is_some(),
            leads: self.consensus.borrow().leads,
            drained: self.store.read(|state| state.members.get(&self.me).is_some_and(|member| member.draining)),
        }
    }

    /// Whether this node is drained, by the leader's word where the state is not here; `None` if nobody tells.
    pub(super) async fn is_drained(&self) -> Option<bool> {
        if self.has_state() {
            return self.store.read(|state| state.members.get(&self.me).map(|member| member.draining));
        }
        let leader = self.consensus.borrow().leader.map(|(leader, _)| leader)?;
        let told = self.ask(leader, &Ask::Read(Query::Nodes), VIEW_LIMIT).await;
        let Ok(Told::Document(Ok(document))) = told else { return None };
        let nodes: Vec<NodeView> = serde_json::from_slice(&document).ok()?;
        nodes.iter().find(|node| node.id == self.me.to_string()).map(|node| node.draining)
    }

    pub(super) fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        let directory = self.directory.borrow();
        self.net().address(node).or_else(|| directory.members.get(&node).map(|member| member.address))
    }

    pub(super) fn others(&self) -> Vec<NodeId> {
        self.directory.borrow().members.keys().copied().filter(|id| *id != self.me).collect()
    }

    pub(super) fn everybody_else(&self) -> Vec<SocketAddr> {
        self.others().into_iter().filter_map(|id| self.address_of(id)).collect()
    }

    /// What is broken in the whole cluster.
    pub(crate) async fn chaos_view(&self) -> ChaosView {
        let own = self.own_chaos_view();
        let others = self.others().into_iter();
        let asked = others.map(|id| async move { (id, self.view_of(id).await) });
        let answers: Vec<(NodeId, Result<OwnView, ApiError>)> = futures::future::join_all(asked).await;
        let (mut nodes, mut faults, mut blocked) = (vec![own.node], own.faults, own.blocked);
        let mut answering = vec![self.me];
        for (id, answer) in answers {
            match answer {
                Ok(theirs) => {
                    answering.push(id);
                    self.heard_faults.settle(id, &theirs.faults).iter().for_each(|view| self.tell_fault(view));
                    nodes.push(theirs.node);
                    faults.extend(theirs.faults);
                    blocked = blocked.or(theirs.blocked);
                }
                Err(_) => nodes.push(ChaosNodeView {
                    node: self.name_of(id),
                    address: self.address_of(id).map(|a| a.to_string()).unwrap_or_default(),
                    // As far as the others know: when it had joined, or was last started.
                    chaos: self.directory.borrow().chaos.tokens.contains_key(&id),
                    ..ChaosNodeView::default()
                }),
            }
        }
        faults.extend(self.heard_of(&answering));
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        faults.sort_by(|a, b| (&a.begun_at, &a.id).cmp(&(&b.begun_at, &b.id)));
        ChaosView { blocked, nodes, faults }
    }

    /// What another node says about its faults; one that the ring holds for dead is not waited for.
    pub(super) async fn view_of(&self, node: NodeId) -> Result<OwnView, ApiError> {
        if self.met(node) == Some(Liveness::Down) {
            return Err(failed(format!("{} is down", self.name_of(node))));
        }
        self.ask_chaos(node, &ChaosAsk::View, VIEW_LIMIT).await
    }
}
