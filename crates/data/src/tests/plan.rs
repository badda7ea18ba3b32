use super::*;

const LENGTHS: [usize; 7] = [3, 9, 4, 8, 5, 7, 6];

fn plan(group_by_length: bool, drop_last: bool) -> BatchPlan {
    BatchPlan::new(&LENGTHS, 2, 11, group_by_length, drop_last).unwrap()
}

fn sorted(batches: &[Vec<usize>]) -> Vec<usize> {
    let mut all = batches.concat();
    all.sort_unstable();
    all
}

#[test]
fn an_epoch_is_a_pure_function_of_seed_and_epoch() {
    for group in [false, true] {
        assert_eq!(plan(group, false).batches(3), plan(group, false).batches(3));
        assert_ne!(plan(group, false).batches(0), plan(group, false).batches(1));
        let other = BatchPlan::new(&LENGTHS, 2, 12, group, false).unwrap();
        assert_ne!(plan(group, false).batches(0), other.batches(0));
    }
}

#[test]
fn every_sample_once_an_epoch() {
    for group in [false, true] {
        let plan = plan(group, false);
        let batches = plan.batches(5);
        assert_eq!(batches.len(), plan.batches_per_epoch());
        assert_eq!(sorted(&batches), [0, 1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn drop_last_gives_full_batches_only() {
    let plan = plan(true, true);
    assert_eq!(plan.batches_per_epoch(), 3);
    let left_over = |epoch| (0..7).find(|at| !sorted(&plan.batches(epoch)).contains(at));
    assert!((0..4).all(|epoch| plan.batches(epoch).iter().all(|batch| batch.len() == 2)));
    assert!((1..20).any(|epoch| left_over(epoch) != left_over(0)));
}

#[test]
fn grouping_by_length_saves_padding() {
    let lengths: Vec<usize> = (0..1000).map(|at| 1 + at * 7919 % 200).collect();
    let share = |group| BatchPlan::new(&lengths, 8, 0, group, false).unwrap().padding_share(0);
    assert!(share(false) > 0.3 && share(true) < 0.05, "{} {}", share(false), share(true));
    assert_eq!(BatchPlan::new(&[4, 4, 4], 2, 0, false, false).unwrap().padding_share(0), 0.0);
    // Every batch is 8 of one length, so runs are sorted and yet the batches come in random order.
    let first = BatchPlan::new(&lengths, 8, 0, true, false).unwrap().batches(0);
    assert!(first.windows(2).any(|pair| lengths[pair[0][0]] < lengths[pair[1][0]]));
}

#[test]
fn a_budget_of_tokens_bounds_the_positions_of_a_batch() {
    let lengths: Vec<usize> = (0..1000).map(|at| 1 + at * 7919 % 200).collect();
    let plan = BatchPlan::by_tokens(&lengths, 512, 8, 3).unwrap();
    let batches = plan.batches(0);
    assert_eq!(batches.len(), plan.batches_per_epoch());
    assert_eq!(sorted(&batches), (0..1000).collect::<Vec<_>>());
    let positions = |batch: &Vec<usize>| {
        let longest = batch.iter().map(|&at| lengths[at]).max().unwrap();
        batch.len() * longest.next_multiple_of(8)
    };
    assert!(batches.iter().all(|batch| positions(batch) <= 512));
    // Short samples share a batch in numbers that long ones would not fit in.
    assert!(batches.iter().any(|batch| batch.len() > 20) && plan.padding_share(0) < 0.1);
    assert_ne!(batches, plan.batches(1));
    assert_eq!(sorted(&batches), sorted(&plan.batches(1)));
    let (epoch, at) = plan.locate(batches.len() as u64 + 5);
    assert_eq!((epoch, at), (1, 5));
    let error = BatchPlan::by_tokens(&lengths, 199, 0, 3).unwrap_err().to_string();
    assert!(error.contains("`max_tokens_per_batch` is 199"), "{error}");
    assert!(error.contains("200"), "{error}");
}

#[test]
fn resuming_finds_the_same_batches() {
    let plan = plan(true, false);
    let run: Vec<_> = (0..3).flat_map(|epoch| plan.batches(epoch)).collect();
    for (step, batch) in run.iter().enumerate() {
        let (epoch, at) = plan.locate(step as u64);
        assert_eq!(plan.batches(epoch)[at], *batch);
    }
}

#[test]
fn evaluation_goes_from_long_to_short() {
    let plan = BatchPlan::ordered(&LENGTHS, 3).unwrap();
    assert_eq!(plan.batches(0), [vec![1, 3, 5], vec![6, 4, 2], vec![0]]);
    assert_eq!(plan.batches(0), plan.batches(1));
}

#[test]
fn impossible_plans_are_errors() {
    let error = |lengths: &[usize], size| {
        BatchPlan::new(lengths, size, 0, false, true).unwrap_err().to_string()
    };
    assert!(error(&[1], 0).starts_with("`batch_size` is 0; allowed: at least 1"));
    assert!(error(&[1], 2).contains("at most the number of samples, 1"));
    assert!(error(&[], 2).starts_with("no records in"));
}
