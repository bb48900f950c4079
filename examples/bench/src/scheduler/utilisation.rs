//! One pool against static partitions.
//!
//! The model: services have all their instances by day and 30 % of them by night. Batch jobs come at nightfall and take
//! all night; each keeps its machines' processors busy, and together they ask for 68 % of what the services have by day.
//! Partitions need machines for the services by day, and others for the batch jobs by night. One pool needs as many as
//! hold whatever is there, by day and by night. Sizes differ, so that no machine can be filled exactly; services spread,
//! and batch jobs pack. The fewest machines that leave nothing waiting are found by trying.

use super::pool::World;
use crate::figure::{Figure, Report};
use taffeta_model::{App, AppName, Command, Cpus, Job, JobKind, JobName, Resources, mix};

const SERVICES: u64 = 60;
const BATCHES: u64 = 40;
/// Instances by night, of 100 by day.
const BY_NIGHT: u32 = 30;
/// What batch jobs ask for, of 100 that services ask for by day.
const BATCH_OF_DAY: u64 = 68;

fn app(name: String, job: Job) -> App {
    let jobs = [(JobName::new("x").expect("a label"), job.into())].into();
    App { name: AppName::new(name).expect("a label"), team: None, jobs, files: Default::default() }
}

fn size(i: u64) -> Resources {
    let cpus = [500, 1000, 1500, 2000, 3000, 4000][(mix(i) % 6) as usize];
    Resources { cpus: Cpus(cpus), memory: (1 + mix(i ^ 1) % 8) << 30, disk: 0, ports: 0 }
}

fn services() -> Vec<App> {
    let job = |i| Job {
        count: 4 + (mix(i ^ 2) % 17) as u32,
        run: vec!["serve".into()],
        resources: size(i),
        priority: 70,
        ..Job::new(JobKind::Service)
    };
    (0..SERVICES).map(|i| app(format!("s{i}"), job(i))).collect()
}

/// As many instances as it takes to ask for the model's part of the processors.
fn batches() -> Vec<App> {
    let cpus = |app: &App| app.jobs.values().map(|job| job.resources.cpus.0 * u64::from(job.count)).sum::<u64>();
    let day: u64 = services().iter().map(cpus).sum();
    let each = day * BATCH_OF_DAY / 100 / BATCHES;
    let job = |i: u64| {
        let resources = size(1000 + i);
        let count = (each / resources.cpus.0).max(1) as u32;
        let run = vec!["work".into()];
        Job { count, run, resources, priority: 30, ..Job::new(JobKind::Batch { retries: 0 }) }
    };
    let mut all: Vec<Job> = (0..BATCHES).map(job).collect();
    all.iter_mut().for_each(|job| job.strategy = taffeta_model::PlacementStrategy::Pack);
    all.into_iter().enumerate().map(|(i, job)| app(format!("b{i}"), job)).collect()
}

fn machines(count: u64) -> World {
    let mut world = World::new();
    for i in 1..=count {
        let capacity = Resources { cpus: Cpus(16_000), memory: 64 << 30, disk: 1 << 40, ports: 12_000 };
        world.add(i, &format!("z{}", i % 3), "r", capacity);
    }
    world
}

fn all_placed(world: &mut World) -> bool {
    let plan = world.settle();
    plan.waiting().next().is_none()
}

/// Whether so many machines hold these apps alone.
fn holds(count: u64, apps: &[App]) -> bool {
    let mut world = machines(count);
    apps.iter().for_each(|app| world.deploy(app.clone()));
    all_placed(&mut world)
}

/// Whether so many machines hold everything through two days and the night between them.
fn holds_all(count: u64) -> bool {
    let mut world = machines(count);
    let (services, batches) = (services(), batches());
    services.iter().for_each(|app| world.deploy(app.clone()));
    if !all_placed(&mut world) {
        return false;
    }
    let scale = |world: &mut World, part: u32| {
        for app in &services {
            for (job, definition) in &app.jobs {
                let count = (definition.count * part).div_ceil(100);
                world.apply(&Command::Scale { app: app.name.clone(), job: job.clone(), count });
            }
        }
    };
    scale(&mut world, BY_NIGHT);
    batches.iter().for_each(|app| world.deploy(app.clone()));
    if !all_placed(&mut world) {
        return false;
    }
    batches.iter().for_each(|app| world.apply(&Command::Stop { app: app.name.clone() })); // their work is done
    scale(&mut world, 100);
    all_placed(&mut world)
}

fn fewest(holds: impl Fn(u64) -> bool) -> f64 {
    (1..=1000).find(|count| holds(*count)).map_or(f64::NAN, |count| count as f64)
}

pub(super) fn run(report: &mut Report) {
    let partitions = fewest(|count| holds(count, &services())) + fewest(|count| holds(count, &batches()));
    let pool = fewest(holds_all);
    let beside = crate::figure::Beside { value: partitions, ratio: pool / partitions };
    report.tell(Figure::new("utilisation", pool, "machines").at_most(0.6).beside("partitions", Some(beside)));
}
