use record_files::Row;

use crate::config::Sampler;
use crate::data::Document;
use crate::python::Random;

/// Draws the examples of document after document, as the harness draws them.
///
/// The generator goes on from one document to the next, so examples must be drawn for all
/// documents before the one that is wanted.
pub(crate) struct ExampleSampler<'a> {
    pool: &'a [Document],
    sampler: Sampler,
    random: Random,
}

/// More examples were wanted than there are.
pub(crate) struct TooFew {
    pub(crate) wanted: usize,
    pub(crate) available: usize,
}

impl<'a> ExampleSampler<'a> {
    pub(crate) fn new(pool: &'a [Document], sampler: Sampler, seed: u64) -> Self {
        Self { pool, sampler, random: Random::new(seed) }
    }

    /// `count` examples, none of them equal to `evaluated`.
    pub(crate) fn draw(
        &mut self,
        count: usize,
        evaluated: Option<&Row>,
    ) -> Result<Vec<&'a Document>, TooFew> {
        let evaluated = evaluated.filter(|row| !row.is_empty());
        match self.sampler {
            Sampler::FirstN => {
                let others = self.pool.iter().filter(|other| Some(&other.row) != evaluated);
                let drawn: Vec<&Document> = others.take(count).collect();
                let available = drawn.len();
                if available < count { Err(TooFew { wanted: count, available }) } else { Ok(drawn) }
            }
            Sampler::Default => self.sample(count, evaluated),
        }
    }

    fn sample(
        &mut self,
        count: usize,
        evaluated: Option<&Row>,
    ) -> Result<Vec<&'a Document>, TooFew> {
        let pool = self.pool;
        let available = pool.len();
        let Some(evaluated) = evaluated else {
            if available < count {
                return Err(TooFew { wanted: count, available });
            }
            return Ok(self
                .random
                .sample(available, count)
                .into_iter()
                .map(|i| &pool[i])
                .collect());
        };
        // One more, because the document itself may be among them.
        if available < count + 1 {
            return Err(TooFew { wanted: count + 1, available });
        }
        let drawn = self.random.sample(available, count + 1);
        let kept: Vec<&Document> =
            drawn.into_iter().map(|i| &pool[i]).filter(|other| other.row != *evaluated).collect();
        if kept.len() >= count {
            return Ok(kept.into_iter().take(count).collect());
        }
        let others: Vec<&Document> = pool.iter().filter(|other| other.row != *evaluated).collect();
        let available = others.len();
        if available < count {
            return Err(TooFew { wanted: count, available });
        }
        Ok(self.random.sample(available, count).into_iter().map(|i| others[i]).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use record_files::Origin;

    use super::*;

    fn pool(values: impl Iterator<Item = i64>) -> Vec<Document> {
        let file: Arc<Path> = Arc::from(Path::new("pool"));
        values
            .enumerate()
            .map(|(row, value)| Document {
                row: Row::from_iter([("x".to_owned(), value.into())]),
                origin: Origin { file: file.clone(), row, line: None },
            })
            .collect()
    }

    fn values(drawn: Result<Vec<&Document>, TooFew>) -> Vec<i64> {
        let drawn = drawn.ok().unwrap();
        drawn.iter().map(|document| document.row.get("x").unwrap().as_i64().unwrap()).collect()
    }

    // Reference: ContextSampler and FirstNSampler of the harness's api/samplers.py, seed 1234,
    // Python 3.11, on rows {"x": i}.
    #[test]
    fn draws_equal_the_harness() {
        let hundred = pool(0..100);
        let mut sampler = ExampleSampler::new(&hundred, Sampler::Default, 1234);
        assert_eq!(values(sampler.draw(5, None)), [99, 56, 14, 0, 11]);
        assert_eq!(values(sampler.draw(5, None)), [74, 4, 85, 88, 10]);

        let few = pool(0..8);
        let mut sampler = ExampleSampler::new(&few, Sampler::Default, 1234);
        let draws: Vec<_> = (0..4).map(|i| values(sampler.draw(3, Some(&few[i].row)))).collect();
        assert_eq!(draws, [[7, 6, 5], [0, 5, 6], [1, 6, 7], [0, 7, 6]]);

        let doubled = pool([0, 0, 0, 1, 2, 3].into_iter());
        let mut sampler = ExampleSampler::new(&doubled, Sampler::Default, 1234);
        let draws: Vec<_> =
            (0..3).map(|_| values(sampler.draw(2, Some(&doubled[0].row)))).collect();
        assert_eq!(draws, [[1, 2], [2, 3], [3, 2]]);

        let mut first = ExampleSampler::new(&few, Sampler::FirstN, 1234);
        assert_eq!(values(first.draw(3, Some(&few[1].row))), [0, 2, 3]);
        assert!(first.draw(9, None).is_err());
    }
}
