//! What no machine of the cluster could ever run: told before a deploy, which is accepted all the same, as machines may
//! join. Left out: what is short only because others use it, which is [`crate::Waiting`]'s to tell.

use crate::{
    Lack,
    fields::{FieldId, Fields, ValueId},
    waiting::join,
};
use std::{collections::BTreeSet, fmt};
use taffeta_model::{App, Constraint, Job, JobKind, JobName, Member, Operator, Resources, State};

/// Most values of a field that are listed.
const VALUES_LISTED_MAX: usize = 5;

/// A job that would wait until another machine joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// The job.
    pub job: JobName,
    /// Its kind.
    pub kind: JobKind,
    /// Why; never empty.
    pub hopes: Vec<Hopeless>,
}

/// Why no machine could ever run a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hopeless {
    /// No machine has so much; what the largest has stands for what is free.
    TooLarge(Lack),
    /// A constraint refuses every machine.
    Refused {
        /// The constraint.
        constraint: Constraint,
        /// The values of its field that there are, at most the first few.
        values: Vec<String>,
        /// How many are not listed.
        more: usize,
    },
    /// Each demand is met by some machine, and no machine meets all.
    Together,
}

/// A member and its values.
struct Machine<'a> {
    member: &'a Member,
    values: Vec<(FieldId, ValueId)>,
}

/// The jobs of the app that no member could run, be it empty and alive.
pub fn impossible(state: &State, app: &App) -> Vec<Impossible> {
    let mut fields = Fields::default();
    let machines: Vec<Machine<'_>> =
        state.members.values().map(|member| Machine { member, values: fields.read(member) }).collect();
    let found = app.jobs.iter().filter(|(_, job)| job.count > 0).filter_map(|(name, job)| {
        let hopes = hopeless(job, &machines, &fields);
        (!hopes.is_empty()).then(|| Impossible { job: name.clone(), kind: job.kind, hopes })
    });
    found.collect()
}

fn hopeless(job: &Job, machines: &[Machine<'_>], fields: &Fields) -> Vec<Hopeless> {
    let rules: Vec<Rule<'_>> = job.constraints.iter().map(|constraint| Rule::new(constraint, fields)).collect();
    let mut hopes: Vec<Hopeless> = too_large(job, machines).into_iter().map(Hopeless::TooLarge).collect();
    let refused = rules.iter().filter(|rule| !machines.iter().any(|machine| rule.passes(machine)));
    hopes.extend(refused.map(|rule| rule.refusal(machines, fields)));
    let all = |machine: &Machine<'_>| fits(job, machine.member) && rules.iter().all(|rule| rule.passes(machine));
    if hopes.is_empty() && !machines.iter().any(all) {
        hopes.push(Hopeless::Together);
    }
    hopes
}

fn fits(job: &Job, member: &Member) -> bool {
    let has = |(name, needed): (&String, &u64)| member.custom.get(name).is_some_and(|has| has >= needed);
    member.capacity.fits(&job.demand()) && job.custom.iter().all(has)
}

/// What is more than the most that any machine has.
fn too_large(job: &Job, machines: &[Machine<'_>]) -> Vec<Lack> {
    let mut most = Resources::default();
    for Member { capacity, .. } in machines.iter().map(|machine| machine.member) {
        most.cpus = most.cpus.max(capacity.cpus);
        most.memory = most.memory.max(capacity.memory);
        most.disk = most.disk.max(capacity.disk);
        most.ports = most.ports.max(capacity.ports);
    }
    let mut lacks = Lack::short(&job.demand(), &most);
    for (name, needed) in &job.custom {
        let all = machines.iter().filter_map(|machine| machine.member.custom.get(name));
        let free = all.max().copied().unwrap_or_default();
        if *needed > free {
            lacks.push(Lack::Custom { name: name.clone(), needed: *needed, free });
        }
    }
    lacks
}

/// A constraint, as far as it looks at nothing but the machine.
struct Rule<'a> {
    constraint: &'a Constraint,
    /// `None` if no machine has the field.
    field: Option<FieldId>,
    /// Which of its values pass; `None` if that depends on where other instances are.
    passing: Option<Vec<bool>>,
}

impl<'a> Rule<'a> {
    fn new(constraint: &'a Constraint, fields: &Fields) -> Self {
        let field = fields.field(constraint.plain_field());
        let passing = field.and_then(|field| fields.passing(field, &constraint.operator));
        Self { constraint, field, passing }
    }

    fn value(&self, machine: &Machine<'_>) -> Option<ValueId> {
        machine.values.iter().find(|(field, _)| Some(*field) == self.field).map(|(_, value)| *value)
    }

    fn passes(&self, machine: &Machine<'_>) -> bool {
        match (self.value(machine), &self.passing) {
            (None, _) => matches!(self.constraint.operator, Operator::Unlike(_)),
            (Some(_), None) => self.constraint.operator != Operator::MaxPer(0),
            (Some(value), Some(passing)) => passing[value],
        }
    }

    fn refusal(&self, machines: &[Machine<'_>], fields: &Fields) -> Hopeless {
        let text = |machine| Some(fields.text(self.field?, self.value(machine)?));
        let values: BTreeSet<&str> = machines.iter().filter_map(text).collect();
        Hopeless::Refused {
            constraint: self.constraint.clone(),
            values: values.iter().take(VALUES_LISTED_MAX).map(ToString::to_string).collect(),
            more: values.len().saturating_sub(VALUES_LISTED_MAX),
        }
    }
}

impl Impossible {
    /// The field of the app file that the first reason is about, as `service.web.constraints`; the job's table, if it is
    /// about no single field.
    pub fn field(&self) -> String {
        let table = format!("{}.{}", self.kind.table(), self.job);
        match self.hopes.first().and_then(Hopeless::key) {
            Some(key) => format!("{table}.{key}"),
            None => table,
        }
    }
}

impl Hopeless {
    fn key(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge(lack) => lack.key(),
            Self::Refused { .. } => Some("constraints"),
            Self::Together => None,
        }
    }
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no machine could ever run {}.{}, it would wait: ", self.kind.table(), self.job)?;
        join(f, "; ", &self.hopes)
    }
}

impl fmt::Display for Hopeless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(lack) => write!(f, "{lack} on the largest machine"),
            Self::Refused { constraint, values, .. } if values.is_empty() => {
                write!(f, "none has any {} (`{constraint}`)", constraint.plain_field())
            }
            Self::Refused { constraint, values, more } => {
                let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
                write!(f, "none passes `{constraint}`, there is {}{more}", values.join(", "))
            }
            Self::Together => f.write_str("none has all at once that it asks for"),
        }
    }
}
