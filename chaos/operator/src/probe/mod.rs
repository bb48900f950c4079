//! What activities find: an HTTP reply, a command's output, an answer of the fabric.

mod http;
mod look;
mod process;

pub(crate) use http::get;
pub(crate) use look::{Names, names_of, names_right};

use crate::{
    fabric::Fabric,
    format::{Activity, Arguments, Provider},
    tolerance::Tolerance,
};
use serde_json::Value as Json;

/// Asks what an activity asks. The error says in words why nothing was found. Faults find nothing.
pub async fn find(activity: &Activity, fabric: &Fabric) -> Result<Json, String> {
    match &activity.provider {
        Provider::Http(call) => http::call(call).await,
        Provider::Process(call) => process::call(call).await,
        Provider::Look(look) => look::look(look, fabric).await,
        Provider::Strike(_) => Err("a fault finds nothing".into()),
    }
}

/// Whether a value is as it should be.
pub async fn is_tolerated(tolerance: &Tolerance, value: &Json, fabric: &Fabric) -> bool {
    let Tolerance::Probe(probe) = tolerance else { return tolerance.is_met(value).unwrap_or_default() };
    let given = Box::pin(find(&with_value(probe, value), fabric)).await;
    // As in Python: nothing, zero and empty are false; a command and a request tell by their status.
    given.is_ok_and(|found| match &found {
        Json::Null => false,
        Json::Bool(on) => *on,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(list) => !list.is_empty(),
        Json::Object(map) => match map.get("status").and_then(Json::as_i64) {
            Some(status) => matches!(status, 0 | 200..=399),
            None => !map.is_empty(),
        },
    })
}

/// The probe with one argument more, `value`.
fn with_value(probe: &Activity, value: &Json) -> Activity {
    let mut probe = probe.clone();
    match &mut probe.provider {
        Provider::Http(call) => {
            if call.arguments.is_null() {
                call.arguments = serde_json::json!({});
            }
            if let Some(map) = call.arguments.as_object_mut() {
                map.insert("value".into(), value.clone());
            }
        }
        Provider::Process(call) => {
            if let Arguments::Words(words) = &mut call.arguments {
                words.extend(["value".into(), value.to_string()]);
            }
        }
        Provider::Look(_) | Provider::Strike(_) => {}
    }
    probe
}

#[cfg(test)]
mod tests;
