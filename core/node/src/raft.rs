//! Carries consensus messages over the fabric's endpoint.

use async_trait::async_trait;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use taffeta_model::NodeId;
use taffeta_net::{Lane, Net};
use taffeta_store::{SendError, Transport};

/// The endpoint as the store sees it. It is there soon after the store is.
pub(crate) struct RaftTransport(pub(crate) Arc<OnceLock<Net>>);

#[async_trait]
impl Transport for RaftTransport {
    async fn send(&self, to: NodeId, request: Vec<u8>, limit: Duration) -> Result<Vec<u8>, SendError> {
        let net = self.0.get().ok_or_else(|| SendError("the endpoint is not there yet".into()))?;
        net.call(to, Lane::Raft, &request, limit).await.map_err(|e| SendError(e.to_string()))
    }
}
