//! `taffeta dns setup`: makes the machine's own resolver ask the node for the fabric's names, and takes that back.
//!
//! What is to be written is planned first, from what is there; the plan is then shown (`--dry-run`) or carried out. What
//! was written is known by the line that begins it, so undoing needs no journal. Left out: resolvers of other machines.

mod files;
mod system;
#[cfg(test)]
mod tests;

use crate::{
    args::OutputFlag,
    failure::{Failure, Outcome},
    output::{remark, show},
    settings::{Key, Settings, Value},
};
use clap::{Args, Subcommand};
use files::{Change, Root};
use serde::Serialize;
use std::{net::SocketAddr, path::PathBuf, process::Command};
use system::{System, Target};
use taffeta_node::DOMAIN;

#[derive(Debug, Subcommand)]
pub(crate) enum DnsVerb {
    /// Make this machine's resolver ask the node for the fabric's names: systemd-resolved, NetworkManager, dnsmasq,
    /// unbound or resolv.conf
    Setup(SetupArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SetupArgs {
    /// Show what would be written and run; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take back what an earlier setup wrote
    #[arg(long)]
    undo: bool,
    /// Which resolver the machine uses [default: the one that is found]
    #[arg(long, value_enum)]
    system: Option<System>,
    /// Where the node's DNS listens [env: TAFFETA_DNS] [default: 127.0.0.1:7453]
    #[arg(long, value_name = "IP[:PORT]")]
    dns: Option<String>,
    /// A zone to ask the node for; may be repeated [default: fabric.internal and the aliases of the configuration]
    #[arg(long, value_name = "ZONE")]
    zone: Vec<String>,
    /// Work on the system whose files are below this folder, and run nothing
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    #[command(flatten)]
    output: OutputFlag,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Plan {
    /// The resolver it is about; none for an undo that finds nothing.
    system: Option<System>,
    changes: Vec<Change>,
    /// Programs to be run after that, with their arguments.
    commands: Vec<Vec<String>>,
    notes: Vec<String>,
}

pub(crate) fn run(verb: DnsVerb) -> Outcome {
    let DnsVerb::Setup(args) = verb;
    let root = Root::new(args.root.clone());
    let plan = if args.undo {
        system::plan_undo(&root)?
    } else {
        let target = target(&args)?;
        let system = args.system.map_or_else(|| System::find(&root), Ok)?;
        system.plan(&root, &target)?
    };
    if !args.dry_run {
        perform(&root, &plan)?;
    }
    show(args.output.format, &plan, |plan| words(plan, args.dry_run))
}

fn target(args: &SetupArgs) -> Outcome<Target> {
    let flags = args.dns.iter().map(|dns| (Key::Dns, Value::Text(dns.clone()))).collect();
    let settings = Settings::gather(flags)?;
    let dns = settings.dns_address()?.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], taffeta_node::DNS_PORT)));
    let alias = |alias: &String| alias.split('=').next().unwrap_or_default().to_owned();
    let zones = if args.zone.is_empty() {
        let (aliases, _) = settings.list(Key::DnsAlias);
        [DOMAIN.to_owned()].into_iter().chain(aliases.iter().map(alias)).collect()
    } else {
        args.zone.clone()
    };
    Target::new(dns, zones)
}

fn perform(root: &Root, plan: &Plan) -> Outcome {
    for change in &plan.changes {
        root.apply(change)?;
    }
    for command in plan.commands.iter().filter(|_| root.is_running_system()) {
        let [program, arguments @ ..] = &command[..] else { continue };
        let told = || Failure::failed(format!("`{}` failed", command.join(" ")));
        let help =
            "the files are written: make the resolver read them, or take them back with `taffeta dns setup --undo`";
        let ended = Command::new(program)
            .args(arguments)
            .status()
            .map_err(|e| Failure::failed(format!("`{}` cannot be run: {e}", command.join(" "))).help(help))?;
        if !ended.success() {
            return Err(told().help(help));
        }
    }
    if plan.changes.is_empty() {
        remark("nothing is to be changed");
    }
    Ok(())
}

fn words(plan: &Plan, dry: bool) -> String {
    let (wrote, removed, ran) =
        if dry { ("would write", "would remove", "would run") } else { ("wrote", "removed", "ran") };
    let mut lines = Vec::new();
    for change in &plan.changes {
        match &change.after {
            Some(text) => {
                lines.push(format!("{wrote} {}", change.path.display()));
                lines.extend(text.lines().map(|line| format!("    {line}")));
            }
            None => lines.push(format!("{removed} {}", change.path.display())),
        }
    }
    lines.extend(plan.commands.iter().map(|command| format!("{ran} {}", command.join(" "))));
    lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n")
}
