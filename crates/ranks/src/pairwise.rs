/// Adds things up in pairs, in the order in which they come: neighbours, then neighbouring sums, and
/// so on. What has no neighbour at the end is added to what came before it.
///
/// Where the things are themselves such sums of equally many each, a power of two, the result is that
/// of adding up all of these in pairs, bit for bit. So 4 passes of one rank, 2 each of two ranks and
/// one each of four give one and the same sum.
#[derive(Debug)]
pub struct PairwiseSum<T> {
    /// Sums of `2^level` things each, the levels falling.
    parts: Vec<(u32, T)>,
}

impl<T> Default for PairwiseSum<T> {
    fn default() -> Self {
        Self { parts: Vec::new() }
    }
}

impl<T> PairwiseSum<T> {
    /// Adds the next thing.
    pub fn add(&mut self, mut value: T, plus: impl Fn(T, T) -> T) {
        let mut level = 0;
        while let Some((_, part)) = self.parts.pop_if(|(of, _)| *of == level) {
            value = plus(part, value);
            level += 1;
        }
        self.parts.push((level, value));
    }

    /// The sum of all; `None` where nothing was added.
    pub fn total(self, plus: impl Fn(T, T) -> T) -> Option<T> {
        self.parts.into_iter().map(|(_, part)| part).rev().reduce(|later, part| plus(part, later))
    }
}

/// Adds rows of equal length as a [`PairwiseSum`] does.
pub fn sum_pairwise(rows: impl IntoIterator<Item = Vec<f32>>) -> Vec<f32> {
    fn plus(mut row: Vec<f32>, other: Vec<f32>) -> Vec<f32> {
        row.iter_mut().zip(other).for_each(|(value, more)| *value += more);
        row
    }
    let mut sum = PairwiseSum::default();
    rows.into_iter().for_each(|row| sum.add(row, plus));
    sum.total(plus).unwrap_or_default()
}

/// As [`sum_pairwise`] adds rows of `size` that lie one after the other; the sum replaces the first.
/// Without copies it is as fast as the memory.
#[cfg(any(test, feature = "mpi"))]
pub(crate) fn sum_in_place(rows: &mut [f32], size: usize) {
    let count = rows.len() / size;
    let mut apart = 1;
    while apart < count {
        for at in (0..count - apart).step_by(2 * apart) {
            let (before, after) = rows.split_at_mut((at + apart) * size);
            let row = &mut before[at * size..][..size];
            row.iter_mut().zip(after).for_each(|(value, more)| *value += *more);
        }
        apart *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_sums_have_the_bits_of_the_sum() {
        let row = |at: u32| vec![(1.0 + at as f32).sqrt() * 10f32.powi(at as i32 % 5), 0.1];
        let rows: Vec<_> = (0..8).map(row).collect();
        let whole = sum_pairwise(rows.clone());
        for each in [2, 4] {
            let parts = rows.chunks(each).map(|part| sum_pairwise(part.to_vec()));
            assert_eq!(sum_pairwise(parts), whole);
        }
        let in_order = rows.iter().fold(0.0, |sum, row| sum + row[0]);
        assert!((in_order - whole[0]).abs() / whole[0] < 1e-6);
    }

    #[test]
    fn sums_in_place_have_the_same_bits() {
        for count in 1..40 {
            let value = |at: usize| ((at * at) as f32 + 0.3).sqrt() * 10f32.powi(at as i32 % 7);
            let mut values: Vec<f32> = (0..3 * count).map(value).collect();
            let sum = sum_pairwise(values.chunks(3).map(<[f32]>::to_vec));
            sum_in_place(&mut values, 3);
            assert_eq!(values[..3], sum);
        }
    }

    /// `cargo test --release -p ranks -- --ignored --nocapture`
    #[test]
    #[ignore = "measures only"]
    #[allow(clippy::print_stdout)]
    fn bytes_a_second() {
        for count in [2, 8] {
            let size = 40_000_000 / count;
            let mut values = vec![1.0_f32; size * count];
            let mut best = f64::INFINITY;
            for _ in 0..5 {
                let started = std::time::Instant::now();
                sum_in_place(&mut values, size);
                best = best.min(started.elapsed().as_secs_f64());
            }
            println!("{count} parts of {} MB: {:.1} GB/s", size / 250_000, 0.16 / best);
        }
    }

    #[test]
    fn neighbours_are_added_first() {
        let sum = |count: u32| {
            let plus = |a: String, b: String| format!("({a}{b})");
            let mut sum = PairwiseSum::default();
            (0..count).for_each(|at| sum.add(at.to_string(), plus));
            sum.total(plus)
        };
        assert_eq!(sum(0), None);
        assert_eq!(sum(4).as_deref(), Some("((01)(23))"));
        assert_eq!(sum(7).as_deref(), Some("(((01)(23))((45)6))"));
    }
}
