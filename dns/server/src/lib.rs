//! taffeta-dns-server
