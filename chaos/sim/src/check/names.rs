//! What DNS answers, on every node, against what really runs.

use super::{Broken, calm_since, quorum::SETTLED};
use crate::{
    cluster::Cluster,
    dns::{self, Reply},
    machine::Machine,
    moments::Moment,
    random::stream,
    tasks::Dead,
    trace::Event,
    workload::Shape,
};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use rand::{RngExt, rngs::SmallRng};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use taffeta_agent::RunId;

/// Each node is asked this often.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// How long DNS may answer a dead task on a node that is well: a machine's death is suspected within a second or two and
/// certain a second or two later; the rest is for verdicts that were put off while something was wrong.
const DEAD_MAX: Duration = Duration::from_secs(10);

/// A node meets those that are there within this time from its start, on top of the bound for the dead.
const MEETING: Duration = Duration::from_secs(5);

/// How long an instance may be answered whose health check fails: three failures in a row, each a second and a time-out,
/// and the news.
const AILING_MAX: Duration = Duration::from_secs(10);

/// Services that have a health check.
const HAVE_CHECKS: [&str; 2] = ["web", "gate"];

/// How long an instance that serves may be unknown to a node, both of them being well.
const UNKNOWN_MAX: Duration = Duration::from_secs(10);

/// For how long a lie about a machine may hide its instances.
const SLANDER_MAX: Duration = Duration::from_secs(6);

/// How long all has to be well for a withdrawal to have got around before the task is told to end.
const QUIET: Duration = Duration::from_secs(10);

/// How long a client may keep an answer.
const TTL: Duration = Duration::from_secs(1);

/// Asks questions and judges the answers.
#[derive(Default)]
pub(super) struct Questions {
    rng: Option<SmallRng>,
    next: Duration,
    /// When each live run was given last, by any node.
    given: BTreeMap<String, Duration>,
}

/// The services that are asked for.
const SERVICES: [(Shape, &str); 3] = [(Shape::Shop, "web"), (Shape::Shop, "cache"), (Shape::Edge, "gate")];

impl Questions {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Some(stream(seed, "questions")), next: Duration::ZERO, given: BTreeMap::new() }
    }

    /// Asks every node one question, now and then.
    pub(super) fn step(
        &mut self,
        cluster: &mut Cluster,
        serving: &BTreeMap<(usize, String), Duration>,
    ) -> Result<(), Broken> {
        let now = cluster.now();
        let Some(rng) = self.rng.as_mut().filter(|_| now >= self.next) else { return Ok(()) };
        self.next = now + ASK_EVERY;
        let places = cluster.places.clone().into_iter();
        let asked: Vec<_> = places.map(|number| (number, SERVICES[rng.random_range(0..SERVICES.len())])).collect();
        for (number, (shape, service)) in asked {
            let machine = &cluster.machines[number];
            if !machine.runs() {
                continue;
            }
            let name = format!("{service}.{}.fabric.internal", shape.name());
            let Some(reply) = dns::ask(machine, &name, RecordType::SRV) else { continue };
            cluster.site.run.note(now, Event::Dns, number as u64, reply.bytes as u64, u64::from(u16::from(reply.code)));
            if reply.stale && !reply.services.is_empty() {
                cluster.moments.note(Moment::MinorityAnsweredDns);
            }
            if cluster.quorum_lost.is_some_and(|since| now - since > SETTLED) && !reply.services.is_empty() {
                cluster.moments.note(Moment::AnsweredWithoutQuorum);
            }
            judge(cluster, &cluster.machines[number], (shape, service), &reply, serving)?;
            self.note_given(cluster, (shape, service), &reply);
        }
        let told = told_to_end(cluster);
        invariant_no_task_is_ended_without_a_quorum(cluster, &told)?;
        self.invariant_a_task_leaves_dns_before_it_is_told_to_end(cluster, told)
    }

    fn note_given(&mut self, cluster: &Cluster, (shape, service): (Shape, &str), reply: &Reply) {
        for (_, at) in &reply.services {
            let host = cluster.machines.iter().find(|m| m.had(at.ip()));
            let run = host.and_then(|host| {
                host.tasks.living_one(|run, ports| is_of(run, shape, service) && ports.contains(&at.port()))
            });
            self.given.extend(run.map(|run| (run.to_string(), cluster.now())));
        }
    }

    /// A task that is to stop leaves DNS first: nobody was given its address for the life of an answer before SIGTERM.
    fn invariant_a_task_leaves_dns_before_it_is_told_to_end(
        &mut self,
        cluster: &mut Cluster,
        told: Vec<(usize, RunId, Duration)>,
    ) -> Result<(), Broken> {
        // Whom the ring takes for down, for a lie, is told nothing until it has contradicted.
        let left_alone = cluster.present().map(|machine| calm_since(machine).max(machine.slandered));
        let quiet_since = left_alone.max().unwrap_or_default() + QUIET;
        let mut drained = 0;
        for (host, run, at) in told {
            let host = &cluster.machines[host];
            let Some(given) = self.given.remove(run.as_str()) else { continue };
            drained += 1;
            // While something is wrong, the news of it may be late.
            if at > quiet_since && given + TTL > at {
                let left = at.saturating_sub(given);
                return Err(format!("{}: {run} was told to end {left:?} after DNS had given it", host.name));
            }
        }
        (0..drained).for_each(|_| cluster.moments.note(Moment::TaskDrained));
        Ok(())
    }
}

/// Runs that were told to end while they answered, where, and when, since this was asked last.
fn told_to_end(cluster: &Cluster) -> Vec<(usize, RunId, Duration)> {
    let of = |m: &Machine| m.tasks.told_to_end().into_iter().map(|(run, at)| (m.number, run, at)).collect::<Vec<_>>();
    cluster.machines.iter().flat_map(of).collect()
}

/// Losing the quorum stops changes, never tasks: what works is not told to end by anybody then.
fn invariant_no_task_is_ended_without_a_quorum(
    cluster: &Cluster,
    told: &[(usize, RunId, Duration)],
) -> Result<(), Broken> {
    let Some(since) = cluster.quorum_lost.map(|since| since + SETTLED) else { return Ok(()) };
    let wrong = |(host, _, at): &&(usize, RunId, Duration)| {
        *at > since && calm_since(&cluster.machines[*host]).max(cluster.machines[*host].stopped) < since
    };
    match told.iter().find(wrong) {
        Some((host, run, _)) => {
            let name = &cluster.machines[*host].name;
            Err(format!("{name}: {run} was told to end with no majority of the voters there"))
        }
        None => Ok(()),
    }
}

fn judge(
    cluster: &Cluster,
    asked: &Machine,
    (shape, service): (Shape, &str),
    reply: &Reply,
    serving: &BTreeMap<(usize, String), Duration>,
) -> Result<(), Broken> {
    for (label, at) in &reply.services {
        invariant_no_dead_task_is_answered(cluster, asked, (shape, service), (label, *at), reply.stale)?;
    }
    if reply.services.is_empty() {
        invariant_never_empty_while_an_instance_serves(cluster, asked, (shape, service), reply, serving)?;
    }
    Ok(())
}

/// Only healthy instances are answered: a dead machine's or task's addresses, and those of one that fails, leave DNS within their bound, on every node that sees most of the ring.
fn invariant_no_dead_task_is_answered(
    cluster: &Cluster,
    asked: &Machine,
    (shape, service): (Shape, &str),
    (label, at): (&str, SocketAddr),
    stale: bool,
) -> Result<(), Broken> {
    let now = cluster.now();
    let wrong =
        |what: String| Err(format!("{}: {label}.{service}.{} is answered as {at}, {what}", asked.name, shape.name()));
    let Some(host) = cluster.machines.iter().find(|m| m.had(at.ip())) else {
        return wrong("an address that no machine has".into());
    };
    let dead = host.tasks.dead_since(|run, ports| is_of(run, shape, service) && ports.contains(&at.port()));
    let died = match dead {
        Dead::Lives if HAVE_CHECKS.contains(&service) => {
            let ails =
                host.tasks.ails_since(now, |run, ports| is_of(run, shape, service) && ports.contains(&at.port()));
            let Some(ails) = ails.filter(|_| host.runs()) else { return Ok(()) };
            let since = ails.max(calm_since(asked)).max(calm_since(host));
            return if now - since > AILING_MAX {
                wrong(format!("{:?} after it fell ill", now - ails))
            } else {
                Ok(())
            };
        }
        Dead::Lives => return Ok(()),
        Dead::NeverWas => return wrong("where it never ran".into()),
        Dead::Since(died) => died,
    };
    // Cut off from most of the ring, a node gives what it knew last, and says so.
    if stale {
        return Ok(());
    }
    let told = if host.runs() { calm_since(host) } else { host.disturbed.min(died.max(host.started)) };
    let since = died.max(calm_since(asked)).max(told);
    // Whether a machine is dead is settled by those that can still reach one another.
    let others = cluster.present().filter(|m| m.runs()).map(calm_since).max().unwrap_or_default();
    // A node that was just started gives machines that it has not met the time to be met.
    let since = since.max(others).max(asked.started + MEETING);
    if now.saturating_sub(since) > DEAD_MAX {
        return wrong(format!("{:?} after it died", now - died));
    }
    Ok(())
}

/// DNS is never empty while a healthy instance exists that can be reached.
fn invariant_never_empty_while_an_instance_serves(
    cluster: &Cluster,
    asked: &Machine,
    (shape, service): (Shape, &str),
    reply: &Reply,
    serving: &BTreeMap<(usize, String), Duration>,
) -> Result<(), Broken> {
    let now = cluster.now();
    let well = |machine: &Machine| machine.runs() && now - calm_since(machine) > UNKNOWN_MAX;
    if !well(asked) || now - asked.started < UNKNOWN_MAX + MEETING || reply.code == ResponseCode::NXDomain {
        return Ok(()); // which names exist comes through the log, not from the machines
    }
    let believed = |host: &Machine| now.saturating_sub(host.slandered) > SLANDER_MAX;
    for ((number, run), since) in serving {
        let Ok(run) = run.parse::<RunId>() else { continue };
        let host = &cluster.machines[*number];
        let works = host.tasks.serves_since(now, &run).is_some_and(|since| now - since > UNKNOWN_MAX);
        if is_of(&run, shape, service) && works && now - *since > UNKNOWN_MAX && well(host) && believed(host) {
            return Err(format!(
                "{}: {service}.{} is answered with {}, although {run} serves on {} since {:?}; it knows {}",
                asked.name,
                shape.name(),
                reply.code,
                host.name,
                now - *since,
                known(cluster, asked, (shape, service)),
            ));
        }
    }
    Ok(())
}

/// What a node knows of a service, in words.
fn known(cluster: &Cluster, asked: &Machine, (shape, service): (Shape, &str)) -> String {
    let name = |id| cluster.machine_of(id).map_or_else(|| format!("{id}"), |machine| machine.name.to_string());
    let words = asked.look(|inspect| {
        let (ring, sets) = (inspect.ring(), inspect.sets());
        let records = sets.values().flat_map(|set| set.records.iter().map(move |record| (set.owner, record)));
        let of_it = records.filter(|(_, r)| r.task.app.as_str() == shape.name() && r.task.job.as_str() == service);
        let listed = of_it.map(|(owner, r)| {
            let (serving, ring) = (r.serving, ring.get(&owner));
            format!("{} under {} at {} (serving: {serving}, ring: {ring:?})", r.task, r.fence, name(owner))
        });
        let listed = listed.collect::<Vec<_>>().join("; ");
        let holds = sets.keys().map(|id| name(*id)).collect::<Vec<_>>().join(", ");
        format!("[{listed}] of the sets of {holds}")
    });
    words.unwrap_or_default()
}

fn is_of(run: &RunId, shape: Shape, service: &str) -> bool {
    let task = run.task();
    task.app.as_str() == shape.name() && task.job.as_str() == service
}
