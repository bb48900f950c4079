//! taffeta-scheduler
