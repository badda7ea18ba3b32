use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor};

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
}
