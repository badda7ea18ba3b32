use crate::{Ranks, RanksError};

/// One process alone: nothing is copied, and nothing waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sum(&self, _values: &mut [f32]) -> Result<(), RanksError> {
        Ok(())
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
        Ok(vec![bytes.to_vec()])
    }

    fn broadcast(&self, _bytes: &mut Vec<u8>) -> Result<(), RanksError> {
        Ok(())
    }

    fn barrier(&self) -> Result<(), RanksError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rank_has_what_it_brings() {
        let mut values = [1.5, 2.0];
        Alone.sum(&mut values).unwrap();
        let mut bytes = vec![7];
        Alone.broadcast(&mut bytes).unwrap();
        Alone.barrier().unwrap();
        assert_eq!((Alone.rank(), Alone.size(), Alone.is_first()), (0, 1, true));
        assert_eq!(
            (values, bytes, Alone.gather(&[3]).unwrap()),
            ([1.5, 2.0], vec![7], vec![vec![3]])
        );
    }
}
