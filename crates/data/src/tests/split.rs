use super::*;

#[test]
fn parts_are_seeded_disjoint_and_in_order() {
    let items: Vec<usize> = (0..50).collect();
    let (train, held) = split(items.clone(), HoldOut::Fraction(0.1), 3).unwrap();
    assert_eq!((train.len(), held.len()), (45, 5));
    assert!(train.is_sorted() && held.is_sorted());
    let mut all = [train, held.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, items);
    assert_eq!(split(items.clone(), HoldOut::Count(5), 3).unwrap().1, held);
    assert_ne!(split(items.clone(), HoldOut::Count(5), 4).unwrap().1, held);
    assert!(split(items, HoldOut::Count(0), 3).unwrap().1.is_empty());
}

#[test]
fn shares_and_counts_are_checked() {
    for share in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(split(vec![1, 2], HoldOut::Fraction(share), 0).is_err());
    }
    let error = split(vec![1, 2], HoldOut::Count(2), 0).unwrap_err().to_string();
    assert!(error.starts_with("`validation_split` is 2 of 2 samples; allowed: fewer"), "{error}");
    assert!(split(vec![1], HoldOut::Fraction(0.1), 0).is_err());
    assert_eq!(serde_json::from_str::<HoldOut>("200").unwrap(), HoldOut::Count(200));
    assert_eq!(serde_json::from_str::<HoldOut>("0.1").unwrap(), HoldOut::Fraction(0.1));
    assert_eq!(serde_json::from_str::<HoldOut>("1.0").unwrap(), HoldOut::Fraction(1.0));
}
