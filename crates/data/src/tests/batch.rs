use burn::tensor::Device;

use super::*;

fn two() -> Vec<Sample> {
    vec![sample(&[5, 6, 7], &[1, 2], Some(1)), sample(&[8, 9, 10, 11], &[3], Some(0))]
}

fn collate(samples: &[Sample]) -> Result<Batch, DataError> {
    Collator::new(0).collate(&samples.iter().collect::<Vec<_>>())
}

#[test]
fn pads_right_and_never_predicts_padding() {
    let batch = collate(&two()).unwrap();
    assert_eq!((batch.batch_size, batch.seq_len), (2, 4));
    assert_eq!(batch.input_ids, [5, 6, 7, 0, 8, 9, 10, 11]);
    assert_eq!(batch.lengths, [3, 4]);
    assert_eq!(batch.task_types, Some(vec![1, 0]));
    assert!(batch.has_padding() && !batch.target_mask[3]);
    assert_eq!((batch.token_count(), batch.target_count()), (7, 3));
    let targets = batch.targets();
    assert_eq!(targets.positions, [0, 1, 6]);
    assert_eq!(targets.token_ids, [6, 7, 11]);
    let all = sample(&[1, 2], &[0, 1], None);
    assert_eq!(collate(&[all]).unwrap().targets().positions, [0]);
}

#[test]
fn pads_to_a_multiple() {
    let collator = Collator { pad_id: 3, pad_to_multiple_of: 8 };
    let batch = collator.collate_indices(&two(), &[1]).unwrap();
    assert_eq!((batch.seq_len, batch.input_ids[7], batch.target_count()), (8, 3, 1));
    assert!(matches!(collator.collate_indices(&two(), &[2]), Err(DataError::Sample { .. })));
}

#[test]
fn reaches_the_device_unchanged() {
    let device = Device::flex();
    let on_device = collate(&two()).unwrap().to_device(&device);
    assert_eq!(on_device.input_ids.dims(), [2, 4]);
    let ints = |data: burn::tensor::TensorData| data.iter::<i64>().collect::<Vec<_>>();
    assert_eq!(ints(on_device.input_ids.to_data()), [5, 6, 7, 0, 8, 9, 10, 11]);
    assert_eq!(ints(on_device.target_positions.to_data()), on_device.targets.positions);
    assert_eq!(ints(on_device.target_ids.to_data()), on_device.targets.token_ids);
    assert_eq!(ints(on_device.task_types.unwrap().to_data()), [1, 0]);
    let mask: Vec<bool> = on_device.token_mask.unwrap().to_data().iter::<bool>().collect();
    assert_eq!(mask, [true, true, true, false, true, true, true, true]);
    let full = collate(&[sample(&[1, 2], &[1], None)]).unwrap().to_device(&device);
    assert!(full.token_mask.is_none() && full.task_types.is_none());
}

#[test]
fn impossible_batches_are_errors() {
    assert!(matches!(collate(&[]), Err(DataError::NoRecords(_))));
    let empty = sample(&[], &[], None);
    assert!(matches!(collate(&[empty]), Err(DataError::Sample { index: 0, .. })));
    let mut uneven = two();
    uneven[1].target_mask.pop();
    assert!(matches!(collate(&uneven), Err(DataError::Sample { index: 1, .. })));
    let untaught = sample(&[1, 2], &[], None);
    assert!(collate(&[untaught]).unwrap_err().to_string().contains("has no target"));
    let mut mixed = two();
    mixed[0].task_type = None;
    let error = collate(&mixed).unwrap_err().to_string();
    assert!(error.starts_with("sample 0 of the batch has no `task_type` but sample 1"), "{error}");
}
