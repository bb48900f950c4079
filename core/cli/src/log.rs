//! What is logged, on stderr.

use crate::failure::{Failure, Outcome};
use std::env;
use tracing_subscriber::EnvFilter;

/// What `TAFFETA_LOG` asks for, in the syntax of tracing's filters; nothing if it is not set.
pub(crate) fn wanted() -> Outcome<Option<EnvFilter>> {
    match env::var("TAFFETA_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter).map(Some).map_err(|e| {
            Failure::wrong(format!("TAFFETA_LOG: {e}")).help("write it as `info`, or `warn,taffeta=debug`")
        }),
        Ok(_) | Err(_) => Ok(None),
    }
}
