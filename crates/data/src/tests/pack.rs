use super::*;

fn of(length: u32, task_type: Option<u32>) -> Sample {
    let first = 10_000 * task_type.unwrap_or(0) + 100 * length;
    let ids: Vec<u32> = (0..length).map(|at| first + at).collect();
    sample(&ids, &(1..length as usize).collect::<Vec<_>>(), task_type)
}

#[test]
fn every_sample_is_in_one_row_that_is_not_too_long() {
    let samples: Vec<Sample> = (0..200).map(|at| of(1 + at * 7919 % 61, None)).collect();
    let rows = pack(&samples, 64);
    assert!(rows.iter().all(|row| row.len() <= 64));
    let mut before: Vec<&[u32]> = samples.iter().map(|sample| &sample.input_ids[..]).collect();
    let mut after: Vec<&[u32]> = Vec::new();
    for row in &rows {
        let mut rest = &row.input_ids[..];
        for length in row.lengths() {
            let (one, others) = rest.split_at(length);
            after.push(one);
            rest = others;
        }
        assert!(rest.is_empty());
    }
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!(before, after);
    let tokens: usize = samples.iter().map(Sample::len).sum();
    // Nearly no room is left.
    assert!(rows.len() <= tokens.div_ceil(64) + 1, "{} rows of {tokens} tokens", rows.len());
}

#[test]
fn targets_stay_and_none_crosses_into_the_next_sample() {
    let samples = [of(3, None), of(4, None)];
    let rows = pack(&samples, 8);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].documents, [4, 3]);
    assert_eq!(rows[0].target_mask, [false, true, true, true, false, true, true]);
    let batch = Collator::new(0).collate(&rows.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(batch.targets().positions, [0, 1, 2, 4, 5]);
    assert_eq!(batch.documents, [vec![4, 3]]);
}

#[test]
fn rows_are_of_one_task_type() {
    let samples: Vec<Sample> = (0..20).map(|at| of(3 + at % 3, Some(at % 2))).collect();
    let rows = pack(&samples, 32);
    assert_eq!(rows.len(), 4);
    assert!(
        rows.iter().all(|row| row.input_ids.iter().all(|id| Some(id / 10_000) == row.task_type))
    );
}

#[test]
fn what_is_too_long_stays_alone() {
    let samples = [of(9, None), of(2, None)];
    let rows = pack(&samples, 4);
    assert_eq!(rows.iter().map(Sample::len).collect::<Vec<_>>(), [9, 2]);
    assert!(rows.iter().all(|row| row.documents.is_empty()));
}
