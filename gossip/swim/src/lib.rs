//! taffeta-swim
