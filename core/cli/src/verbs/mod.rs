//! The verbs that ask a node, and the few that need none.

mod backup;
mod change;
mod deploy;
mod doctor;
mod drain;
mod exec;
mod files;
mod folder;
mod local;
mod logs;
mod look;
mod maintenance;
mod quota;
mod recover;
mod secret;
mod tables;
mod volume;
mod wait;
mod watch;

pub(crate) use wait::unfinished;

use crate::{
    args::{ApiFlags, CaVerb, QuotaVerb, SecretVerb, TokenVerb, Verb, VolumeVerb},
    failure::{Failure, Outcome},
    settings::Settings,
};
use taffeta_node::client::ApiClient;
use tokio::runtime::Builder;

/// Runs one verb. `before` are the flags before it, which those behind it beat.
pub(crate) fn run(before: ApiFlags, verb: Verb) -> Outcome {
    let ask = |flags: ApiFlags| Settings::gather(flags.or(before.clone()).given())?.client();
    match verb {
        Verb::Apps(args) => block_on(look::apps(ask(args.api)?, args.output.format)),
        Verb::Ps(args) => block_on(look::ps(ask(args.api)?, args.output.format, args.app)),
        Verb::Nodes(args) => block_on(look::nodes(ask(args.api)?, args.output.format)),
        Verb::Status(args) => block_on(look::status(ask(args.api)?, args.output.format)),
        Verb::Leader(args) => block_on(look::leader(ask(args.api)?, args.output.format)),
        Verb::Services(args) => block_on(look::services(ask(args.api)?, args.output.format)),
        Verb::Why(args) => block_on(look::why(ask(args.api)?, args.output.format, args.task)),
        Verb::Resolve(args) => block_on(look::resolve(ask(args.api)?, args.output.format, args.name, args.record_type)),
        Verb::Deploy(mut args) => {
            // The file first: what is wrong with it can be said without a node.
            let app = files::AppFile::read(&args.file)?;
            block_on(deploy::deploy(ask(std::mem::take(&mut args.api))?, app, args.wait, args.timeout))
        }
        Verb::Plan(args) => {
            let app = files::AppFile::read(&args.file)?;
            block_on(deploy::plan(ask(args.api)?, app, args.output.format))
        }
        Verb::Token(TokenVerb::Create(mut args)) => {
            let client = ask(std::mem::take(&mut args.api))?;
            block_on(change::token(client, args))
        }
        Verb::Token(TokenVerb::List(args)) => block_on(look::tokens(ask(args.api)?, args.output.format)),
        Verb::Token(TokenVerb::Revoke(args)) => block_on(change::revoke_token(ask(args.api)?, args.id)),
        Verb::Drain(mut args) => {
            let client = ask(std::mem::take(&mut args.api))?;
            block_on(drain::drain(client, args))
        }
        Verb::Maintenance(mut args) => {
            let client = ask(std::mem::take(&mut args.api))?;
            block_on(maintenance::maintenance(client, args))
        }
        Verb::Volume(VolumeVerb::List(args)) => block_on(volume::list(ask(args.api)?, args.output.format)),
        Verb::Volume(VolumeVerb::Reset(args)) => block_on(volume::reset(ask(args.api)?, args.task, args.yes)),
        Verb::Volume(VolumeVerb::Remove(args)) => {
            block_on(volume::remove(ask(args.api)?, args.task, args.name, args.yes))
        }
        Verb::Quota(QuotaVerb::Set(mut args)) => {
            let client = ask(std::mem::take(&mut args.api))?;
            block_on(quota::set(client, args))
        }
        Verb::Quota(QuotaVerb::List(args)) => block_on(quota::list(ask(args.api)?, args.output.format)),
        Verb::Quota(QuotaVerb::Remove(args)) => block_on(quota::remove(ask(args.api)?, args.team)),
        Verb::Remove(args) => block_on(change::remove(ask(args.api)?, &args.node, args.force)),
        Verb::Ca(CaVerb::Status(args)) => block_on(look::authorities(ask(args.api)?, args.output.format)),
        Verb::Ca(CaVerb::Rotate(args)) => block_on(change::rotate(ask(args.api)?)),
        Verb::Ca(CaVerb::Finish(args)) => block_on(change::finish_rotation(ask(args.api)?, args.force)),
        Verb::Secret(SecretVerb::Set(args)) => {
            let value = secret::read(args.from_file.as_deref())?;
            block_on(secret::set(ask(args.api)?, args.name, value))
        }
        Verb::Secret(SecretVerb::List(args)) => block_on(secret::list(ask(args.api)?, args.output.format)),
        Verb::Secret(SecretVerb::Remove(args)) => block_on(secret::remove(ask(args.api)?, args.name, args.force)),
        Verb::Backup(args) if args.inspect => backup::inspect(&args.file, args.output.format),
        Verb::Backup(args) => block_on(backup::backup(ask(args.api)?, args.file)),
        Verb::Restore(args) => block_on(backup::restore(args)),
        Verb::Scale(args) => block_on(change::scale(ask(args.api)?, args.job, args.count)),
        Verb::Stop(args) => block_on(change::stop(ask(args.api)?, args.app)),
        Verb::Restart(args) => block_on(change::restart(ask(args.api)?, args.what)),
        Verb::Rollback(args) => block_on(change::rollback(ask(args.api)?, args.app, args.to)),
        Verb::Pause(args) => block_on(change::pause(ask(args.api)?, args.app, true)),
        Verb::Resume(args) => block_on(change::pause(ask(args.api)?, args.app, false)),
        Verb::Promote(args) => block_on(change::promote(ask(args.api)?, args.what)),
        Verb::Run(args) => block_on(change::run(ask(args.api)?, args.job, args.args)),
        Verb::Runs(args) => block_on(look::runs(ask(args.api)?, args.output.format, args.job)),
        Verb::Logs(mut args) => {
            let client = ask(std::mem::take(&mut args.api))?;
            block_on(logs::logs(client, args))
        }
        Verb::Exec(mut args) => {
            let client = ask(std::mem::take(&mut args.api))?;
            block_on_beside(exec::exec(client, args))
        }
        Verb::Files(mut args) => {
            let client = ask(std::mem::take(&mut args.api))?;
            block_on(folder::files(client, args))
        }
        Verb::Events(args) if args.follow => block_on(watch::follow_events(ask(args.api)?, args.output.format)),
        Verb::Events(args) => block_on(watch::events(ask(args.api)?, args.output.format)),
        Verb::Recover(args) => block_on(recover::recover(args)),
        Verb::Doctor(args) => block_on(doctor::doctor(before, args)),
        Verb::Config(args) => local::config(before, args),
        Verb::Completions(args) => local::completions(args.shell),
        Verb::Version(args) => local::version(args.output.format),
        Verb::Up(_) | Verb::Demo(_) | Verb::Chaos(_) | Verb::Dns(_) => unreachable!("`main` keeps these to itself"),
    }
}

/// One connection after another needs no threads.
fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    run_on(&mut Builder::new_current_thread(), work)
}

/// While a pager takes nothing of what is shown, another thread tells the node that we are there.
fn block_on_beside(work: impl Future<Output = Outcome>) -> Outcome {
    run_on(Builder::new_multi_thread().worker_threads(1), work)
}

fn run_on(builder: &mut Builder, work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = builder.enable_all().build();
    runtime.map_err(|e| Failure::failed(format!("the runtime cannot start: {e}")))?.block_on(work)
}

/// The client's type in the verbs' signatures.
type Client = ApiClient;
