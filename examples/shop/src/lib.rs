//! taffeta-example-shop
