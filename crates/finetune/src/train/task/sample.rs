/// An example to train on.
pub trait TrainingSample: Clone {
    /// What it takes of a pass: its tokens, or 1 where all examples are of one size. Batches hold
    /// samples of about one length.
    fn tokens(&self) -> usize;

    /// How many targets it has.
    fn targets(&self) -> usize;

    /// The task type, where the data has one. Default: none.
    fn task_type(&self) -> Option<u32> {
        None
    }

    /// Gives all that it is made of to `write`, so that ranks can tell whether they have the same.
    fn describe(&self, write: &mut dyn FnMut(&[u8]));
}
