//! Wrong command lines in the shape of all our errors: `error: ...`, then `help: ...`.

use clap::error::ErrorKind;
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Prints what the parser has to say: help and version on stdout (exit 0), anything else on stderr (exit 2).
pub(crate) fn tell(told: &clap::Error) -> ExitCode {
    match told.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = told.print(); // nobody reads it any more
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = told.print();
            ExitCode::from(2)
        }
        _ => {
            let _ = io::stderr().lock().write_all(in_our_shape(&told.render().to_string()).as_bytes());
            ExitCode::from(2)
        }
    }
}

/// The parser says it in paragraphs: the fault, tips, the usage, a hint at `--help`.
fn in_our_shape(rendered: &str) -> String {
    let mut paragraphs = rendered.split("\n\n");
    let fault = joined(paragraphs.next().unwrap_or_default());
    let mut text = format!("error: {}\n", fault.strip_prefix("error: ").unwrap_or(&fault));
    for paragraph in paragraphs {
        if let Some(usage) = paragraph.trim().strip_prefix("Usage: ") {
            let usage = joined(usage).replace(" taffeta ", " or taffeta "); // a verb with verbs has two
            let verb: Vec<&str> = usage.split(' ').take_while(|w| !w.starts_with(['<', '[', '-'])).collect();
            text += &format!("help: usage: {usage}; see `{} --help`\n", verb.join(" "));
        } else {
            let tips = paragraph.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
            text.extend(tips.map(|tip| format!("help: {tip}\n")));
        }
    }
    text
}

fn joined(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::in_our_shape;
    use crate::args::Cli;
    use clap::Parser;

    fn told(line: &str) -> String {
        in_our_shape(&Cli::try_parse_from(line.split(' ')).unwrap_err().render().to_string())
    }

    #[test]
    fn the_fault_is_one_line_and_the_advice_follows() {
        assert_eq!(
            told("taffeta deploy"),
            "error: the following required arguments were not provided: <FILE>\n\
             help: usage: taffeta deploy <FILE>; see `taffeta deploy --help`\n"
        );
        assert_eq!(
            told("taffeta noeds"),
            "error: unrecognized subcommand 'noeds'\n\
             help: a similar subcommand exists: 'nodes'\n\
             help: usage: taffeta [OPTIONS] <VERB>; see `taffeta --help`\n"
        );
        assert_eq!(
            told("taffeta chaos sim rign"),
            "error: unrecognized subcommand 'rign'\n\
             help: a similar subcommand exists: 'ring'\n\
             help: usage: taffeta chaos sim [OPTIONS] or taffeta chaos sim <TIER>; see `taffeta chaos sim --help`\n"
        );
        let bad_format = told("taffeta ps -o xml");
        assert!(bad_format.starts_with("error: invalid value 'xml' for '--output <FORMAT>' [possible values: "));
    }
}
