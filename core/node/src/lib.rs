//! taffeta-node
