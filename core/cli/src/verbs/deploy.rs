//! `deploy` and `plan`.

use super::{Client, files::AppFile, tables, wait};
use crate::{
    failure::{Outcome, one_line},
    output::{Format, print, remark, show},
};
use std::time::Duration;

pub(super) async fn deploy(client: Client, file: AppFile, wait: bool, patience: Duration) -> Outcome {
    let deployed = client.deploy(file.request.clone()).await.map_err(|e| file.refused(e))?;
    let (name, version) = (&deployed.app, deployed.version);
    if wait {
        remark(&format!("{name} version {version} is accepted"));
        wait::until_healthy(&client, &file, version, patience).await?;
        return print(&format!("{name} version {version} is healthy"));
    }
    print(&format!("{name} version {version} is deployed; see `taffeta ps {name}`"))
}

pub(super) async fn plan(client: Client, file: AppFile, format: Format) -> Outcome {
    let plan = client.plan(file.request.clone()).await.map_err(|e| file.refused(e))?;
    let name = file.name();
    plan.warnings.iter().for_each(|warning| remark(&one_line(&format!("warning: {name}: {warning}"))));
    show(format, &plan, |plan| {
        if plan.steps.iter().all(|step| step.action == "keep") {
            remark("nothing would change");
        }
        tables::plan(plan)
    })
}
