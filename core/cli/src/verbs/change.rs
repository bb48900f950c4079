//! Verbs that change something. What was done is said on stderr; stdout is for answers.

use super::Client;
use crate::{
    args::{AppOrJob, JobPath, TokenArgs},
    failure::Outcome,
    output::{print, remark},
};
use taffeta_model::AppName;
use taffeta_node::api::{ScaleRequest, TokenRequest};

pub(super) async fn token(client: Client, args: TokenArgs) -> Outcome {
    let request = TokenRequest { role: Some(args.role), ttl_seconds: Some(args.ttl.as_secs().max(1)), uses: args.uses };
    let made = client.create_token(request).await?;
    remark(&format!("good until {}", made.expires_at));
    print(&made.token)
}

pub(super) async fn scale(client: Client, what: JobPath, count: u32) -> Outcome {
    let JobPath { app, job } = what;
    client.scale(app.clone(), ScaleRequest { service: job.to_string(), count }).await?;
    remark(&format!("{app}/{job} is to have {count} instances; see `taffeta ps {app}`"));
    Ok(())
}

pub(super) async fn stop(client: Client, app: AppName) -> Outcome {
    client.stop(app.clone()).await?;
    remark(&format!("{app} ends"));
    Ok(())
}

pub(super) async fn restart(client: Client, what: AppOrJob) -> Outcome {
    let AppOrJob { app, job } = what;
    client.restart(app.clone(), job.clone()).await?;
    let job = job.map(|job| format!("/{job}")).unwrap_or_default();
    remark(&format!("{app}{job} starts anew; see `taffeta ps {app}`"));
    Ok(())
}
