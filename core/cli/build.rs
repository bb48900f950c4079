//! How the program is linked.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A shim of each task is this program once more. Linked to a fixed address it has no relocations, of which each process
    // would write, and keep for itself, nearly a megabyte.
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux")
        && env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu")
    {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
