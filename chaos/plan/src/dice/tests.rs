use super::Dice;

const THROWS: usize = 100_000;

fn share(seed: u64, mut hit: impl FnMut(&mut Dice) -> bool) -> f64 {
    let mut dice = Dice::new(seed);
    (0..THROWS).filter(|_| hit(&mut dice)).count() as f64 / THROWS as f64
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 0.01, "{found} is not about {expected}");
}

#[test]
fn exponential_draws_exceed_x_with_chance_e_to_the_minus_x() {
    for x in [0.1, 0.5, 1.0, 2.0, 3.0_f64] {
        near(share(1, |dice| dice.exponential() > x), (-x).exp());
    }
}

#[test]
fn log_draws_give_each_doubling_the_same_chance() {
    for (low, high) in [(1.0, 2.0), (2.0, 4.0), (4.0, 8.0)] {
        near(share(2, |dice| (low..high).contains(&dice.log_between(1.0, 8.0))), 1.0 / 3.0);
    }
}

#[test]
fn below_gives_each_number_the_same_chance() {
    for n in 0..5 {
        near(share(3, |dice| dice.below(5) == n), 0.2);
    }
    assert_eq!(Dice::new(4).below(0), 0);
}
