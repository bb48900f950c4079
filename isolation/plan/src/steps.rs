//! The steps of a start, and how each is taken back.

use crate::{Cgroups, Fetched, InvalidSpec, Limits, Permitted, Placed, Sandbox, SecretsAt, TaskSpec};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Name of the file that keeps the spec: written before anything else, so that whoever finds the folder knows whose it is.
pub const SPEC_FILE: &str = "spec.json";

/// Name of the working folder inside the folder of a run.
pub const WORK_FOLDER: &str = "work";

/// Name of the file in the folder of a run that its task sees as `/etc/resolv.conf`.
pub const RESOLV_FILE: &str = "resolv.conf";

/// One thing to do. Performed in order; a step that fails is followed by [`undo`] of those before it and of itself, but
/// for a folder that could not be made: it may be another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes a folder that must not exist yet.
    MakeFolder {
        /// Where.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// Writes a file.
    WriteFile {
        /// Where.
        path: PathBuf,
        /// What.
        body: Vec<u8>,
        /// Permission bits.
        mode: u32,
    },
    /// Makes a symbolic link.
    MakeLink {
        /// Where.
        path: PathBuf,
        /// Where it leads.
        to: PathBuf,
    },
    /// Copies a file.
    CopyFile {
        /// For people.
        title: String,
        /// What.
        from: PathBuf,
        /// Where to; nothing may be there.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// Unpacks an archive: files, folders, and links that stay inside; with no more rights than its reader has.
    Unpack {
        /// For people.
        title: String,
        /// What.
        from: PathBuf,
        /// Where to: made if it is not there.
        folder: PathBuf,
        /// Most bytes of all its files together.
        bytes_max: u64,
    },
    /// Makes a cgroup and sets its limits, each of which is read back.
    CreateGroup {
        /// Below the root of each hierarchy.
        path: String,
        /// The limits.
        limits: Limits,
    },
    /// Lets the shim put the secrets there before it starts the task; their values go to it through a pipe.
    PlaceSecrets {
        /// The folder of the run.
        folder: PathBuf,
        /// Where.
        at: SecretsAt,
    },
    /// Lets the shim set the task apart.
    SetApart {
        /// How.
        sandbox: Sandbox,
    },
    /// Starts the shim, which starts the task.
    StartShim {
        /// The folder of the run.
        folder: PathBuf,
    },
}

/// One thing to take back. Each succeeds if there is nothing left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Kills whatever of the task still runs; the shim ends by itself then.
    StopTask {
        /// The folder of the run.
        folder: PathBuf,
    },
    /// Removes a cgroup that has become empty.
    RemoveGroup {
        /// Below the root of each hierarchy.
        path: String,
    },
    /// Removes the secrets, as far as they did not go with the task.
    RemoveSecrets {
        /// The folder of the run.
        folder: PathBuf,
    },
    /// Removes a folder and all that is in it.
    RemoveFolder {
        /// Where.
        path: PathBuf,
    },
}

/// The cgroup of a run, below the root of each hierarchy.
pub fn group_path(permitted: &Permitted, run_id: &str) -> String {
    format!("{}/{run_id}", permitted.group_parent)
}

/// What has to be done to start the task on a machine that permits so much. What is missing there is simply left out;
/// whether the task may start without it is for the caller of [`TaskSpec::not_isolated`] to decide.
pub fn plan(spec: &TaskSpec, permitted: &Permitted) -> Result<Vec<Step>, InvalidSpec> {
    spec.check()?;
    let work = spec.work();
    // 0711: a task that gives up root must still reach its working folder, while nobody may list what lies beside it.
    let mut steps = vec![
        Step::MakeFolder { path: spec.folder.clone(), mode: 0o711 },
        Step::WriteFile {
            path: spec.folder.join(SPEC_FILE),
            body: kept(spec),
            mode: 0o600, // the environment may hold secrets
        },
        Step::MakeFolder { path: work.clone(), mode: 0o755 },
    ];
    steps.extend(spec.files.iter().map(|(name, file)| Step::WriteFile {
        path: work.join(name),
        body: file.body.clone(),
        mode: if file.executable { 0o755 } else { 0o644 },
    }));
    steps.extend(spec.links.iter().map(|(name, to)| Step::MakeLink { path: work.join(name), to: to.clone() }));
    // After what was shipped: an archive that holds a file of the same name is refused.
    steps.extend(spec.fetched.iter().map(|fetched| place(fetched, &work)));
    steps.extend(spec.resolv_conf.iter().map(|text| Step::WriteFile {
        path: spec.folder.join(RESOLV_FILE),
        body: text.clone().into_bytes(),
        mode: 0o644,
    }));
    match permitted.cgroups {
        Cgroups::None { .. } => {}
        Cgroups::V1(_) | Cgroups::Hybrid(_) | Cgroups::V2(_) => {
            steps.push(Step::CreateGroup { path: group_path(permitted, &spec.run_id), limits: Limits::of(spec) });
        }
    }
    if let Some(at) = spec.secrets_at(permitted) {
        steps.push(Step::PlaceSecrets { folder: spec.folder.clone(), at });
    }
    steps.push(Step::SetApart { sandbox: Sandbox::of(spec, permitted) });
    steps.push(Step::StartShim { folder: spec.folder.clone() });
    Ok(steps)
}

fn place(fetched: &Fetched, work: &Path) -> Step {
    let Fetched { title, from, placed } = fetched;
    let (title, from) = (title.clone(), from.clone());
    match placed {
        Placed::Copy { name, executable } => {
            Step::CopyFile { title, from, path: work.join(name), mode: if *executable { 0o755 } else { 0o644 } }
        }
        Placed::Unpack { name, bytes_max } => {
            let folder = name.as_ref().map_or_else(|| work.to_owned(), |name| work.join(name));
            Step::Unpack { title, from, folder, bytes_max: *bytes_max }
        }
    }
}

/// What takes the steps back, in the order in which it has to happen: processes first, the folder last, since it is what
/// tells a successor that something is left to do.
pub fn undo(steps: &[Step]) -> Vec<Undo> {
    let back = |step: &Step| match step {
        Step::MakeFolder { path, .. } => Some(Undo::RemoveFolder { path: path.clone() }),
        // These go with their folder.
        Step::WriteFile { .. } | Step::MakeLink { .. } | Step::CopyFile { .. } | Step::Unpack { .. } => None,
        Step::SetApart { .. } => None, // goes with the task's processes
        Step::CreateGroup { path, .. } => Some(Undo::RemoveGroup { path: path.clone() }),
        Step::PlaceSecrets { folder, .. } => Some(Undo::RemoveSecrets { folder: folder.clone() }),
        Step::StartShim { folder } => Some(Undo::StopTask { folder: folder.clone() }),
    };
    steps.iter().rev().filter_map(back).collect()
}

/// The spec as it is kept, without the bodies of the files.
fn kept(spec: &TaskSpec) -> Vec<u8> {
    let spec = TaskSpec { files: BTreeMap::new(), ..spec.clone() };
    serde_json::to_vec(&spec).expect("text, numbers and maps with text keys are always JSON")
}
