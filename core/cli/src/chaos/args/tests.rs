use super::{ExperimentFlags, Seeds, minutes, nodes, stall};
use clap::CommandFactory;
use std::time::Duration;

#[test]
fn a_range_of_seeds_is_half_open_unless_it_says_otherwise() {
    for (text, first, last, shown) in [
        ("0..4", 0, 3, "0..4"),
        ("7..=7", 7, 7, "7..8"),
        (
            "18446744073709551615..=18446744073709551615",
            u64::MAX,
            u64::MAX,
            "18446744073709551615..=18446744073709551615",
        ),
    ] {
        let seeds: Seeds = text.parse().unwrap();
        assert_eq!((seeds, seeds.to_string().as_str()), (Seeds { first, last }, shown));
        assert_eq!(shown.parse(), Ok(seeds));
    }
    for wrong in ["", "4", "..", "0..", "..4", "4..4", "0..0", "5..4", "5..=4", "-1..4", "0...4", "a..b", "0..10000001"]
    {
        assert!(wrong.parse::<Seeds>().is_err(), "{wrong}");
    }
}

#[test]
fn the_help_names_every_ready_made_experiment() {
    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        _flags: ExperimentFlags,
    }
    let help = Only::command().render_long_help().to_string().replace('\n', " ");
    let words: Vec<&str> = help.split([' ', ',']).collect();
    for ready in taffeta_chaos_operator::READY {
        assert!(words.contains(&ready.name), "{}: {help}", ready.name);
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    assert_eq!((nodes("3"), nodes("15"), minutes("0.5")), (Ok(3), Ok(15), Ok(0.5)));
    for wrong in ["2", "16", "", "-3", "3.5"] {
        assert!(nodes(wrong).is_err(), "{wrong}");
    }
    for wrong in ["-1", "nan", "inf", "1441", "1m", ""] {
        assert!(minutes(wrong).is_err(), "{wrong}");
    }
    assert_eq!(stall("0.1:2.5").map(|s| (s.fraction, s.lasts)), Ok((0.1, Duration::from_millis(2500))));
    for wrong in ["0.1", "0.1:", ":5", "0.1:-5", "0.1:5s", "0.1:nan"] {
        assert!(stall(wrong).is_err(), "{wrong}");
    }
}
