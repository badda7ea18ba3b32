use burn::module::Module;
use burn::tensor::{DType, Tensor};
use fused_ops::matmul;
use lora_expert::ExpertBank;
use router::{Router, Routing, RoutingTape, Site};

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
                let gate = self.gate_proj.forward(x.clone(), site(paths.gate_proj), tape);
                let up = self.up_proj.forward(x, site(paths.up_proj), tape);
                let h = self.activation.gate(gate, up);
                self.down_proj.forward(h, site(paths.down_proj), tape)
            }
            Some(router) => {
                let [batch, seq, hidden] = x.dims();
                let x = x.reshape([batch * seq, hidden]);
                let routing = router.route(x.clone(), &tape.context_at(site(paths.block)));
                tape.push(site(paths.block), &routing, || self.parameters());
                let seeds = [paths.gate_proj, paths.up_proj, paths.down_proj]
                    .map(|path| tape.context_at(site(path)).training_seed);
                self.mixture(x, &routing, seeds).reshape([batch, seq, hidden])
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
    /// its own experts, whichever they are; otherwise one for each expert.
    fn mixture(&self, x: Tensor<2>, routing: &Routing, seeds: [Option<u64>; 3]) -> Tensor<2> {
        let gate = base_output(&self.gate_proj, x.clone());
        let up = base_output(&self.up_proj, x.clone());
        let mut mixed: Option<Tensor<2>> = None;
        let mut added: Option<Tensor<2>> = None;
        for Part { routing, weight } in parts(routing) {
            let weight = match gate.dtype() {
                DType::F32 => weight,
                dtype => weight.cast(dtype),
            };
            let gate = with_experts(&self.gate_proj, gate.clone(), &x, &routing, seeds[0]);
            let up = with_experts(&self.up_proj, up.clone(), &x, &routing, seeds[1]);
            // The update of the down projection is linear too, so the weight goes in before it.
            let h = self.activation.gate(gate, up) * weight;
            if self.down_proj.experts().is_some() {
                let nothing = x.zeros_like();
                let update = with_experts(&self.down_proj, nothing, &h, &routing, seeds[2]);
                added = Some(sum(added, update));
            }
            mixed = Some(sum(mixed, h));
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

/// One block for each token, and what it counts.
struct Part {
    /// Which expert's, with weight 1.
    routing: Routing,
    /// `[T, 1]`.
    weight: Tensor<2>,
}

/// The blocks whose weighted sum is the mixture.
fn parts(routing: &Routing) -> Vec<Part> {
    let [tokens, experts] = routing.weights.dims();
    let device = routing.weights.device();
    let alone = |chosen: Tensor<2>| {
        let selection = chosen.clone().greater_elem(0.5);
        Routing::dense(routing.logits.clone(), routing.probabilities.clone(), chosen)
            .with_selection(selection, Some(1))
    };
    match (routing.top_k, &routing.selection) {
        (Some(k), Some(selection)) if k < experts => {
            let selected: Tensor<2> = selection.clone().float().cast(DType::F32);
            // How many experts were selected up to each one, by a product with a triangle of ones.
            let triangle: Tensor<2> = Tensor::ones([experts, experts], &device).triu(0);
            let position = matmul(selected.clone(), triangle);
            let slots = (1..=k).map(|slot| {
                let chosen = selected.clone() * position.clone().equal_elem(slot as f64).float();
                let weight = (routing.weights.clone() * chosen.clone()).sum_dim(1);
                Part { routing: alone(chosen), weight }
            });
            slots.collect()
        }
        _ => {
            let each = (0..experts).map(|expert| {
                let mut one = vec![0.0_f32; experts];
                one[expert] = 1.0;
                let one: Tensor<1> = Tensor::from_data(one.as_slice(), &device);
                let chosen = one.reshape([1, experts]).expand([tokens, experts]);
                Part {
                    routing: alone(chosen),
                    weight: routing.weights.clone().narrow(1, expert, 1),
                }
            });
            each.collect()
        }
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
) -> Tensor<2> {
    match projection.experts() {
        Some(bank) => bank.forward_onto(projection.linear(), base_output, x.clone(), routing, seed),
        None => base_output,
    }
}
