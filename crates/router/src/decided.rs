use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Gradients, Tensor};

use crate::{Routing, Site};

/// What was decided for all linears of a pass before the pass began.
///
/// A [`RoutingTape`](crate::RoutingTape) carries it. Adapted linears then go by it, and ask no
/// router of their own.
#[derive(Debug, Clone)]
pub enum Decided {
    /// No adapter counts: the pass is that of the base model.
    Nothing,
    /// Every expert has this weight for every token.
    Constant(f64),
    /// All linears have this routing, of the tokens of the tape.
    Same(Box<Routing>),
    /// Each linear has its own. Where one has none, its adapter does not count.
    BySite(BTreeMap<Site, Routing>),
}

impl Decided {
    /// The routing of the linear at `site`, for so many tokens and experts; `None` where its adapter
    /// does not count.
    pub fn at(
        &self,
        site: Site,
        [tokens, experts]: [usize; 2],
        device: &Device,
    ) -> Option<Routing> {
        match self {
            Self::Nothing => None,
            Self::Constant(weight) => {
                let options = (device, DType::F32);
                let filled = |value: f64| Tensor::<2>::full([tokens, experts], value, options);
                let probabilities = filled(1.0 / experts.max(1) as f64);
                Some(Routing::dense(filled(0.0), probabilities, filled(*weight)))
            }
            Self::Same(routing) => Some(Routing::clone(routing)),
            Self::BySite(routings) => routings.get(&site).cloned(),
        }
    }

    /// The same without gradients, off an autodiff device.
    pub fn inner(&self) -> Self {
        self.map(&mut |tensor| tensor.without_autodiff())
    }

    /// The same, whose logits, probabilities and weights are leaves that have gradients: for passes
    /// that compute parts of a model one after the other.
    pub fn leaves(&self) -> Self {
        self.map(&mut |tensor| Tensor::from_inner(tensor.without_autodiff()).require_grad())
    }

    /// What a loss gives to each of its tensors, where it depends on them; of
    /// [`leaves`](Self::leaves).
    pub fn gradients(&self, grads: &Gradients) -> DecidedGradients {
        DecidedGradients(self.tensors().into_iter().map(|tensor| tensor.grad(grads)).collect())
    }

    fn map(&self, change: &mut dyn FnMut(Tensor<2>) -> Tensor<2>) -> Self {
        let mut of_routing = |routing: &Routing| Routing {
            logits: change(routing.logits.clone()),
            probabilities: change(routing.probabilities.clone()),
            weights: change(routing.weights.clone()),
            ..routing.clone()
        };
        match self {
            Self::Nothing => Self::Nothing,
            Self::Constant(weight) => Self::Constant(*weight),
            Self::Same(routing) => Self::Same(Box::new(of_routing(routing))),
            Self::BySite(routings) => {
                let changed = routings.iter().map(|(site, routing)| (*site, of_routing(routing)));
                Self::BySite(changed.collect())
            }
        }
    }

    fn tensors(&self) -> Vec<&Tensor<2>> {
        fn of_routing(routing: &Routing) -> [&Tensor<2>; 3] {
            [&routing.logits, &routing.probabilities, &routing.weights]
        }
        match self {
            Self::Nothing | Self::Constant(_) => Vec::new(),
            Self::Same(routing) => of_routing(routing).to_vec(),
            Self::BySite(routings) => routings.values().flat_map(of_routing).collect(),
        }
    }
}

/// What losses give to the tensors of a [`Decided`].
#[derive(Debug)]
pub struct DecidedGradients(Vec<Option<Tensor<2>>>);

impl DecidedGradients {
    /// Adds what another loss gives to the same.
    pub fn add(&mut self, other: Self) {
        for (sum, other) in self.0.iter_mut().zip(other.0) {
            *sum = match (sum.take(), other) {
                (Some(sum), Some(other)) => Some(sum + other),
                (sum, other) => sum.or(other),
            };
        }
    }

    /// The sum of each tensor of `decided` times its gradient, which has the gradients that the
    /// losses give to whatever decided; `None` where they give none.
    pub fn objective(&self, decided: &Decided) -> Option<Tensor<1>> {
        let terms = decided.tensors().into_iter().zip(&self.0).filter_map(|(tensor, gradient)| {
            let gradient = Tensor::from_inner(gradient.clone()?);
            Some((tensor.clone() * gradient).sum())
        });
        terms.reduce(|sum, term| sum + term)
    }
}
