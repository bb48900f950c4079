//! Whom to ask, with what tokens.

use super::super::args::FabricFlags;
use crate::{
    args::ApiFlags,
    failure::Outcome,
    settings::{Key, Settings},
};
use std::{env, fs};
use taffeta_chaos_operator::Fabric;

/// The chaos token's name in a data folder.
const TOKEN_FILE: &str = "chaos.token";
/// Variable with chaos tokens.
const TOKEN_VARIABLE: &str = "TAFFETA_CHAOS_TOKEN";

/// The cluster that the flags, the environment and the configuration name.
pub(super) fn connect(before: ApiFlags, flags: FabricFlags) -> Outcome<Fabric> {
    let settings = Settings::gather(flags.api.or(before).given())?;
    let token = settings.text(Key::Token).map(|(token, _)| token.to_owned());
    let token = token.or_else(|| settings.token_of_folder().map(|(_, token)| token));
    let given = flags.chaos_token.into_iter().chain(env::var(TOKEN_VARIABLE));
    let mut tokens: Vec<String> =
        given.flat_map(|text| text.split(',').map(String::from).collect::<Vec<_>>()).collect();
    tokens.extend(settings.data().and_then(|data| fs::read_to_string(data.join(TOKEN_FILE)).ok()));
    let tokens = tokens.iter().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()).collect();
    Ok(Fabric::new(settings.client()?, token, tokens))
}
