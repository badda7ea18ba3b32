use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Sample;

/// Puts samples into rows of at most `max_length` tokens, so that batches have little padding.
///
/// The longest comes first, each into the row that it fills up the most (best fit decreasing; TRL's
/// `bfd`), among samples of its own task type: balance losses and routers that go by a row's type
/// see what they would see without packing. A sample longer than `max_length` has a row of its own.
/// The result is a function of the samples alone.
///
/// Attention stays within each sample and positions count from its start, so that the loss of every
/// target is that without packing.
pub fn pack(samples: &[Sample], max_length: usize) -> Vec<Sample> {
    let rows =
        pack_rows(samples.len(), |at| (samples[at].len(), samples[at].task_type), max_length);
    let packed = rows.into_iter().map(|row| match row[..] {
        [one] => samples[one].clone(),
        _ => Sample::packed(row.iter().map(|&at| &samples[at])),
    });
    packed.collect()
}

/// As [`pack`], which samples are in which row; `of` gives the length and the task type of each.
pub(super) fn pack_rows(
    samples: usize,
    of: impl Fn(usize) -> (usize, Option<u32>),
    max_length: usize,
) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..samples).collect();
    order.sort_by_key(|&at| Reverse(of(at).0));
    let mut rows: Vec<Vec<usize>> = Vec::new();
    // The rows with so much room, by task type.
    let mut room: BTreeMap<Option<u32>, BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
    for at in order {
        let (length, task_type) = of(at);
        let room = room.entry(task_type).or_default();
        let fits = room.range(length..).next().map(|(left, _)| *left);
        let (row, left) = match fits.and_then(|left| Some((room.get_mut(&left)?.pop()?, left))) {
            Some(found) => found,
            None => {
                rows.push(Vec::new());
                (rows.len() - 1, max_length)
            }
        };
        if room.get(&left).is_some_and(Vec::is_empty) {
            room.remove(&left);
        }
        rows[row].push(at);
        room.entry(left.saturating_sub(length)).or_default().push(row);
    }
    rows
}
