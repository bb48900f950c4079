//! `autoscale = { ... }`: by what the number of instances follows the load.

use super::{error::AppFileError, item::Item};
use crate::{Autoscale, COUNT_MAX, Metric, PortSpec};

const KEYS: [&str; 10] = ["min", "max", "cpu", "memory", "metric", "http", "port", "target", "up_after", "down_after"];

/// Largest share of what an instance asks for, in thousandths: processors that nobody uses are given beyond it.
const CPU_MAX: u64 = 1_000_000;

/// Reads `autoscale`. `ports` are those of the job: a metric's is the first of them unless it is named.
pub(super) fn read_autoscale(item: &Item<'_>, ports: &[PortSpec]) -> Result<Autoscale, AppFileError> {
    let mut scale = Autoscale::default();
    let (mut max, mut name, mut path, mut port, mut target) = (None, None, None, None, None);
    for (key, item) in item.entries()? {
        match key {
            "min" => scale.min = item.whole("a number of instances", 1, COUNT_MAX)?,
            "max" => max = Some(item.whole("a number of instances", 1, COUNT_MAX)?),
            "cpu" => scale.cpu = Some(item.thousandths("a share of the processors asked for", CPU_MAX)? as u32),
            "memory" => scale.memory = Some(item.thousandths("a share of the memory asked for", 1000)? as u32),
            "metric" => name = Some((item.string()?, item)),
            "http" => path = Some((item.string()?, item)),
            "port" => port = Some((item.string()?, item)),
            "target" => {
                target = Some((item.thousandths("what the metric should be", crate::TARGET_MAX)?, item));
            }
            "up_after" => scale.up_after = item.duration()?,
            "down_after" => scale.down_after = item.duration()?,
            _ => return Err(item.unknown_key(key, &KEYS)),
        }
    }
    scale.max = max.ok_or_else(|| item.missing("max", "the most instances"))?;
    let Some((name, at)) = name else {
        let other = path.or(port).map(|(_, item)| item).or_else(|| target.map(|(_, item)| item));
        return match other {
            Some(other) => Err(other.error("belongs to a `metric`, which is not named")),
            None => Ok(scale),
        };
    };
    let (target, _) = target.ok_or_else(|| item.missing("target", "what the metric should be on the average"))?;
    let port = port.map(|(port, _)| port).or_else(|| ports.first().map(|port| port.name.as_str()));
    let port = port.ok_or_else(|| at.error("the job has no port that the metric could be read from"))?;
    let path = path.map_or("/metrics", |(path, _)| path);
    scale.metric = Some(Metric { name: name.into(), path: path.into(), port: port.into(), target });
    Ok(scale)
}
