//! The binary that is measured: the named one, or that of the folder in which this program was built.

use anyhow::{Context, Result, bail};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Finds it, and builds it if it is not there.
pub(crate) fn find() -> Result<PathBuf> {
    let binary = match env::var_os("TAFFETA_BINARY") {
        Some(named) => PathBuf::from(named).canonicalize().context("TAFFETA_BINARY names no file")?,
        None => beside_us()?,
    };
    let age = binary.metadata()?.modified()?.elapsed().unwrap_or_default();
    eprintln!("measures {}, built {} min ago", binary.display(), age.as_secs() / 60);
    Ok(binary)
}

fn beside_us() -> Result<PathBuf> {
    let own = env::current_exe().context("where is this program?")?;
    let folder = own.parent().context("this program is in no folder")?;
    let binary = folder.join("taffeta");
    if !binary.exists() {
        build(folder)?;
    }
    if !binary.exists() {
        bail!("there is no {}; build it with `cargo build --release`, or name one by TAFFETA_BINARY", binary.display());
    }
    Ok(binary)
}

/// Builds the workspace's default member, which is the product, into the target folder of which `folder` is a part.
fn build(folder: &Path) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "taffeta", "--bin", "taffeta", "--manifest-path"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"));
    command.arg("--target-dir").arg(folder.parent().context("this program is in no target folder")?);
    if folder.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    eprintln!("builds the binary that is measured");
    let status = command.status().context("cannot run cargo; name a binary by TAFFETA_BINARY")?;
    if !status.success() {
        bail!("the binary that is measured was not built; name one by TAFFETA_BINARY");
    }
    Ok(())
}
