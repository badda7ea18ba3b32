use std::array;

use burn::tensor::Tensor;
use fused_ops::{DownPart, down_together, fan_out, runs_device_kernels};
use lora_expert::{BaseLinear, ExpertBank};
use router::{BatchContext, Router, Routing, RoutingTape, Site};

use crate::MoeAdapter;

/// A linear that reads what others read, with its adapter and its place.
pub(crate) struct Reader<'a, R: Router, E: ExpertBank> {
    pub(crate) base: &'a BaseLinear,
    pub(crate) adapter: Option<&'a MoeAdapter<R, E>>,
    pub(crate) site: Site,
}

/// Whether [`forward_together`] is for such activations in such a pass.
pub(crate) fn goes_together(x: &Tensor<3>, tape: &RoutingTape) -> bool {
    tape.decided().is_none() && runs_device_kernels(x)
}

/// The outputs of linears for one input, `[B, S, I]`, with what their adapters add; their routings go on the tape.
/// What routers and experts begin with is multiplied together, and the gradients of the input are added up at once,
/// because small operations take as long as their launches on GPUs.
pub(crate) fn forward_together<R: Router, E: ExpertBank, const N: usize>(
    readers: [Reader<'_, R, E>; N],
    x: Tensor<3>,
    tape: &mut RoutingTape,
) -> [Tensor<3>; N] {
    let [batch, seq, features] = x.dims();
    let x = x.reshape([batch * seq, features]);
    let contexts = readers.each_ref().map(|reader| tape.context_at(reader.site));
    let mut parts = Vec::new();
    // Whether there is a product for its router, and what follows that of its experts.
    let begun: [_; N] = array::from_fn(|at| {
        let Some(MoeAdapter { router, experts, .. }) = readers[at].adapter else {
            return (false, None);
        };
        let gate = router.as_ref().and_then(|router| router.begins_with(&contexts[at]));
        let routed = gate.is_some();
        let (down, b) =
            experts.begins_with(contexts[at].training_seed).map(|all| (all.down, all.b)).unzip();
        parts.extend(gate.map(DownPart::matrix).into_iter().chain(down));
        (routed, b)
    });
    // For the frozen linear and the router of each, and for the products.
    let copies = fan_out(x.clone(), 2 * N + 1);
    let copy = |at: usize| copies.get(at).unwrap_or(&x).clone();
    let mut products = down_together(copy(2 * N), parts).into_iter();
    array::from_fn(|at| {
        let Reader { base, adapter, site } = &readers[at];
        let (context, x) = (&contexts[at], copy(2 * at));
        let y = match adapter {
            None => base.forward(x),
            Some(MoeAdapter { router, experts, .. }) => {
                let (routed, b) = &begun[at];
                let gate = if *routed { products.next() } else { None };
                let begun = b.clone().and_then(|b| Some((products.next()?, b)));
                let routing = router.as_ref().map(|router| match gate {
                    Some(gate) => router.route_from(copy(2 * at + 1), gate, context),
                    None => router.route(copy(2 * at + 1), context),
                });
                if let Some(routing) = &routing {
                    let shared = experts.shared_experts();
                    tape.push_beside(shared, *site, routing, || experts.parameters());
                }
                let (routing, seed) = (routing.as_ref(), context.training_seed);
                match begun {
                    Some(begun) => {
                        let y = base.forward(x.clone());
                        experts.forward_from(base, y, x, begun, routing, seed)
                    }
                    None => experts.forward(base, x, routing, seed),
                }
            }
        };
        let out_features = y.dims()[1];
        y.reshape([batch, seq, out_features])
    })
}

/// What experts have made of the activations, and what they follow it with.
pub(crate) type BegunExperts = (Tensor<2>, Tensor<3>);

/// The routing of a block whose experts read the same activations, `[T, H]`, as its router, and what they begin
/// with where it was made together.
pub(crate) fn route_together<R: Router, E: ExpertBank, const N: usize>(
    x: &Tensor<2>,
    router: &R,
    context: &BatchContext,
    banks: [Option<(&E, Option<u64>)>; N],
) -> (Routing, [Option<BegunExperts>; N]) {
    if !runs_device_kernels(x) {
        return (router.route(x.clone(), context), banks.map(|_| None));
    }
    let gate = router.begins_with(context);
    let factors = banks.map(|bank| bank.and_then(|(bank, seed)| bank.begins_with(seed)));
    let downs = factors.iter().flatten().map(|factors| factors.down.clone());
    let parts = gate.clone().map(DownPart::matrix).into_iter().chain(downs).collect();
    let mut products = down_together(x.clone(), parts).into_iter();
    let routing = match gate.and_then(|_| products.next()) {
        Some(product) => router.route_from(x.clone(), product, context),
        None => router.route(x.clone(), context),
    };
    (routing, factors.map(|factors| factors.and_then(|all| Some((products.next()?, all.b)))))
}
