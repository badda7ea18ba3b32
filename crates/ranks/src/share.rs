use std::ops::Range;

/// The share of a rank of `count` things in a row: as many for each as can be, and none twice.
pub fn share_of(count: usize, rank: usize, size: usize) -> Range<usize> {
    let at = |rank: usize| count * rank / size.max(1);
    at(rank)..at(rank + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_in_order_and_complete() {
        for (count, size) in [(8, 4), (7, 3), (2, 2), (5, 1), (1, 3)] {
            let all: Vec<usize> = (0..size).flat_map(|rank| share_of(count, rank, size)).collect();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
            let sizes = (0..size).map(|rank| share_of(count, rank, size).len());
            assert!(sizes.clone().max().unwrap_or(0) - sizes.min().unwrap_or(0) <= 1);
        }
    }
}
