use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use burn::tensor::{DType, Tensor};
use fused_ops::matmul;

use crate::{BatchContext, Decided, Routing, stable_hash};

/// The place of a projection in a model: which layer, and which module of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// The index of the layer.
    pub layer: usize,
    /// The path of the projection inside its layer, as in `mlp.gate_proj`.
    pub module: &'static str,
}

impl Site {
    /// A seed for this place, different from those of others, that follows from the seed of the
    /// pass.
    pub fn seed(&self, pass: u64) -> u64 {
        let bytes = self.module.bytes().chain(self.layer.to_le_bytes()).chain(pass.to_le_bytes());
        stable_hash(bytes)
    }

    /// The place `module` of layer `layer`.
    pub const fn new(layer: usize, module: &'static str) -> Self {
        Self { layer, module }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layers.{}.{}", self.layer, self.module)
    }
}

/// The routing of one projection in one forward pass.
#[derive(Debug, Clone)]
pub struct RoutingRecord {
    /// Where it was decided.
    pub site: Site,
    /// Which rows of the batch it is about, where rows have routers of their own: the number of
    /// their group. 0 where it is about all rows.
    pub group: usize,
    /// What was decided.
    pub routing: Routing,
    /// The stacked parameters of the experts, each with the experts as its first axis, for
    /// penalties on them. Identity experts have none.
    pub parameters: Vec<Tensor<3>>,
    /// How many of the experts that have parameters, the last ones, no router chooses.
    pub shared_experts: usize,
}

impl RoutingRecord {
    /// How many of the experts that the router chooses from, the first ones, have no parameters.
    pub fn identity_experts(&self) -> usize {
        let with_parameters = self.parameters.iter().map(|parameter| parameter.dims()[0]).max();
        with_parameters.map_or(0, |count| {
            self.routing.num_experts().saturating_sub(count.saturating_sub(self.shared_experts))
        })
    }
}

/// Travels through a forward pass: carries the batch's context to every layer and collects the
/// layers' routings.
///
/// Recording keeps tensors alive, so a tape records only when asked to.
///
/// ```
/// use router::{BatchContext, RoutingTape};
///
/// let silent = RoutingTape::new(BatchContext::new(1, 8));
/// let recording = RoutingTape::recording(BatchContext::new(1, 8));
/// assert!(!silent.is_recording() && recording.is_recording());
/// ```
#[derive(Debug, Clone)]
pub struct RoutingTape {
    context: BatchContext,
    recording: bool,
    records: Vec<RoutingRecord>,
    moments: Option<BTreeMap<Site, Tensor<2>>>,
    group: usize,
    carried: Option<Carried>,
    decided: Option<Arc<Decided>>,
    is_first_pass: bool,
}

/// What a tape carries for layers that know of it.
#[derive(Clone)]
struct Carried(Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl RoutingTape {
    /// A tape that passes the context on and forgets what layers report.
    pub fn new(context: BatchContext) -> Self {
        let (records, moments) = (Vec::new(), None);
        Self {
            context,
            recording: false,
            records,
            moments,
            group: 0,
            carried: None,
            decided: None,
            is_first_pass: false,
        }
    }

    /// A tape that keeps every layer's routing.
    pub fn recording(context: BatchContext) -> Self {
        Self { recording: true, ..Self::new(context) }
    }

    /// A tape that keeps the second moment of every projection's inputs, for starts that look at
    /// data.
    pub fn measuring_inputs(context: BatchContext) -> Self {
        Self { moments: Some(BTreeMap::new()), ..Self::new(context) }
    }

    /// Whether routings are kept.
    pub fn is_recording(&self) -> bool {
        self.recording
    }

    /// What is known of the batch.
    pub fn context(&self) -> &BatchContext {
        &self.context
    }

    /// What is known of the batch, for the projection at `site`: what is random there in training
    /// differs from other places.
    pub fn context_at(&self, site: Site) -> BatchContext {
        let mut context = self.context.clone();
        context.training_seed = context.training_seed.map(|pass| site.seed(pass));
        context
    }

    /// Runs a part of a pass that sees only some of the tokens: what it measures of inputs is added
    /// to the rest. It must report no routings, which would not be of the tokens of the tape.
    pub fn within<T>(&mut self, context: BatchContext, part: impl FnOnce(&mut Self) -> T) -> T {
        let whole = std::mem::replace(&mut self.context, context);
        let result = part(self);
        self.context = whole;
        result
    }

    /// Reports the routing of the projection at `site`, and the parameters of its experts, which
    /// are asked for only when something records.
    pub fn push(
        &mut self,
        site: Site,
        routing: &Routing,
        parameters: impl FnOnce() -> Vec<Tensor<3>>,
    ) {
        self.push_beside(0, site, routing, parameters);
    }

    /// As [`push`](Self::push), of experts of which the last ones are shared: each token has them, whatever
    /// was decided.
    pub fn push_beside(
        &mut self,
        shared_experts: usize,
        site: Site,
        routing: &Routing,
        parameters: impl FnOnce() -> Vec<Tensor<3>>,
    ) {
        if self.recording {
            let (group, routing, parameters) = (self.group, routing.clone(), parameters());
            let record = RoutingRecord { site, group, routing, parameters, shared_experts };
            self.records.push(record);
        }
    }

    /// Reports the inputs of the projection at `site`, `[batch_size, seq_len, in_features]`; costs
    /// nothing unless the tape measures inputs.
    pub fn observe(&mut self, site: Site, x: &Tensor<3>) {
        let Some(moments) = &mut self.moments else { return };
        let [batch, seq, features] = x.dims();
        let mut x: Tensor<2> = x.clone().cast(DType::F32).reshape([batch * seq, features]);
        if let Some(mask) = &self.context.token_mask {
            let mask: Tensor<2> = mask.clone().float().cast(DType::F32);
            x = x * mask.reshape([batch * seq, 1]);
        }
        let moment = matmul(x.clone().transpose(), x);
        let sum = match moments.remove(&site) {
            Some(sum) => sum + moment,
            None => moment,
        };
        moments.insert(site, sum);
    }

    /// The sum over real tokens of `x x^T`, `[I, I]`, of every projection's inputs; empty unless
    /// the tape measures inputs.
    pub fn input_moments(&self) -> impl Iterator<Item = (Site, &Tensor<2>)> {
        self.moments.iter().flatten().map(|(site, moment)| (*site, moment))
    }

    /// An empty tape of the same kind for the same batch.
    pub fn blank(&self) -> Self {
        self.with_records(Vec::new())
    }

    /// Adds what another tape recorded.
    pub fn append(&mut self, other: &Self) {
        self.records.extend_from_slice(&other.records);
    }

    pub(crate) fn with_records(&self, records: Vec<RoutingRecord>) -> Self {
        Self {
            context: self.context.clone(),
            recording: self.recording,
            records,
            moments: None,
            group: self.group,
            carried: self.carried.clone(),
            decided: self.decided.clone(),
            is_first_pass: self.is_first_pass,
        }
    }

    /// An empty tape for a first pass over the same batch, whose hidden states a router of the whole
    /// model reads; `decided` is what its linears go by. It records nothing.
    pub fn first_pass(&self, decided: Decided) -> Self {
        let blank = Self { carried: self.carried.clone(), ..Self::new(self.context.clone()) };
        Self { decided: Some(Arc::new(decided)), is_first_pass: true, ..blank }
    }

    /// Whether the pass is a first one, after which the pass comes whose output counts.
    pub fn is_first_pass(&self) -> bool {
        self.is_first_pass
    }

    /// Says what the linears of the pass go by, in place of routers of their own.
    pub fn decide(&mut self, decided: Decided) {
        self.decided = Some(Arc::new(decided));
    }

    /// What was decided before the pass; `None` where each linear has its own router.
    pub fn decided(&self) -> Option<&Decided> {
        self.decided.as_deref()
    }

    /// Carries something for layers that know of it, such as the adapters of each row.
    pub fn with_carried<T: Any + Send + Sync>(mut self, value: Arc<T>) -> Self {
        self.carried = Some(Carried(value));
        self
    }

    /// What is carried.
    pub fn carried(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.carried.as_ref().map(|carried| Arc::clone(&carried.0))
    }

    /// An empty tape of the same kind for some rows of the batch, which `context` describes and
    /// whose records have the number `group`. It carries nothing.
    pub fn of_group(&self, group: usize, context: BatchContext) -> Self {
        Self { recording: self.recording, group, ..Self::new(context) }
    }

    /// The routings so far, in the order of the forward pass.
    pub fn records(&self) -> &[RoutingRecord] {
        &self.records
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn identity_experts_are_those_chosen_from_that_have_no_parameters() {
        let device = Device::flex();
        let of = |shared: usize, parameters: Option<usize>| {
            let weights = Tensor::<2>::zeros([1, 5], &device);
            let routing = Routing::dense(weights.clone(), weights.clone(), weights);
            let mut tape = RoutingTape::recording(BatchContext::new(1, 1));
            tape.push_beside(shared, Site::new(0, "up"), &routing, || {
                parameters.map(|count| Tensor::zeros([count, 1, 1], &device)).into_iter().collect()
            });
            tape.records()[0].identity_experts()
        };
        assert_eq!(of(0, Some(5)), 0);
        assert_eq!(of(0, Some(3)), 2);
        assert_eq!(of(1, Some(4)), 2);
        assert_eq!(of(2, Some(5)), 2);
        assert_eq!(of(0, None), 0);
    }
}
