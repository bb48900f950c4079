//! `taffeta doctor`: what this machine can do to set tasks apart. It asks the machine, not a node.

use crate::{
    args::{ApiFlags, DoctorArgs},
    failure::{Failure, Outcome},
    output::{show, table},
    settings::{Key, Settings, default_data},
};
use std::path::PathBuf;
use taffeta_isolation_linux::survey;
use taffeta_isolation_plan::Finding;

pub(super) async fn doctor(before: ApiFlags, args: DoctorArgs) -> Outcome {
    let flags = ApiFlags { data: args.data, ..ApiFlags::default() }.or(before);
    let settings = Settings::gather(flags.given())?;
    let data = settings.text(Key::Data).map(|(data, _)| data.into()).or_else(default_data);
    let permitted = survey(&folder(data), None).await;
    let permitted = permitted.map_err(|e| Failure::failed(format!("this machine cannot be looked at: {e}")))?;
    let findings = permitted.findings();
    show(args.output.format, &findings, |findings| as_table(findings))?;
    let missing: Vec<&str> =
        findings.iter().filter(|f| f.standard && !f.in_force).map(|finding| finding.what.as_str()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let told = format!("tasks of the default profile are not set apart in full here: {}", missing.join(", "));
    Err(Failure::failed(told).help("see the table; or run tasks regardless: `taffeta up --best-effort`"))
}

/// Where a node would keep its tasks, as far as that exists: some of it depends on the file system.
fn folder(data: Option<PathBuf>) -> PathBuf {
    data.map(|data| data.join("tasks")).filter(|tasks| tasks.is_dir()).unwrap_or_else(std::env::temp_dir)
}

fn as_table(findings: &[Finding]) -> String {
    let rows = findings.iter().map(|finding| {
        let state = match (finding.in_force, finding.standard, &finding.missing) {
            (true, _, None) => "in force",
            (true, _, Some(_)) => "in part",
            (false, true, _) => "MISSING",
            (false, false, _) => "missing (strict)",
        };
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        vec![
            finding.what.clone(),
            state.into(),
            text(finding.why.as_deref().or(finding.missing.as_deref())),
            text(finding.advice),
        ]
    });
    table(&["WHAT", "STATE", "WHY", "WHAT TO DO"], rows)
}
