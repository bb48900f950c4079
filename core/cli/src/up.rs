//! `taffeta up`: a node in the foreground.

use crate::{
    args::UpArgs,
    failure::{Failure, Outcome},
    log, output,
    settings::{Key, Settings, TOKEN_FILE, Value},
};
use std::{
    env,
    io::{self, IsTerminal},
    os::unix::process::CommandExt,
    path::Path,
    process,
    thread::available_parallelism,
};
use taffeta_node::{Fabric, FabricConfig};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};
use tracing_subscriber::EnvFilter;

/// The recovery key, in the data folder of the first node.
const RECOVERY_FILE: &str = "recovery.key";

/// Threads of a node's runtime: a node is mostly idle, and shares its machine with the tasks.
const WORKERS: usize = 2;
/// On a machine of up to so many processors it is one: of two each wakes the other for every little thing, which costs an idle
/// node a quarter more, and no more is written with them while tasks want processors, too.
const SMALL_MACHINE: usize = 2;

/// What is logged unless `TAFFETA_LOG` says otherwise, in the syntax of tracing's filters.
const LOG: &str = "warn,taffeta=info";

pub(crate) fn run(args: UpArgs) -> Outcome {
    let moved = args.moved;
    let config = settings(args)?.fabric_config()?;
    start_log()?;
    let began = Some(Instant::now());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers()?).enable_all().build();
    let runtime = runtime.map_err(|e| Failure::failed(format!("the runtime cannot start: {e}")))?;
    runtime.block_on(live(FabricConfig { moved, began, ..config }))
}

fn settings(args: UpArgs) -> Outcome<Settings> {
    let mut flags = args.node.given();
    flags.extend(args.data.map(|data| (Key::Data, Value::Text(data.to_string_lossy().into_owned()))));
    flags.extend(args.token.map(|token| (Key::JoinToken, Value::Text(token))));
    Settings::gather(flags)
}

/// Starts, announces itself, runs until it is told to end or cannot go on, and stops cleanly: tasks run on.
async fn live(config: FabricConfig) -> Outcome {
    // Before the start: whoever sends a signal meanwhile is heard.
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let token = config.data.join(TOKEN_FILE);
    let recovery = config.data.join(RECOVERY_FILE);
    let first = !token.exists();
    let started = tokio::select! {
        started = Fabric::start(config) => started,
        () = either(&mut interrupt, &mut terminate) => return Ok(()),
    };
    let fabric = started?;
    // A node serves whether or not anybody reads this.
    let told = |path: &'_ Path| first && path.exists();
    let token = Some(token.as_path()).filter(|path| told(path));
    let _ = output::print(&announcement(&fabric, token, Some(recovery.as_path()).filter(|path| told(path))));
    if recovery.exists() {
        tracing::warn!(
            "move {} to a safe place, away from this machine: a restore from a backup needs it, and no node does",
            recovery.display()
        );
    }
    let failed = tokio::select! {
        why = fabric.failed() => Some(why),
        () = either(&mut interrupt, &mut terminate) => None,
    };
    if fabric.wants_restart() {
        fabric.stop().await;
        return Err(start_anew());
    }
    if let Some(why) = failed {
        if [taffeta_node::REMOVED, taffeta_node::LEFT_BEHIND].contains(&why.as_str()) {
            return Err(Failure::failed(why).help("to use the machine again, join with a new token and another --data"));
        }
        if why == taffeta_node::SHUT_OUT {
            return Err(Failure::failed(why).help(
                "to use the machine again, remove it on another one (`taffeta remove NODE`), which frees its name, and \
                 join with a new token and another --data",
            ));
        }
        return Err(Failure::failed(why).help("correct what it names and start the node again; its tasks run on"));
    }
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        process::exit(1); // told twice: somebody does not want to wait
    });
    fabric.shutdown().await;
    Ok(())
}

/// Becomes a new process of the same id, with the same flags: nothing of this one's state is left. Returns if it cannot.
fn start_anew() -> Failure {
    let failed =
        |e: io::Error| Failure::failed(format!("the node cannot start itself anew: {e}")).help("start it again");
    match env::current_exe() {
        Ok(program) => failed(process::Command::new(program).args(env::args_os().skip(1)).exec()),
        Err(e) => failed(e),
    }
}

/// `up name=n1 id=... fabric=IP:PORT http=IP:PORT dns=IP:PORT token=PATH recovery=PATH`: a line for people and scripts.
fn announcement(fabric: &Fabric, token: Option<&Path>, recovery: Option<&Path>) -> String {
    let mut line = format!("up name={} id={} fabric={}", fabric.name(), fabric.id(), fabric.address());
    for (what, address) in [("http", fabric.http_address()), ("dns", fabric.dns_address())] {
        if let Some(address) = address {
            line += &format!(" {what}={address}");
        }
    }
    for (what, path) in [("token", token), ("recovery", recovery)] {
        if let Some(path) = path {
            line += &format!(" {what}={}", path.display());
        }
    }
    line
}

fn listen(kind: SignalKind) -> Outcome<Signal> {
    signal(kind).map_err(|e| Failure::failed(format!("cannot listen for signals: {e}")))
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn start_log() -> Outcome {
    let filter = log::wanted()?.unwrap_or_else(|| EnvFilter::new(LOG));
    let log = tracing_subscriber::fmt().compact().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(io::stderr().is_terminal()).init();
    Ok(())
}

fn workers() -> Outcome<usize> {
    let Ok(text) = env::var("TAFFETA_WORKERS") else {
        let small = available_parallelism().is_ok_and(|processors| processors.get() <= SMALL_MACHINE);
        return Ok(if small { 1 } else { WORKERS });
    };
    let number = text.parse().ok().filter(|n| (1..=64).contains(n));
    number.ok_or_else(|| Failure::wrong(format!("TAFFETA_WORKERS: expected a number from 1 to 64, found `{text}`")))
}
