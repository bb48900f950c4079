//! The demo's life: start, wait until all is healthy, say what to try, stay, clean up.

use super::{
    children::{Children, Death},
    folder::DemoFolder,
    nodes::{self, Node},
    ports, sweep, words,
};
use crate::{
    args::DemoArgs,
    end::End,
    failure::{Failure, Outcome},
    output::{print, remark},
    progress::Progress,
    verbs,
};
use std::{collections::BTreeMap, path::Path, time::Duration};
use taffeta_chaos_operator::dns::instances;
use taffeta_example_shop::SHOP_TOML;
use taffeta_node::api::{AppView, DeployRequest, TokenRequest};
use tokio::time::{Instant, sleep, timeout};

/// How long all may take: ten times what it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a node may take to answer a name; it is asked again anyway.
const NAME_LIMIT: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &DemoArgs) -> Outcome {
    let failed = |e| Failure::failed(format!("the runtime cannot start: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(live(args))
}

async fn live(args: &DemoArgs) -> Outcome {
    let mut end = End::listen()?;
    ports::ensure_free(args.nodes)?;
    let folder = DemoFolder::create()?;
    let mut demo = Demo {
        nodes: (1..=args.nodes).map(|n| Node::new(n, folder.path())).collect(),
        children: Children::adopt()?,
        progress: Progress::start(),
        began: Instant::now(),
    };
    let lived = tokio::select! {
        lived = demo.live(args) => lived,
        () = end.wait() => Ok(()),
    };
    if lived.is_err() {
        demo.show_logs();
    }
    demo.progress.now("cleaning up");
    let Demo { children, progress, nodes, .. } = demo;
    drop(children); // from here on `sweep` reaps
    let swept = sweep::sweep(folder.path());
    for left in nodes.iter().flat_map(|node| taffeta_node::heal(Path::new(&node.data))) {
        remark(&format!("a fault is left in the kernel until its time is over: {left}"));
    }
    drop(progress);
    let removed = folder.remove();
    lived.and(swept).and(removed)
}

struct Demo {
    nodes: Vec<Node>,
    children: Children,
    progress: Progress,
    began: Instant,
}

impl Demo {
    async fn live(&mut self, args: &DemoArgs) -> Outcome {
        let mut missing = String::from("n1 to start");
        let ready = timeout(PATIENCE, self.become_ready(args, &mut missing)).await;
        ready.unwrap_or_else(|_| {
            Err(Failure::late(format!("the demo is not healthy after {PATIENCE:?}; it still waits for {missing}")))
        })?;
        self.progress.end();
        if args.exit_when_ready {
            return Ok(());
        }
        let _ = print(&words::what_to_try(&self.nodes, !args.no_shop, args.chaos).await); // it goes on though nobody reads
        self.stay(args.chaos).await
    }

    async fn become_ready(&mut self, args: &DemoArgs, missing: &mut String) -> Outcome {
        self.start_nodes(args.chaos, missing).await?;
        if args.no_shop {
            return Ok(());
        }
        let client = self.nodes[0].client()?;
        let file = DeployRequest { file: words::shop_file(SHOP_TOML), files: BTreeMap::new() };
        let deployed = client.deploy(file).await?;
        self.say(&format!("{} is deployed", deployed.app));
        loop {
            *missing = match self.missing_of_shop(&deployed.app).await? {
                missing if missing.is_empty() => break,
                missing => missing,
            };
            self.progress.hint(missing);
            self.pause().await?;
        }
        self.say(&format!("{} is healthy, and every node's DNS answers for it", deployed.app));
        Ok(())
    }

    /// The first node makes the cluster; the others join it side by side.
    async fn start_nodes(&mut self, chaos: bool, missing: &mut String) -> Outcome {
        self.progress.hint("starting n1");
        self.children.start(&self.nodes[0], None, chaos)?;
        let first = self.nodes[0].client()?;
        let wish = || TokenRequest { role: Some("node".into()), ttl_seconds: Some(600), uses: None };
        let token = loop {
            match first.create_token(wish()).await {
                Ok(made) => break made.token,
                Err(e) => *missing = format!("n1 ({})", e.message),
            }
            self.pause().await?;
        };
        self.say(&format!("n1 is up and leads: {}", self.nodes[0].url()));
        for node in &self.nodes[1..] {
            self.children.start(node, Some(&token), chaos)?;
        }
        let mut waiting: Vec<usize> = (0..self.nodes.len()).collect();
        while !waiting.is_empty() {
            let mut late = vec![];
            for index in waiting {
                if self.nodes[index].is_ready(self.nodes.len()).await {
                    if index > 0 {
                        self.say(&format!("{} is up: {}", self.nodes[index].name, self.nodes[index].url()));
                    }
                } else {
                    late.push(index);
                }
            }
            waiting = late;
            if let Some(index) = waiting.first() {
                *missing = self.nodes[*index].name.clone();
                self.progress.hint(&format!("waiting for {missing}"));
                self.pause().await?;
            }
        }
        Ok(())
    }

    /// What the shop lacks; empty if its instances are healthy and every node's DNS gives all of them out. Fails only if
    /// waiting is of no use.
    async fn missing_of_shop(&self, name: &str) -> Outcome<String> {
        let client = self.nodes[0].client()?;
        let apps = match client.apps().await {
            Ok(apps) => apps,
            Err(e) => return Ok(e.message), // as while another leader is elected
        };
        let Some(app) = apps.iter().find(|app| app.app == name) else { return Ok(format!("{name} to be known")) };
        if app.healthy {
            return Ok(self.missing_names(app).await);
        }
        let tasks = client.tasks(name.parse().ok()).await.unwrap_or_default();
        match tasks.iter().find(|task| task.kind == "batch" && task.state == "failed") {
            Some(failed) => Err(Failure::failed(format!("{name}/{} failed: {}", failed.task, failed.reason))),
            None => {
                Ok(verbs::unfinished(&tasks)).map(|late| if late.is_empty() { format!("{name}'s tasks") } else { late })
            }
        }
    }

    async fn missing_names(&self, app: &AppView) -> String {
        for node in &self.nodes {
            for job in app.jobs.iter().filter(|job| job.kind == "service") {
                let name = words::dns_name(&job.name, &app.app);
                match instances(node.dns(), &name, NAME_LIMIT).await {
                    Ok(found) if found.len() >= job.count as usize => {}
                    Ok(found) => {
                        return format!("{name} from {}: {} of {} instances", node.name, found.len(), job.count);
                    }
                    Err(why) => return format!("{name} from {}: {why}", node.name),
                }
            }
        }
        String::new()
    }

    /// Waits a moment; fails if a node dies meanwhile.
    async fn pause(&mut self) -> Outcome {
        tokio::select! {
            death = self.children.next_death() => Err(nodes::early_end(&self.nodes, &death)),
            () = sleep(LOOK_EVERY) => Ok(()),
        }
    }

    /// Tells of deaths, for ever: a demo is for killing machines.
    async fn stay(&mut self, chaos: bool) -> Outcome {
        loop {
            let Death { node, how } = self.children.next_death().await;
            if let Some(node) = self.nodes.iter().find(|n| n.name == node) {
                // What was killed by a fault comes back when that is over; what a person has killed does not.
                let unless = if chaos { ", unless a fault does when it is over" } else { "" };
                let line = words::bring_back(node, chaos);
                remark(&format!("{} has ended ({how}); bring it back{unless}: {line}", node.name));
            }
        }
    }

    fn say(&self, what: &str) {
        self.progress.done(&format!("{:5.1} s  {what}", self.began.elapsed().as_secs_f64()));
    }

    /// The end of each node's log, since the folder is about to go.
    fn show_logs(&self) {
        self.progress.end();
        for node in &self.nodes {
            for line in node.last_lines(5) {
                remark(&format!("{}: {line}", node.name));
            }
        }
    }
}
