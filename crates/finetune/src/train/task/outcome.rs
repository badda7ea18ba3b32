use super::super::together::numbers;

/// What a model made of one batch of validation data.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BatchOutcome {
    /// The summed loss of its targets.
    pub loss: f64,
    /// The number of its targets.
    pub targets: usize,
    /// What else the measurements of the task need of it.
    pub values: Vec<f64>,
}

impl BatchOutcome {
    /// Adds it to what a rank sends to others.
    pub(in super::super) fn write(&self, bytes: &mut Vec<u8>) {
        let head = [self.loss.to_bits(), self.targets as u64, self.values.len() as u64];
        let values = self.values.iter().map(|value| value.to_bits());
        bytes.extend(head.into_iter().chain(values).flat_map(u64::to_le_bytes));
    }

    /// Reads what a rank has sent.
    pub(in super::super) fn read_all(bytes: &[u8]) -> Vec<Self> {
        let all = numbers(bytes);
        let (mut rest, mut found) = (all.as_slice(), Vec::new());
        while let Some(([loss, targets, count], after)) = rest.split_first_chunk::<3>()
            && let Some((values, after)) = after.split_at_checked(*count as usize)
        {
            rest = after;
            found.push(Self {
                loss: f64::from_bits(*loss),
                targets: *targets as usize,
                values: values.iter().map(|value| f64::from_bits(*value)).collect(),
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_as_they_were_written() {
        let outcomes = [
            BatchOutcome { loss: 1.5, targets: 3, values: vec![0.25, -1.0] },
            BatchOutcome { loss: 0.0, targets: 0, values: Vec::new() },
        ];
        let mut bytes = Vec::new();
        outcomes.iter().for_each(|outcome| outcome.write(&mut bytes));
        assert_eq!(BatchOutcome::read_all(&bytes), outcomes);
    }
}
