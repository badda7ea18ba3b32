//! How numbers are written for people.

use lora_moe::data::{DataFile, Mixture};

/// 1234567 as 1,234,567.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What each data file has of an epoch.
pub fn shares(files: &[DataFile], mixture: &Mixture) -> Vec<String> {
    let total = mixture.samples().max(1) as f64;
    let share = |(file, (size, draws)): (&DataFile, &(usize, usize))| {
        format!(
            "an epoch draws {} from the {} samples of {} ({:.1} %)",
            grouped(*draws),
            grouped(*size),
            file.path.display(),
            100.0 * *draws as f64 / total
        )
    };
    files.iter().zip(mixture.sets()).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1234), "1,234");
        assert_eq!(grouped(6_738_415_616), "6,738,415,616");
    }
}
