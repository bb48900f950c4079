//! taffeta-harness
