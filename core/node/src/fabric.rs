//! `Fabric`: one node, as whoever runs it or links it in sees it.

use crate::{
    api::{ApiError, Backend, DeployRequest, Deployed, ErrorCode},
    backend::NodeBackend,
    doors::Doors,
    folder::Settings,
    http::HttpServer,
    node::Core,
};
use futures::future::BoxFuture;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use taffeta_dns_answer::{Answer, Data, Explained, Name, Record, RecordType};
use taffeta_dns_server::{DnsServer, Responder};
use taffeta_model::{AppName, Fence, JobKind, JobName, NodeId, NodeName, Phase, TaskId, TaskRecord};
use tokio::{task::JoinSet, time::Instant};

/// Most services that an embedding program may publish on one node.
pub const PUBLISHED_MAX: usize = 100;

/// A service that an embedding program publishes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The app, a DNS label.
    pub app: AppName,
    /// The service, a DNS label.
    pub service: JobName,
    /// Where it listens; the node's own address by default.
    pub address: Option<IpAddr>,
    /// Ports by name; the first is the one that SRV of the bare name gives.
    pub ports: Vec<(String, u16)>,
    /// Tags.
    pub tags: Vec<String>,
    /// Its share of the clients; [`taffeta_model::WEIGHT_DEFAULT`] as a rule.
    pub weight: u16,
}

/// One instance of a service, ready to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its name, as `2.web.shop`.
    pub name: String,
    /// Name of its machine.
    pub node: String,
}

/// A running node. It ends when it is shut down or dropped; its tasks run on.
pub struct Fabric {
    pub(crate) core: Arc<Core>,
    pub(crate) responder: Arc<Responder>,
    /// `None` once they are closed.
    pub(crate) doors: Option<Doors>,
    pub(crate) loops: JoinSet<()>,
}
impl Fabric {
    /// Name of this machine.
    pub fn name(&self) -> &NodeName {
        self.core.name()
    }

    /// Id of this node.
    pub fn id(&self) -> NodeId {
        self.core.me
    }

    /// Where others reach it.
    pub fn address(&self) -> SocketAddr {
        let Settings { advertise, .. } = &self.core.settings;
        *advertise
    }

    /// Where the HTTP API listens.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.doors.as_ref()?.http.as_ref().and_then(HttpServer::local_addr)
    }

    /// Where DNS listens.
    pub fn dns_address(&self) -> Option<SocketAddr> {
        self.doors.as_ref()?.dns.as_ref().map(DnsServer::local_addr)
    }

    /// What is not isolated on this machine, in words; empty if all is in force. It is in the log as well.
    pub fn notes(&self) -> Vec<String> {
        self.core.info.not_isolated.clone()
    }

    /// The verbs of this node.
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(NodeBackend(Arc::clone(&self.core)))
    }

    /// Answers DNS packets without a socket.
    pub fn responder(&self) -> Arc<Responder> {
        Arc::clone(&self.responder)
    }

    /// Deploys an app file that ships no files.
    pub async fn deploy(&self, file: &str) -> Result<Deployed, ApiError> {
        self.backend().deploy(DeployRequest { file: file.into(), files: BTreeMap::new() }).await
    }

    /// Waits until the node has joined, can be given tasks and knows a leader.
    pub async fn ready(&self, limit: Duration) -> Result<(), ApiError> {
        let deadline = Instant::now() + limit;
        while !self.core.status_view().ready {
            if Instant::now() >= deadline {
                let message = format!("the node was not ready within {limit:?}");
                return Err(ApiError::new(ErrorCode::Timeout, message));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Publishes a service of the embedding program under this node's name until it is withdrawn or the node ends.
    pub fn publish(&self, service: Publish) -> Result<(), ApiError> {
        let invalid = |message: &str| ApiError::new(ErrorCode::Invalid, message);
        if service.ports.iter().any(|(name, port)| JobName::new(name.clone()).is_err() || *port == 0) {
            return Err(invalid("a port has a DNS label as its name and a number from 1 to 65535"));
        }
        let task = TaskId { app: service.app, job: service.service, index: 0 };
        let record = TaskRecord {
            task: task.clone(),
            instance: self.name().to_string().into(),
            kind: JobKind::Service,
            fence: Fence::default(),
            version: 0,
            phase: Phase::Running,
            serving: true,
            address: service.address.unwrap_or_else(|| self.address().ip()),
            ports: service.ports.into_iter().map(|(name, port)| (name.into(), port)).collect(),
            tags: service.tags.into_iter().map(Into::into).collect(),
            weight: service.weight,
            pid: Some(std::process::id()),
            restarts: 0,
            started_at: Some(self.core.clock.date()),
            exit: None,
            reason: "published by the program that the node is part of".into(),
        };
        let mut full = false;
        self.core.published.send_if_modified(|published| {
            full = published.len() >= PUBLISHED_MAX && !published.contains_key(&task);
            if !full {
                published.insert(task, record);
            }
            !full
        });
        if full { Err(invalid("this node publishes as many services as are allowed")) } else { Ok(()) }
    }

    /// Takes back what [`Fabric::publish`] published.
    pub fn withdraw(&self, app: &AppName, service: &JobName) {
        let task = TaskId { app: app.clone(), job: service.clone(), index: 0 };
        self.core.published.send_if_modified(|published| published.remove(&task).is_some());
    }

    /// Instances of a service, as `web.shop` or `_http._tcp.web.shop`: what SRV gives, in the order that the service asks for.
    pub fn resolve(&self, name: &str) -> Result<Vec<Endpoint>, ApiError> {
        let view = self.core.resolve(name, &RecordType::Srv.to_string())?;
        let snapshot = self.core.names.load_full();
        let full: Name = view.name.parse().map_err(|e| ApiError::new(ErrorCode::Invalid, format!("{e}")))?;
        let explained = taffeta_dns_answer::explain(&snapshot, &full, RecordType::Srv, self.core.entropy.seed());
        let Answer::Data { records, .. } = &explained.answer else { return Ok(vec![]) };
        let endpoint = |record: &Record| {
            let Data::Srv { port, target, .. } = &record.data else { return None };
            let target = target.to_string();
            let of = |e: &&Explained| target.strip_prefix(&e.name).is_some_and(|rest| rest.starts_with('.'));
            let behind = explained.behind.iter().filter(|e| e.verdict.is_given()).find(of)?;
            let address = SocketAddr::new(behind.address, *port);
            Some(Endpoint { address, name: behind.name.clone(), node: behind.node.clone() })
        };
        Ok(records.iter().filter_map(endpoint).collect())
    }

    /// Resolves, with the reason, when the node cannot go on: its process should end then.
    pub async fn failed(&self) -> String {
        let mut failed = self.core.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "the node has ended".into(),
        }
    }

    /// Whether the node failed only to be started anew from its folder, at once: its cluster was recovered without it.
    pub fn wants_restart(&self) -> bool {
        *self.core.restart.borrow()
    }

    /// Ends without a word to the others, as a process that is killed would, but gives back all that it holds.
    pub fn stop(self) -> BoxFuture<'static, ()> {
        Box::pin(self.end())
    }

    /// Leaves the ring and ends. Tasks run on and are taken up again by the next start from the same folder.
    pub fn shutdown(self) -> BoxFuture<'static, ()> {
        Box::pin(self.depart())
    }

    async fn end(mut self) {
        self.core.leaving.send_replace(true);
        if let Some(doors) = self.doors.take() {
            doors.close().await;
        }
        self.loops.shutdown().await;
        self.core.store.shutdown().await;
        self.core.executor.tidy().await;
        self.core.net().close().await;
    }

    async fn depart(self) {
        self.core.leaving.send_replace(true);
        let running = self.core.tasks.records().borrow().iter().filter(|r| r.pid.is_some()).count();
        if running > 0 {
            tracing::warn!(
                running,
                "tasks run on without this node; started again within 5 s it takes them up, later they are placed elsewhere"
            );
        }
        self.core.published.send_modify(BTreeMap::clear);
        self.core.give_up_part().await;
        self.core.say_farewell().await;
        self.end().await;
    }
}

impl Drop for Fabric {
    /// What was not shut down ends at once, without a farewell; its port is free soon after.
    fn drop(&mut self) {
        if let Some(net) = self.core.net.get() {
            net.close_now();
        }
    }
}
