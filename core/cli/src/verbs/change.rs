//! Verbs that change something. What was done is said on stderr; stdout is for answers.

use super::Client;
use crate::{
    args::{AppOrJob, JobPath, TokenArgs},
    failure::Outcome,
    output::{print, remark},
};
use taffeta_model::{AppName, TokenId};
use taffeta_node::api::{NodeView, Role, ScaleRequest, TokenRequest};

pub(super) async fn token(client: Client, args: TokenArgs) -> Outcome {
    let request = TokenRequest { role: Some(args.role), ttl_seconds: Some(args.ttl.as_secs().max(1)), uses: args.uses };
    let made = client.create_token(request).await?;
    remark(&format!("good until {}", made.expires_at));
    print(&made.token)
}

pub(super) async fn revoke_token(client: Client, id: TokenId) -> Outcome {
    client.revoke_token(id).await?;
    remark(&format!("nobody joins with the token {id} any more"));
    Ok(())
}

pub(super) async fn remove(client: Client, node: &str, force: bool) -> Outcome {
    // Asked before: a removed machine has no role any more.
    let of_it = |n: &NodeView| (n.name == node || n.id == node) && matches!(n.role, Role::Leader | Role::Voter);
    let voted = client.nodes().await.is_ok_and(|nodes| nodes.iter().any(of_it));
    client.remove_node(node, force).await?;
    remark(&format!("{node} is removed: its identity is refused, its tasks move, its name and address are free"));
    if voted {
        remark(
            "it voted, so it held the CA's key: if it may be in other hands, let another CA sign: `taffeta ca rotate`",
        );
    }
    Ok(())
}

pub(super) async fn rotate(client: Client) -> Outcome {
    client.rotate_authority().await?;
    remark(
        "a new CA signs; the former one ends when every member has a certificate of the new one: `taffeta ca status`",
    );
    Ok(())
}

pub(super) async fn finish_rotation(client: Client, force: bool) -> Outcome {
    client.finish_rotation(force).await?;
    remark("the former CA is believed no more");
    Ok(())
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

pub(super) async fn rollback(client: Client, app: AppName, to: Option<u64>) -> Outcome {
    client.rollback(app.clone(), to).await?;
    remark(&format!("{app} goes back; see `taffeta ps {app}`"));
    Ok(())
}

pub(super) async fn pause(client: Client, app: AppName, on: bool) -> Outcome {
    client.pause(app.clone(), on).await?;
    remark(&if on { format!("{app} stays as it is until `taffeta resume {app}`") } else { format!("{app} goes on") });
    Ok(())
}

pub(super) async fn promote(client: Client, what: AppOrJob) -> Outcome {
    let AppOrJob { app, job } = what;
    client.promote(app.clone(), job.clone()).await?;
    let job = job.map(|job| format!("/{job}")).unwrap_or_default();
    remark(&format!("the newer version of {app}{job} takes over; see `taffeta ps {app}`"));
    Ok(())
}

pub(super) async fn run(client: Client, what: JobPath, args: Vec<String>) -> Outcome {
    let JobPath { app, job } = what;
    client.run(app.clone(), job.clone(), args).await?;
    remark(&format!("{app}/{job} runs; see `taffeta runs {app}/{job}`"));
    Ok(())
}
