//! taffeta-isolation-linux
