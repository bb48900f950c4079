//! taffeta
fn main() {}
