use burn::tensor::Tensor;
use router::Reach;

use super::ClassificationError;

/// Puts samples together, the longest first, so that little is padding: as many as have at most
/// `batch_tokens` with it, but always one.
pub(super) fn by_length(lengths: &[usize], batch_tokens: usize, reach: Reach) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    // Stable, so that equally long samples stay in order.
    order.sort_by_key(|index| std::cmp::Reverse(lengths[*index]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for index in order {
        match batches.last_mut() {
            Some(batch)
                if reach < Reach::Batch
                    && (batch.len() + 1) * lengths[batch[0]] <= batch_tokens =>
            {
                batch.push(index);
            }
            _ => batches.push(vec![index]),
        }
    }
    batches
}

/// Puts samples of one size together, in their order.
pub(super) fn in_order(count: usize, batch_size: usize, reach: Reach) -> Vec<Vec<usize>> {
    let size = if reach < Reach::Batch { batch_size.max(1) } else { 1 };
    (0..count).step_by(size).map(|start| (start..(start + size).min(count)).collect()).collect()
}

/// The rows of a matrix on the host.
pub(super) fn rows(matrix: Tensor<2>) -> Result<Vec<Vec<f64>>, ClassificationError> {
    let [_, width] = matrix.dims();
    let values = matrix.into_data().try_to_vec::<f32>();
    let values = values.map_err(|error| ClassificationError::Device(format!("{error:?}")))?;
    Ok(values.chunks(width).map(|row| row.iter().copied().map(f64::from).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_come_first_and_padding_counts() {
        let lengths = [3, 9, 1, 4, 3];
        assert_eq!(by_length(&lengths, 9, Reach::Token), [vec![1], vec![3, 0], vec![4, 2]]);
        assert_eq!(by_length(&lengths, 1, Reach::Sample).len(), 5);
        assert_eq!(by_length(&lengths, 100, Reach::Batch).len(), 5);
        assert!(by_length(&[], 9, Reach::Token).is_empty());
        assert_eq!(in_order(5, 2, Reach::Token), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(in_order(2, 0, Reach::Batch), [vec![0], vec![1]]);
    }
}
