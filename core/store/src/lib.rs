//! taffeta-store
