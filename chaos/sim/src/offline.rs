//! What an operator does to machines whose processes are not there.

use crate::{disk::LogFiles, machine::Machine, process::LOG_SIZES, time::date};
use std::sync::Arc;
use taffeta_node::{Stopped, SurveyView, recover_in, survey_in};

/// What this machine's folder knows.
pub(crate) fn survey(machine: &Machine) -> Result<SurveyView, String> {
    let shown = survey_in(stopped(machine)).map_err(|e| e.to_string());
    machine.disk.close();
    shown
}

/// Makes this machine the one from which the cluster goes on, in a new generation. Gives the generation. Refused if one of
/// the others knows more.
pub(crate) fn recover(machine: &Machine, others: &[SurveyView]) -> Result<u64, String> {
    let recovered = recover_in(stopped(machine), others, false, date(machine.died));
    machine.disk.close();
    recovered.map(|recovered| recovered.generation).map_err(|e| e.to_string())
}

fn stopped(machine: &Machine) -> Stopped {
    let session = machine.disk.open();
    Stopped { log: Arc::new(LogFiles(session.clone())), folder: Arc::new(session), log_sizes: LOG_SIZES }
}
