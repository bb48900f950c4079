//! taffeta-net
