use super::{Figure, max, median};

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
fn one_that_never_came_counts_as_the_longest() {
    let times = [f64::INFINITY, 1.0, 2.0];
    assert_eq!(median(&times), 2.0);
    assert_eq!(Figure::new("a", max(&times), "s").value, None);
}
