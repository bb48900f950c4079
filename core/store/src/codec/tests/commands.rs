//! A command of each kind, with every field set, in the order of their numbers.

use super::values::{
    app, authority, causes, chaos_block, envelope, exits, fence, maintenance, member, misses, quota, read, resources,
    task, token, triggers,
};
use std::collections::BTreeMap;
use taffeta_model::{ClusterId, Command, Decision, Firing, Life, NodeId, Placement, Removal, TokenId, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_800_000_000_500);
const NODE: NodeId = NodeId(3);

pub(super) fn commands() -> Vec<Command> {
    [members(), apps(), tasks(), later()].concat()
}

fn members() -> Vec<Command> {
    vec![
        Command::Init {
            cluster: ClusterId(0xc1),
            ca_hash: [1; 32],
            admin_token_hash: [2; 32],
            member: member(),
            kek_hash: [3; 32],
            recovery_key: [4; 32],
        },
        Command::RaiseLevel(2),
        Command::Started { node: NODE, life: Life { start: 4, nonce: 99 } },
        Command::Join { token: TokenId(5), secret_hash: [6; 32], now: NOW, member: member() },
        Command::Refresh {
            node: NODE,
            address: read("10.0.0.1:7400"),
            capacity: resources(),
            custom: BTreeMap::from([("gpu".into(), 3)]),
            attributes: BTreeMap::from([("disk".into(), "hdd".into())]),
            zone: "z2".into(),
        },
        Command::CreateToken { id: TokenId(5), token: token() },
        Command::RevokeToken { id: TokenId(5) },
        Command::RemoveMember { node: NODE, now: NOW },
        Command::RotateAuthority { former: authority(7), next: authority(8) },
        Command::FinishRotation { former: [7; 32] },
    ]
}

fn apps() -> Vec<Command> {
    vec![
        Command::Deploy { app: app(), now: NOW },
        Command::Scale { app: read("shop"), job: read("web"), count: 6 },
        Command::Stop { app: read("shop") },
        Command::Restart { app: read("shop"), job: Some(read("web")) },
    ]
}

fn tasks() -> Vec<Command> {
    let place = |cause| Placement { task: task(1), seen_attempt: 7, node: NODE, cause, older: true };
    let remove = |cause| Removal { task: task(2), seen_attempt: 8, cause };
    vec![
        Command::Place(causes().into_iter().map(place).collect()),
        Command::Remove(causes().into_iter().map(remove).collect()),
        Command::Finish { task: task(3), fence: fence(9), exit: exits()[0].clone() },
    ]
}

fn firings() -> Vec<Firing> {
    let starts = triggers().into_iter().map(Decision::Start);
    let miss = |why| Decision::Miss { first: NOW, last: NOW, count: 2, why };
    let rest = [Decision::Queue(NOW), Decision::Placed, Decision::Over, Decision::Expired];
    let decisions = starts.chain(misses().into_iter().map(miss)).chain(rest);
    let firing = |decision| Firing { app: read("shop"), job: read("nightly"), seen: fence(10), now: NOW, decision };
    decisions.map(firing).collect()
}

/// What came after.
fn later() -> Vec<Command> {
    vec![
        Command::SetSecret { name: read("db-password"), version: 2, bytes: 12, envelope: envelope(), now: NOW },
        Command::RemoveSecret { name: read("db-password"), force: true },
        Command::SetQuota { team: read("sales"), quota: quota() },
        Command::Rollback {
            app: read("shop"),
            seen_version: Some(4),
            to: Some(2),
            reason: Some("it does not work".into()),
            now: NOW,
        },
        Command::Pause { app: read("shop"), on: true },
        Command::Promote { app: read("shop"), job: Some(read("web")), seen_version: Some(4) },
        Command::Settle { app: read("shop"), job: read("web"), seen_version: 4 },
        Command::Drain { node: NODE, on: true },
        Command::RemoveQuota { team: read("sales") },
        Command::Fire(firings()),
        Command::Autoscale {
            app: read("shop"),
            job: read("web"),
            seen_count: 2,
            count: 3,
            reason: "more requests".into(),
        },
        Command::Run { app: read("shop"), job: read("nightly"), args: vec!["--all".into()], now: NOW },
        Command::Release(vec![(task(1), fence(11))]),
        Command::Maintain { node: NODE, window: Some(maintenance()) },
        Command::ResetVolume { task: task(1) },
        Command::RemoveVolume { task: task(1), name: Some(read("data")) },
        Command::BlockChaos(Some(chaos_block())),
        Command::OptIntoChaos { node: NODE, token: Some([4; 32]) },
    ]
}

/// How many kinds there are. A new one does not compile until it is counted here; then it is missed above.
pub(super) fn kinds(any: &Command) -> usize {
    match any {
        Command::Init { .. }
        | Command::RaiseLevel(_)
        | Command::Started { .. }
        | Command::Join { .. }
        | Command::Refresh { .. }
        | Command::CreateToken { .. }
        | Command::RevokeToken { .. }
        | Command::RemoveMember { .. }
        | Command::RotateAuthority { .. }
        | Command::FinishRotation { .. }
        | Command::Deploy { .. }
        | Command::Scale { .. }
        | Command::Stop { .. }
        | Command::Restart { .. }
        | Command::Place(_)
        | Command::Remove(_)
        | Command::Finish { .. }
        | Command::SetSecret { .. }
        | Command::RemoveSecret { .. }
        | Command::SetQuota { .. }
        | Command::Rollback { .. }
        | Command::Pause { .. }
        | Command::Promote { .. }
        | Command::Settle { .. }
        | Command::Drain { .. }
        | Command::RemoveQuota { .. }
        | Command::Fire(_)
        | Command::Autoscale { .. }
        | Command::Run { .. }
        | Command::Release(_)
        | Command::Maintain { .. }
        | Command::ResetVolume { .. }
        | Command::RemoveVolume { .. }
        | Command::BlockChaos(_)
        | Command::OptIntoChaos { .. } => 35,
    }
}
