//! taffeta-catalogue
