//! embedded
fn main() {}
