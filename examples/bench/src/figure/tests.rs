use super::{Beside, Figure, max, median, percentile};

#[test]
fn a_line_has_what_scripts_read() {
    let figure = Figure::new("kill_known", 4.1, "s").at_most(4.0);
    assert_eq!(
        figure.json("ring"),
        r#"{"bench":"ring","case":"kill_known","value":4.1,"unit":"s","bound":4.0,"peer":null,"peer_value":null,"ratio":null}"#
    );
}

#[test]
fn what_is_beyond_its_bound_or_never_came_is_marked() {
    assert!(Figure::new("a", 4.1, "s").at_most(4.0).row().ends_with("BEYOND"));
    assert!(Figure::new("a", f64::INFINITY, "s").at_most(4.0).row().ends_with("BEYOND"));
    assert!(!Figure::new("a", 4.0, "s").at_most(4.0).row().ends_with("BEYOND"));
    assert!(!Figure::new("a", 4.0, "s").row().ends_with("BEYOND"));
}

#[test]
fn of_what_should_be_much_too_little_is_marked() {
    assert!(Figure::new("a", 1.4, "writes/s").at_least(1.5).row().ends_with("BEYOND"));
    assert!(!Figure::new("a", 1.5, "writes/s").at_least(1.5).row().ends_with("BEYOND"));
    assert!(Figure::new("a", f64::INFINITY, "writes/s").at_least(1.5).row().ends_with("BEYOND"));
}

#[test]
fn one_that_never_came_counts_as_the_longest() {
    let times = [f64::INFINITY, 1.0, 2.0];
    assert_eq!(median(&times), 2.0);
    assert_eq!(Figure::new("a", max(&times), "s").value, None);
}

#[test]
fn beside_a_peer_the_ratio_is_judged_and_without_it_nothing() {
    let slow = Some(Beside { value: 2.0, ratio: 0.95 });
    assert!(Figure::new("a", 1.9, "us").beside("knot", slow).at_most(0.9).row().ends_with("BEYOND"));
    let fast = Some(Beside { value: 4.0, ratio: 0.475 });
    assert!(!Figure::new("a", 1.9, "us").beside("knot", fast).at_most(0.9).row().ends_with("BEYOND"));
    assert!(!Figure::new("a", 1.9, "us").beside("knot", None).at_most(0.9).row().ends_with("BEYOND"));
}

#[test]
fn a_percentile_is_the_value_that_so_many_do_not_exceed() {
    let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
    assert_eq!(percentile(&values, 0.99), 198.0);
    assert_eq!(percentile(&values, 0.5), 100.0);
    assert_eq!(percentile(&[3.0], 0.99), 3.0);
}
