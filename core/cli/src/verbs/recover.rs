//! `taffeta recover`: shows what the folder of a stopped node knows, compares it with other survivors, and with `--yes`
//! makes it the beginning of a new generation.

use crate::{
    args::RecoverArgs,
    failure::{Failure, Outcome},
    output::{Format, remark, show},
    settings::{Key, Settings, Value},
};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};
use taffeta_net::{Clock, SystemClock};
use taffeta_node::{Loss, MemberEntry, PositionView, SurveyView};

/// Largest output of another survivor that is read: names of ten thousand members and apps are a fraction of it.
const SURVEY_BYTES_MAX: u64 = 64 << 20;

/// A survivor beside this one.
#[derive(Serialize)]
struct Compared {
    name: String,
    /// `more`, `less` or `the same`.
    knows: &'static str,
    /// What only the other has.
    lost_if_this_is_taken: Loss,
    /// What only this one has.
    lost_if_the_other_is_taken: Loss,
}

/// This survivor beside others.
#[derive(Serialize)]
struct Shown<'a> {
    survey: &'a SurveyView,
    compared: Vec<Compared>,
}

/// Either form of our own output.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Compared { survey: SurveyView },
    Alone(SurveyView),
}

pub(super) async fn recover(args: RecoverArgs) -> Outcome {
    let given = args.data.map(|data| (Key::Data, Value::Text(data.to_string_lossy().into_owned())));
    let data = Settings::gather(given.into_iter().collect())?.data().ok_or_else(|| {
        Failure::wrong("there is no home folder with a node's data in it").help("give the data folder: --data DIR")
    })?;
    let mut others = vec![];
    for other in &args.compare {
        others.push(if other.is_dir() { taffeta_node::survey(other).await? } else { read(other)? });
    }
    if args.yes {
        let (now, ca_from) = (SystemClock.date(), args.ca_from.as_deref());
        let recovered = taffeta_node::recover(&data, &others, args.force, ca_from, now).await?;
        return show(args.output.format, &recovered, |r| {
            format!(
                "`{}` is the only voter of generation {} now; start it (`taffeta up`), then the others with their own data \
                 folders: they join the new generation by themselves",
                r.name, r.generation
            )
        });
    }
    let survey = taffeta_node::survey(&data).await?;
    for other in &others {
        survey.check_comparable(other).map_err(Failure::wrong)?;
    }
    let compared: Vec<Compared> = others.iter().map(|other| compared(&survey, other)).collect();
    if compared.is_empty() {
        show(args.output.format, &survey, as_text)?;
    } else {
        let text = |shown: &Shown<'_>| {
            let lines = shown.compared.iter().map(as_line).collect::<String>();
            format!("{}{lines}", as_text(shown.survey))
        };
        show(args.output.format, &Shown { survey: &survey, compared }, text)?;
    }
    if matches!(args.output.format, Format::Table) {
        remark("nothing was changed; recover on the survivor that knows most, and on one only: --yes");
    }
    Ok(())
}

fn read(path: &Path) -> Outcome<SurveyView> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::wrong(format!("--compare {}: {why}", path.display()))
            .help("give another survivor's data folder, or what `taffeta recover -o json` printed there")
    };
    let length = fs::metadata(path).map_err(|e| wrong(&e))?.len();
    if length > SURVEY_BYTES_MAX {
        return Err(wrong(&format!("it has {length} bytes, expected at most {SURVEY_BYTES_MAX}")));
    }
    match serde_json::from_slice(&fs::read(path).map_err(|e| wrong(&e))?) {
        Ok(Told::Compared { survey } | Told::Alone(survey)) => Ok(survey),
        Err(_) => Err(wrong(&"it is no output of `taffeta recover -o json`")),
    }
}

fn compared(mine: &SurveyView, other: &SurveyView) -> Compared {
    let knows = match (mine.knows_less_than(other), other.knows_less_than(mine)) {
        (true, _) => "more",
        (false, true) => "less",
        (false, false) => "the same",
    };
    Compared {
        name: other.name.clone(),
        knows,
        lost_if_this_is_taken: mine.loss_against(other),
        lost_if_the_other_is_taken: other.loss_against(mine),
    }
}

fn as_line(c: &Compared) -> String {
    format!(
        "compared     `{}` knows {}; if this node is taken, {}; if `{}` is taken, {}\n",
        c.name,
        c.knows,
        c.lost_if_this_is_taken.to_string().replace("would be lost: ", "there would be lost "),
        c.name,
        c.lost_if_the_other_is_taken.to_string().replace("would be lost: ", "there would be lost ")
    )
}

fn as_text(s: &SurveyView) -> String {
    let at = |at: &Option<PositionView>| at.map_or("none".into(), |at| format!("{} of term {}", at.index, at.term));
    let names = |all: &[MemberEntry]| match all.is_empty() {
        true => "none".into(),
        false => all.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", "),
    };
    let apps: Vec<String> = s.apps.iter().map(|(name, version)| format!("{name} (version {version})")).collect();
    let apps = if apps.is_empty() { "none".into() } else { apps.join(", ") };
    let ca = if s.holds_ca { "held" } else { "not held: it was no voter" };
    format!(
        "node         {} ({})\ncluster      {}\ngeneration   {}\nlast entry   {}\ncommitted    {}, as far as it knew\n\
         voters       {}\nlearners     {}\nmembers      {}\napps         {apps}\ntasks        {}\ntokens       {}\n\
         CA key       {ca}\n",
        s.name,
        s.node,
        s.cluster,
        s.generation,
        at(&s.last),
        at(&s.committed),
        names(&s.voters),
        names(&s.learners),
        names(&s.members),
        s.tasks,
        s.tokens.len(),
    )
}
