use burn::module::Module;
use burn::optim::GradientsParams;

use super::super::gradient_sum::plus;

/// The gradients of a pass, as they are found: a task adds them up here.
#[derive(Default)]
pub struct PassGradients<'a> {
    found: GradientsParams,
    whole: Option<&'a mut WhatIsWhole<'a>>,
}

/// Takes what it waited for out of the gradients, once those of all layers from one on are whole.
pub(in crate::train) type WhatIsWhole<'a> = dyn FnMut(usize, &mut GradientsParams) + 'a;

impl<'a> PassGradients<'a> {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// None yet; `whole` is told of those that are whole before the end.
    pub(in crate::train) fn telling(whole: &'a mut WhatIsWhole<'a>) -> Self {
        Self { whole: Some(whole), ..Self::default() }
    }

    /// Adds gradients of the parameters of `model`.
    pub fn add<M: Module>(&mut self, model: &M, found: GradientsParams) {
        let before = std::mem::take(&mut self.found);
        self.found = if before.is_empty() { found } else { plus(model, before, found) };
    }

    /// Says that nothing more is added to the gradients of the layers from `first` on, so that ranks
    /// may sum them while those before are differentiated. A task need not say so.
    pub fn layers_are_whole(&mut self, first: usize) {
        if let Some(whole) = &mut self.whole {
            whole(first, &mut self.found);
        }
    }

    /// What was added and not taken before.
    pub fn into_params(self) -> GradientsParams {
        self.found
    }
}
