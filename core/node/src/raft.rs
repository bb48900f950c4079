//! Carries consensus messages over the fabric's endpoint, each with the generation and the life of its sender.

use crate::lives::Lives;
use async_trait::async_trait;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use taffeta_model::NodeId;
use taffeta_net::{CallError, Lane, Net};
use taffeta_store::{SendError, Transport};

/// The endpoint as the store sees it. It is there soon after the store is.
pub(crate) struct RaftTransport {
    pub(crate) net: Arc<OnceLock<Net>>,
    pub(crate) lives: Arc<Lives>,
}

#[async_trait]
impl Transport for RaftTransport {
    async fn send(&self, to: NodeId, request: Vec<u8>, limit: Duration) -> Result<Vec<u8>, SendError> {
        self.ask(to, &request, limit, false).await
    }

    async fn send_brief(&self, to: NodeId, request: Vec<u8>, limit: Duration) -> Result<Vec<u8>, SendError> {
        self.ask(to, &request, limit, true).await
    }
}

impl RaftTransport {
    async fn ask(&self, to: NodeId, request: &[u8], limit: Duration, brief: bool) -> Result<Vec<u8>, SendError> {
        let net = self.net.get().ok_or_else(|| SendError("the endpoint is not there yet".into()))?;
        loop {
            let (headed, named) = self.lives.request(to, request).map_err(SendError)?;
            let replied = if brief {
                net.call_brief(to, Lane::Raft, &headed, limit).await
            } else {
                net.call(to, Lane::Raft, &headed, limit).await
            };
            match replied {
                Ok(reply) => return self.lives.take_reply(to, named, &reply).map_err(SendError),
                // At most once for each life that the callee knows of this node.
                Err(CallError::Refused(why)) if self.lives.take_refusal(to, &why) => {}
                Err(error) => return Err(SendError(error.to_string())),
            }
        }
    }
}
