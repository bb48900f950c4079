//! Experiments as people write them: the Chaos Toolkit's format (chaostoolkit.org, "Open API"), as JSON or YAML.
//!
//! Same keys, same meaning, and one provider more: `taffeta`, whose actions are faults and whose probes look at the
//! fabric. `python` is refused, as there is none here. Every refusal names line and field. Pure: the environment is an
//! argument. Left out: who is struck, and anything that is done.

mod experiment;
mod fields;
mod func;
mod look;
mod planned;
mod read;
mod secrets;
mod strike;
mod tolerance;
mod variables;

pub use experiment::{
    Activity, Arguments, CONFIRM_USUAL, Experiment, HttpCall, Hypothesis, ProcessCall, Provider, Rules,
};
pub use look::{LOOKS, Look, Scope};
pub use secrets::Secrets;
pub use strike::{LASTS_MAX, Place, Strike};
pub use variables::Given;

pub(crate) use secrets::mask_section;
pub(crate) use strike::silences;
pub(crate) use tolerance::read_tolerance;

#[cfg(test)]
mod tests;
