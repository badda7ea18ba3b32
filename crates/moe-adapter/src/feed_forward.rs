use burn::module::Module;
use burn::tensor::{DType, Tensor};
use fused_ops::{matmul, runs_device_kernels};
use lora_expert::ExpertBank;
use router::{Routing, RoutingTape, Site};

use crate::together::{BegunExperts, route_together};
use crate::{Activation, Projection};

/// The paths of a block's linears inside their layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedForwardPaths {
    /// The block.
    pub block: &'static str,
    /// `H -> F`, activated.
    pub gate_proj: &'static str,
    /// `H -> F`.
    pub up_proj: &'static str,
    /// `F -> H`.
    pub down_proj: &'static str,
}

impl FeedForwardPaths {
    /// As Llama names them.
    pub const LLAMA: Self = Self {
        block: "mlp",
        gate_proj: "mlp.gate_proj",
        up_proj: "mlp.up_proj",
        down_proj: "mlp.down_proj",
    };
}

/// A gated feed-forward block of projections, `W_d (act(W_g x) * W_u x)`, with or without one
/// router for the whole block.
///
/// Without a router the projections are on their own; each may carry an adapter with a router.
/// With one (MixLoRA, arXiv 2404.15159, equations 4 to 8) each expert is a whole block, made of
/// the frozen weights and its own low-rank updates of all three:
///
/// ```text
/// h_e = act(W_g x + f^g_e(x)) * (W_u x + f^u_e(x))
/// y   = W_d sum_e w_e h_e + sum_e w_e f^d_e(h_e)
/// ```
///
/// `W_g x` and `W_u x` are computed once for all experts, and so is `W_d`, which is linear, of the
/// weighted sum.
///
/// Source of the block without experts: Shazeer, arXiv 2002.05202, equation 6.
#[derive(Module, Debug)]
pub struct GatedFeedForward<P: Projection> {
    /// `H -> F`, activated.
    pub gate_proj: P,
    /// `H -> F`.
    pub up_proj: P,
    /// `F -> H`.
    pub down_proj: P,
    /// Mixes the experts of all three projections, which then have no routers of their own.
    pub router: Option<P::Router>,
    /// `act`.
    #[module(skip)]
    pub activation: Activation,
}

impl<P: Projection> GatedFeedForward<P> {
    /// A block without a router, activated by SiLU.
    pub fn new(gate_proj: P, up_proj: P, down_proj: P) -> Self {
        Self { gate_proj, up_proj, down_proj, router: None, activation: Activation::Silu }
    }

    /// With another activation.
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// The block's output; its routings go on the tape.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch_size, seq_len, hidden_size]`, of the batch that `tape` describes
    /// - result: the same
    pub fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        paths: &FeedForwardPaths,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let site = |module| Site::new(layer, module);
        match &self.router {
            None => {
                if let Some(y) = P::forward_block(self, &x, layer, paths, tape) {
                    return y;
                }
                let siblings = [
                    (&self.gate_proj, site(paths.gate_proj)),
                    (&self.up_proj, site(paths.up_proj)),
                ];
                let [gate, up] = P::forward_siblings(siblings, x, tape);
                let h = self.activation.gate(gate, up);
                self.down_proj.forward(h, site(paths.down_proj), tape)
            }
            Some(router) => {
                let [batch, seq, hidden] = x.dims();
                let x = x.reshape([batch * seq, hidden]);
                let seeds = [paths.gate_proj, paths.up_proj, paths.down_proj]
                    .map(|path| tape.context_at(site(path)).training_seed);
                let context = tape.context_at(site(paths.block));
                let banks = [(&self.gate_proj, seeds[0]), (&self.up_proj, seeds[1])];
                let banks = banks.map(|(projection, seed)| Some((projection.experts()?, seed)));
                let (routing, begun) = route_together(&x, router, &context, banks);
                tape.push(site(paths.block), &routing, || self.parameters());
                self.mixture(x, &routing, seeds, begun).reshape([batch, seq, hidden])
            }
        }
    }

    /// The stacked parameters of the experts.
    fn parameters(&self) -> Vec<Tensor<3>> {
        let projections = [&self.gate_proj, &self.up_proj, &self.down_proj];
        let banks = projections.into_iter().filter_map(Projection::experts);
        banks.flat_map(ExpertBank::parameters).collect()
    }

    /// `[T, H]` to `[T, H]`, by the experts of a routing.
    ///
    /// What is costly beside the frozen products are the passes over `[T, F]`, one set for each
    /// block that is computed. Where every token selects `k` experts these are the `k` blocks of
    /// its own experts, whichever they are; otherwise one for each expert. A GPU computes them all
    /// at once, as rows, because small operations take as long as their launches there.
    fn mixture(
        &self,
        x: Tensor<2>,
        routing: &Routing,
        seeds: [Option<u64>; 3],
        begun: [Option<BegunExperts>; 2],
    ) -> Tensor<2> {
        let gate = base_output(&self.gate_proj, x.clone());
        let up = base_output(&self.up_proj, x.clone());
        let mut mixed: Option<Tensor<2>> = None;
        let mut added: Option<Tensor<2>> = None;
        let parts = match runs_device_kernels(&x) {
            true => vec![at_once(routing)],
            false => one_by_one(routing),
        };
        for Part { routing, weight, blocks } in parts {
            let weight = match gate.dtype() {
                DType::F32 => weight,
                dtype => weight.cast(dtype),
            };
            let rows = spread(x.clone(), blocks);
            let gate = spread(gate.clone(), blocks);
            let [of_gate, of_up] = begun
                .each_ref()
                .map(|begun| begun.clone().map(|(product, b)| (spread(product, blocks), b)));
            let gate = with_experts(&self.gate_proj, gate, &rows, &routing, seeds[0], of_gate);
            let up = spread(up.clone(), blocks);
            let up = with_experts(&self.up_proj, up, &rows, &routing, seeds[1], of_up);
            // The update of the down projection is linear too, so the weight goes in before it.
            let h = self.activation.gate(gate, up) * weight;
            if self.down_proj.experts().is_some() {
                let nothing = rows.zeros_like();
                let update = with_experts(&self.down_proj, nothing, &h, &routing, seeds[2], None);
                added = Some(sum(added, joined(update, blocks)));
            }
            mixed = Some(sum(mixed, joined(h, blocks)));
        }
        let y = match mixed {
            Some(mixed) => base_output(&self.down_proj, mixed),
            None => x.zeros_like(),
        };
        match added {
            Some(added) => y + added,
            None => y,
        }
    }
}

/// Some blocks of each token, one after the other as rows, and what they count.
struct Part {
    /// Which expert's each is, with weight 1.
    routing: Routing,
    /// `[T blocks, 1]`.
    weight: Tensor<2>,
    /// How many blocks a token has.
    blocks: usize,
}

/// A routing of rows to an expert each, or to none.
fn alone(chosen: Tensor<2>) -> Routing {
    Routing::dense(chosen.clone(), chosen.clone(), chosen.clone()).with_selection(chosen, Some(1))
}

/// Which experts were selected as 1 and 0, and how many by each token, where not all are.
fn selected(routing: &Routing) -> Option<(Tensor<2>, usize)> {
    let experts = routing.num_experts();
    let (k, selection) = (routing.top_k?, routing.selection.as_ref()?);
    (k < experts).then(|| (selection.clone(), k))
}

/// The blocks whose weighted sum is the mixture, a part each.
fn one_by_one(routing: &Routing) -> Vec<Part> {
    let [tokens, experts] = routing.weights.dims();
    if let Some((mask, k)) = selected(routing) {
        let slots = fused_ops::one_by_one(mask, k);
        let part = |slot| {
            let chosen: Tensor<2> = slots.clone().narrow(1, slot, 1).squeeze_dim(1);
            let weight = (routing.weights.clone() * chosen.clone()).sum_dim(1);
            Part { routing: alone(chosen), weight, blocks: 1 }
        };
        return (0..k).map(part).collect();
    }
    let device = routing.weights.device();
    let part = |expert| {
        let mut one = vec![0.0_f32; experts];
        one[expert] = 1.0;
        let one: Tensor<1> = Tensor::from_data(one.as_slice(), &device);
        let chosen = one.reshape([1, experts]).expand([tokens, experts]);
        let weight = routing.weights.clone().narrow(1, expert, 1);
        Part { routing: alone(chosen), weight, blocks: 1 }
    };
    (0..experts).map(part).collect()
}

/// All of them as one part.
fn at_once(routing: &Routing) -> Part {
    let [tokens, experts] = routing.weights.dims();
    let (slots, weight, blocks) = match selected(routing) {
        Some((mask, k)) => {
            let slots = fused_ops::one_by_one(mask, k);
            let weight = matmul(slots.clone(), routing.weights.clone().unsqueeze_dim(2));
            (slots, weight.reshape([tokens * k, 1]), k)
        }
        None => {
            let device = routing.weights.device();
            let each: Tensor<3> = Tensor::<2>::eye(experts, &device).unsqueeze_dim(0);
            let weight = routing.weights.clone().reshape([tokens * experts, 1]);
            (each.expand([tokens, experts, experts]), weight, experts)
        }
    };
    let chosen = slots.reshape([tokens * blocks, experts]);
    // What is selected is asked of no kernel here, all experts being computed.
    let routing = Routing::dense(chosen.clone(), chosen.clone(), chosen);
    Part { routing, weight, blocks }
}

/// Each row so many times.
fn spread(rows: Tensor<2>, times: usize) -> Tensor<2> {
    let [count, width] = rows.dims();
    match times {
        1 => rows,
        _ => {
            rows.unsqueeze_dim::<3>(1).expand([count, times, width]).reshape([count * times, width])
        }
    }
}

/// The sums of so many rows each.
fn joined(rows: Tensor<2>, times: usize) -> Tensor<2> {
    let [count, width] = rows.dims();
    match times {
        1 => rows,
        _ => rows.reshape([count / times, times, width]).sum_dim(1).squeeze_dim(1),
    }
}

fn sum(total: Option<Tensor<2>>, term: Tensor<2>) -> Tensor<2> {
    match total {
        Some(total) => total + term,
        None => term,
    }
}

/// What the frozen linear gives.
fn base_output<P: Projection>(projection: &P, x: Tensor<2>) -> Tensor<2> {
    projection.linear().forward(x)
}

/// The output of the frozen linear with the updates of the chosen experts added.
fn with_experts<P: Projection>(
    projection: &P,
    base_output: Tensor<2>,
    x: &Tensor<2>,
    routing: &Routing,
    seed: Option<u64>,
    begun: Option<BegunExperts>,
) -> Tensor<2> {
    let (base, x) = (projection.linear(), x.clone());
    match (projection.experts(), begun) {
        (Some(bank), Some(begun)) => {
            bank.forward_from(base, base_output, x, begun, Some(routing), seed)
        }
        (Some(bank), None) => bank.forward_onto(base, base_output, x, routing, seed),
        (None, _) => base_output,
    }
}
