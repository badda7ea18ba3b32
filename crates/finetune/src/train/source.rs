use data::{Sample, Samples};

use super::{TrainError, TrainingSample};

/// Where a trainer takes its samples from: a slice, or what reads them when they are needed.
pub trait SampleSource<S> {
    /// How many samples there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a sample takes of a pass, as [`TrainingSample::tokens`] says, without reading it where
    /// it is not in memory; 0 of one that is not there, here and below.
    fn tokens(&self, at: usize) -> usize;

    /// How many targets a sample has.
    fn targets(&self, at: usize) -> usize;

    /// The task type of a sample, where it has one.
    fn task_type(&self, at: usize) -> Option<u32>;

    /// A sample.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when it is not there or cannot be read.
    fn get(&self, at: usize) -> Result<S, TrainError>;
}

impl<S: TrainingSample> SampleSource<S> for &[S] {
    fn len(&self) -> usize {
        <[S]>::len(self)
    }

    fn tokens(&self, at: usize) -> usize {
        <[S]>::get(self, at).map_or(0, TrainingSample::tokens)
    }

    fn targets(&self, at: usize) -> usize {
        <[S]>::get(self, at).map_or(0, TrainingSample::targets)
    }

    fn task_type(&self, at: usize) -> Option<u32> {
        <[S]>::get(self, at)?.task_type()
    }

    fn get(&self, at: usize) -> Result<S, TrainError> {
        let allowed = || format!("below the number of samples, {}", <[S]>::len(self));
        <[S]>::get(self, at)
            .cloned()
            .ok_or_else(|| TrainError::value("the number of a sample", at, allowed()))
    }
}

impl SampleSource<Sample> for &Samples {
    fn len(&self) -> usize {
        Samples::len(self)
    }

    fn tokens(&self, at: usize) -> usize {
        Samples::tokens(self, at)
    }

    fn targets(&self, at: usize) -> usize {
        Samples::targets(self, at)
    }

    fn task_type(&self, at: usize) -> Option<u32> {
        Samples::task_type(self, at)
    }

    fn get(&self, at: usize) -> Result<Sample, TrainError> {
        Ok(Samples::get(self, at)?)
    }
}

/// Some samples of a source, in the order asked for.
pub(super) fn picked<S>(
    source: &dyn SampleSource<S>,
    indices: &[usize],
) -> Result<Vec<S>, TrainError> {
    indices.iter().map(|at| source.get(*at)).collect()
}
