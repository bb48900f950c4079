//! taffeta-agent
