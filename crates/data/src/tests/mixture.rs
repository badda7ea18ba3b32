use super::*;

#[test]
fn shares_follow_the_formula_and_are_rounded_to_the_same_sum() {
    let sets = |sizes: &[usize], weights: &[f64], temperature| {
        Mixture::new(sizes, weights, temperature).unwrap().sets().to_vec()
    };
    assert_eq!(sets(&[30, 70], &[1.0, 1.0], 1.0), [(30, 30), (70, 70)]);
    assert_eq!(sets(&[30, 70], &[0.3, 0.3], 1.0), [(30, 30), (70, 70)]);
    // 2 * 30 : 1 * 70 = 6 : 7, of 100.
    assert_eq!(sets(&[30, 70], &[2.0, 1.0], 1.0), [(30, 46), (70, 54)]);
    // Roots: 10 : 30.
    assert_eq!(sets(&[100, 900], &[1.0, 1.0], 2.0), [(100, 250), (900, 750)]);
    assert_eq!(sets(&[100, 900], &[3.0, 1.0], 2.0), [(100, 500), (900, 500)]);
    assert_eq!(sets(&[0, 3, 4], &[9.0, 1.0, 1.0], 1.5).iter().map(|set| set.1).sum::<usize>(), 7);
    assert_eq!(sets(&[0, 3, 4], &[9.0, 1.0, 1.0], 1.5)[0], (0, 0));
    // A temperature near 0 takes the largest set alone, and does not overflow.
    assert_eq!(sets(&[100_000, 900_000], &[1.0, 1.0], 1e-3), [(100_000, 0), (900_000, 1_000_000)]);
}

#[test]
fn samples_of_a_set_are_drawn_equally_often_over_epochs() {
    let mixture = Mixture::new(&[5, 20], &[3.0, 1.0], 1.0).unwrap();
    assert_eq!(mixture.sets(), [(5, 11), (20, 14)]);
    let plan = BatchPlan::new(&[4; 25], 4, 7, false, false).unwrap().with_mixture(&mixture);
    let plan = plan.unwrap();
    let mut counts = [0_usize; 25];
    for epoch in 0..9 {
        let drawn = plan.batches(epoch).concat();
        assert_eq!(drawn.len(), 25);
        assert_eq!(drawn.iter().filter(|index| **index < 5).count(), 11);
        drawn.into_iter().for_each(|index| counts[index] += 1);
        for set in [&counts[..5], &counts[5..]] {
            let (least, most) = (set.iter().min().unwrap(), set.iter().max().unwrap());
            assert!(most - least <= 1, "{counts:?}");
        }
    }
    assert_eq!(plan.batches(3), plan.batches(3), "an epoch is a pure function of its number");
    assert_ne!(plan.batches(3), plan.batches(4));
}

#[test]
fn equal_shares_change_nothing() {
    let mixture = Mixture::new(&[3, 4], &[2.0, 2.0], 1.0).unwrap();
    let plan = BatchPlan::new(&[3, 9, 4, 8, 5, 7, 6], 2, 11, true, false).unwrap();
    let mixed = plan.clone().with_mixture(&mixture).unwrap();
    assert_eq!(mixed.batches(2), plan.batches(2));
}

#[test]
fn what_is_not_above_zero_is_refused() {
    let error = |weights: &[f64], temperature| {
        Mixture::new(&[1, 1], weights, temperature).unwrap_err().to_string()
    };
    assert_eq!(error(&[1.0, -0.5], 1.0), "`weight` is -0.5; allowed: a number above 0");
    assert!(error(&[1.0, 1.0], 0.0).starts_with("`mixing_temperature` is 0.0"));
    assert!(error(&[f64::NAN, 1.0], 1.0).starts_with("`weight` is NaN"));
    let mixture = Mixture::new(&[1, 1], &[1.0, 1.0], 1.0).unwrap();
    let plan = BatchPlan::new(&[1; 3], 1, 0, false, false).unwrap();
    assert!(plan.with_mixture(&mixture).is_err());
}
