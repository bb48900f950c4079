//! taffeta-isolation-plan
