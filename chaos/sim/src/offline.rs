//! What an operator does to a machine whose process is not there.

use crate::machine::Machine;

/// Makes this machine the one from which the cluster goes on, in a new generation. Gives the generation.
pub(crate) fn recover(machine: &Machine) -> Result<u64, String> {
    Err(format!("{}: this version of the product cannot recover a cluster", machine.name))
}
