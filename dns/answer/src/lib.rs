//! taffeta-dns-answer
