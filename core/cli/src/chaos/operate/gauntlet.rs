//! `gauntlet`.

use super::{super::args::GauntletArgs, Told, connect::connect, fresh_seed, own_demo::OwnDemo, perform::write, tables};
use crate::{
    args::ApiFlags,
    end::End,
    failure::{Failure, Outcome},
    output::{remark, show},
    progress::Progress,
};
use std::{env, fs, time::Duration};
use taffeta_chaos_operator::{Gauntlet, Limits, READY, Report, Scoreboard, Verdict, find_ready, gauntlet};
use tokio::sync::watch;

pub(super) async fn run(before: ApiFlags, mut args: GauntletArgs) -> Outcome {
    if let Some(unknown) = args.only.iter().find(|name| find_ready(name).is_none()) {
        let names: Vec<&str> = READY.iter().map(|ready| ready.name).collect();
        return Err(Failure::wrong(format!("--only: there is no experiment `{unknown}`"))
            .help(format!("use {}", names.join(", "))));
    }
    if let Some(folder) = &args.reports {
        fs::create_dir_all(folder).map_err(|e| Failure::wrong(format!("cannot make {}: {e}", folder.display())))?;
    }
    let named = before.api.is_some() || args.fabric.api.api.is_some() || env::var_os("TAFFETA_API").is_some();
    let (ended, abort) = watch::channel(false);
    let mut end = End::listen()?;
    let listener = tokio::spawn(async move {
        end.wait().await;
        ended.send_replace(true);
        // A second one would end nothing sooner: what is broken is being undone.
        std::future::pending::<()>().await;
    });
    let mut demo = None;
    if !named {
        let own = OwnDemo::start().await?;
        args.fabric.api.api = Some("http://127.0.0.1:7480".into());
        args.fabric.api.data = Some(own.data.clone());
        args.allow_quorum_loss = true;
        demo = Some(own);
    }
    let board = perform(before, &args, demo.is_some(), &abort).await;
    if let Some(demo) = &mut demo {
        demo.end().await;
    }
    listener.abort();
    let board = board?;
    show(args.output.format, &board, tables::scoreboard)?;
    if board.is_not_healed() {
        return Err(Failure::experiment(Verdict::NotHealed, "it is not confirmed that everything is undone")
            .help("the scoreboard says what; see `taffeta chaos status`"));
    }
    match (*abort.borrow(), board.is_clean()) {
        (true, _) => Err(Failure::experiment(Verdict::Aborted, "it was ended by a person")),
        (false, true) => Ok(()),
        (false, false) => {
            Err(Failure::experiment(Verdict::Deviated, "not all experiments held, or something was lost or left"))
        }
    }
}

async fn perform(
    before: ApiFlags,
    args: &GauntletArgs,
    own_demo: bool,
    abort: &watch::Receiver<bool>,
) -> Outcome<Scoreboard> {
    let fabric = connect(before, args.fabric.clone())?;
    let wish = Gauntlet {
        lasts: Duration::from_secs_f64(args.minutes * 60.0),
        seed: args.seed.unwrap_or_else(fresh_seed),
        limits: Limits { allow_quorum_loss: args.allow_quorum_loss },
        only: args.only.clone(),
        own_demo,
    };
    remark(&format!("seed {}", wish.seed));
    let mut number = 0;
    let each = |name: &str, report: &Report| {
        number += 1;
        let Some(folder) = &args.reports else { return };
        let path = |ending: &str| folder.join(format!("{number:02}-{name}.{ending}"));
        let journal = || serde_json::to_string_pretty(&report.journal()).unwrap_or_default();
        let written = write(Some(&path("json")), journal).and_then(|()| write(Some(&path("html")), || report.page()));
        if written.is_err() {
            remark(&format!("the report of {name} cannot be written to {}", folder.display()));
        }
    };
    Ok(gauntlet(&fabric, &wish, &mut Told(Progress::start()), abort, each).await?)
}
