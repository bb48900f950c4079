//! The nouns of the fabric and their transitions: ids, apps, tasks, commands, the replicated state.
//!
//! Pure: no clock, no file, no socket, no randomness. Whoever needs the time passes it in; whoever changes the state
//! does it by [`State::apply`], which gives the same result on every machine. Left out on purpose: how the state is
//! replicated (`taffeta-store`), who decides placements (`taffeta-scheduler`), who runs them (`taffeta-agent`).

mod app;
mod app_file;
mod assigned;
mod command;
mod hash;
mod ids;
mod lease;
mod planted;
mod record;
mod recovery;
mod resources;
mod runs;
mod secret;
mod state;
mod time;
pub mod v1;
mod versions;

pub use app::{
    ANSWERS_MAX, AbsolutePath, Account, App, Autoscale, COUNT_MAX, CUSTOM_MAX, Constraint, CpuSet, DOWN_AFTER_MAX,
    DnsEmpty, DnsOrder, DnsPolicy, EPSILON_DEFAULT, FETCHES_MAX, FILE_BYTES_MAX, Fetch, HISTORY_MAX, Health,
    HealthProbe, HostMount, IO_WEIGHT_MAX, InvalidApp, InvalidCpuSet, InvalidPath, Isolation, JOBS_MAX, Job, JobKind,
    JobRef, LogBounds, MOUNTS_MAX, Measure, Metric, MissedPolicy, Operator, Overlap, PREFERENCE_WEIGHT_MAX,
    PREFERENCES_MAX, PRIORITY_DEFAULT, PRIORITY_MAX, PlacementStrategy, PortSpec, Preference, Profile, Recurrence,
    Rlimit, RlimitBounds, RunAs, Sha256, ShippedFile, TARGET_MAX, Tmpfs, UpdatePolicy, Volume, WEIGHT_DEFAULT,
    WEIGHT_MAX, check_resource_name, whole,
};
pub use app_file::{AppFileError, FileSource, line_of_field, nearest, parse_app_file};
pub use assigned::{Assigned, AssignedSet, Directory, DirectoryJob, DirectoryMember};
pub use command::{Command, Exit, Outcome, Placement, Refusal, Removal};
pub use hash::{fnv1a, mix};
pub use ids::{
    AppName, ClusterId, Fence, InvalidName, JobName, NodeId, NodeName, RESERVED_NAMES, TaskId, TeamName, TokenId,
    VolumeName,
};
pub use lease::{LEASE_BASE, LEASE_DNS, LEASE_EVERY, LEASES_MAX, Leased};
#[cfg(feature = "planted-bugs")]
pub use planted::plant;
pub use planted::{Bug, planted};
pub use record::{Liveness, NodeInfo, Phase, TaskRecord};
pub use recovery::{Life, Recovery};
pub use resources::{Cpus, Resources};
pub use runs::{
    ARGS_BYTES_MAX, ARGS_MAX, Decision, FAILED_LISTED_MAX, Firing, Missed, Past, QUEUE_MAX, Run, RunEnd, Runs, Trigger,
};
pub use secret::{
    Envelope, InvalidSecretName, JOB_SECRETS_MAX, SECRET_BYTES_MAX, SECRETS_BYTES_MAX, SECRETS_MAX, Secret, SecretName,
    SecretPins, SecretState, SecretVersion,
};
pub use state::{
    APPS_MAX, AUTHORITIES_MAX, AppState, CERTIFICATE_BYTES_MAX, CHAOS_REASON_MAX, Cause, CertificateAuthority, Chaos,
    ChaosBlock, KEPT_MAX, Kept, MEMBERS_MAX, Maintenance, Member, Place, QUOTAS_MAX, Quota, REMOVED_MAX, Rollout,
    SHARE_DEFAULT, SHARE_MAX, SURGE_MAX, State, TASKS_MAX, TOKENS_MAX, Task, Tasks, Token, TokenRole, VOLUMES_MAX,
    VolumeId, VolumeState, Volumes, WINDOW_MAX, WINDOW_MIN, WINDOWS_MAX, Window,
};
pub use taffeta_calendar::{Calendar, InvalidSchedule, Schedule, Spent, rfc3339};
pub use time::{BEAT, BootMillis, Millis, UnixMillis, beat_until, next_beat, pulse_until};
pub use versions::{VERSION, VERSION_MIN, Versions};
