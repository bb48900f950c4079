//! Who a target is, at this moment. Pure.

use crate::{
    blast::Hit,
    dice::Dice,
    fleet::Fleet,
    format::{Place, Strike},
};
use std::collections::BTreeSet;
use taffeta_chaos_plan::Target;

/// Who is struck.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Struck {
    /// The machines, by name.
    pub nodes: Vec<String>,
    /// The other ends of a network fault; everybody if empty.
    pub peers: Vec<String>,
}

impl Struck {
    /// What is done to them: in each turn what is on together.
    pub(crate) fn turns(&self, strike: &Strike) -> Vec<Vec<Hit>> {
        let task = match &strike.place {
            Place::Task(task) => Some(task.clone()),
            Place::Nodes { .. } => None,
        };
        let hit = |node: &String| Hit {
            node: node.clone(),
            fault: strike.fault,
            peers: self.peers.clone(),
            task: task.clone(),
        };
        let hits = self.nodes.iter().map(hit);
        if strike.one_by_one { hits.map(|hit| vec![hit]).collect() } else { vec![hits.collect()] }
    }
}

impl Strike {
    /// Looks up or draws who is struck; the error says in words why nobody is. Whoever was drawn for the same strike
    /// `before` is struck again, and nobody is drawn.
    pub fn aim(&self, fleet: &Fleet, seed: u64, name: &str, before: Option<&[String]>) -> Result<Struck, String> {
        let mut dice = Dice::new(seed, name);
        let nodes = match (&self.place, before) {
            (Place::Nodes { target: Target::One | Target::Minority | Target::Majority, .. }, Some(before)) => {
                before.to_vec()
            }
            (Place::Task(task), _) => {
                let found = fleet.tasks.iter().find(|known| known.id == *task);
                let node = found.map(|task| task.node.clone());
                vec![node.ok_or_else(|| format!("the task {task} runs nowhere"))?]
            }
            (Place::Nodes { target, except }, _) => {
                let spared = match except {
                    Some(except) => all_of(except, fleet, &mut dice, &BTreeSet::new())?.into_iter().collect(),
                    None => BTreeSet::new(),
                };
                all_of(target, fleet, &mut dice, &spared)?
            }
        };
        if let Some(node) = nodes.iter().find(|node| !fleet.machines.get(*node).is_some_and(|machine| machine.alive)) {
            return Err(format!("{node} is not alive"));
        }
        // Of their own, so that the same ends are drawn again for those who were drawn before.
        let mut dice = Dice::new(seed, &format!("{name}: peers"));
        let peers = match &self.peers {
            Some(peers) => all_of(peers, fleet, &mut dice, &nodes.iter().cloned().collect())?,
            None if self.is_cut() => fleet.machines.keys().filter(|name| !nodes.contains(name)).cloned().collect(),
            None => vec![],
        };
        Ok(Struck { nodes, peers })
    }

    /// Whether the struck ones still hear each other.
    fn is_cut(&self) -> bool {
        self.fault.kind() == taffeta_chaos_plan::FaultKind::Partition
    }
}

fn all_of(target: &Target, fleet: &Fleet, dice: &mut Dice, spared: &BTreeSet<String>) -> Result<Vec<String>, String> {
    let alive: Vec<String> = fleet.alive().into_iter().map(String::from).collect();
    let may: Vec<String> = alive.iter().filter(|name| !spared.contains(*name)).cloned().collect();
    let some = |nodes: Vec<String>, why: &str| {
        let left: Vec<String> = nodes.into_iter().filter(|name| !spared.contains(name)).collect();
        if left.is_empty() { Err(format!("{target}: {why}")) } else { Ok(left) }
    };
    let draw = |dice: &mut Dice, count: usize| match (count, may.len()) {
        (0, _) => Err(format!("{target}: of {} machines, none may fail", alive.len())),
        (count, there) if count > there => {
            Err(format!("{target}: that is {count} machines, and only {there} may be drawn"))
        }
        (count, _) => Ok(dice.draw(&may, count)),
    };
    match target {
        Target::Node(name) if fleet.machines.contains_key(name) => some(vec![name.clone()], "it is spared by `except`"),
        Target::Node(name) => {
            let known: Vec<&str> = fleet.machines.keys().map(String::as_str).collect();
            Err(format!("there is no machine {name}; known are {}", known.join(", ")))
        }
        Target::Leader => some(fleet.leader.iter().cloned().collect(), "no leader is known"),
        Target::Voters => {
            some(fleet.voters.iter().filter(|v| alive.contains(v)).cloned().collect(), "no voter is alive")
        }
        Target::One => {
            // A machine that runs nothing tells little: it is drawn only where no other one may be.
            let works = |name: &&String| fleet.tasks.iter().any(|task| task.node == **name && task.serves);
            let working: Vec<String> = may.iter().filter(works).cloned().collect();
            if working.is_empty() { draw(dice, 1) } else { Ok(dice.draw(&working, 1)) }
        }
        Target::Minority => draw(dice, alive.len().saturating_sub(1) / 2),
        Target::Majority => draw(dice, alive.len() / 2 + 1),
        Target::All => some(alive, "no machine is alive"),
        Target::Zone(zone) => {
            let inside = fleet.machines.iter().filter(|(_, machine)| machine.alive && machine.zone == *zone);
            some(inside.map(|(name, _)| name.clone()).collect(), "no machine of that zone is alive")
        }
        Target::Service { app, service } => {
            let path = format!("{service}/{app}");
            let on: BTreeSet<String> =
                fleet.tasks.iter().filter(|task| task.service == path).map(|task| task.node.clone()).collect();
            some(on.into_iter().filter(|node| alive.contains(node)).collect(), "no machine runs a task of it")
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
