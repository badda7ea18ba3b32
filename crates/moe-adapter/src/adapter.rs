use burn::module::Module;
use burn::tensor::Tensor;
use lora_expert::{AnyBank, BaseLinear, ExpertBank};
use router::{AnyRouter, Router, RoutingTape, Site};

use crate::StartFactors;
use crate::together::{Reader, forward_together, goes_together};

/// What an adapted linear adds to its frozen one: a bank of experts, and the router that mixes
/// them.
///
/// `dy = sum_e w_e(x) f_e(x)`; without a router every weight is 1, which for one expert is LoRA.
#[derive(Module, Debug)]
pub struct MoeAdapter<R: Router = AnyRouter, E: ExpertBank = AnyBank> {
    /// Mixes the experts; none for a single adapter, and where one router decides for all linears
    /// of the model.
    pub router: Option<R>,
    /// The experts.
    pub experts: E,
    /// What the experts' start took out of the frozen weight, where it did.
    pub start: Option<StartFactors>,
}

impl<R: Router, E: ExpertBank> MoeAdapter<R, E> {
    /// A mixture of `experts` by `router`.
    pub fn new(router: R, experts: E) -> Self {
        Self { router: Some(router), experts, start: None }
    }

    /// Experts that all count fully; with one expert, a plain adapter.
    pub fn unrouted(experts: E) -> Self {
        Self { router: None, experts, start: None }
    }

    /// The output of the linear that it adapts, with the adapter's part added; the routing goes on
    /// the tape. What the tape carries as decided before the pass counts instead of the router.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch_size, seq_len, in_features]`
    /// - result: `[batch_size, seq_len, out_features]`
    pub fn forward(
        &self,
        base: &BaseLinear,
        x: Tensor<3>,
        site: Site,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        if goes_together(&x, tape) {
            let [y] = forward_together([Reader { base, adapter: Some(self), site }], x, tape);
            return y;
        }
        let [batch, seq, features] = x.dims();
        let x = x.reshape([batch * seq, features]);
        let context = tape.context_at(site);
        let routing = match tape.decided() {
            Some(decided) => {
                let sizes = [batch * seq, self.experts.num_experts()];
                let Some(routing) = decided.at(site, sizes, &x.device()) else {
                    let y = base.forward(x);
                    let out_features = y.dims()[1];
                    return y.reshape([batch, seq, out_features]);
                };
                Some(routing)
            }
            None => self.router.as_ref().map(|router| router.route(x.clone(), &context)),
        };
        if let Some(routing) = &routing {
            let shared = self.experts.shared_experts();
            tape.push_beside(shared, site, routing, || self.experts.parameters());
        }
        let y = self.experts.forward(base, x, routing.as_ref(), context.training_seed);
        let out_features = y.dims()[1];
        y.reshape([batch, seq, out_features])
    }
}
