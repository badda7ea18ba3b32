use burn::module::Module;
use burn::tensor::Tensor;
use router::Routing;

use crate::{BaseLinear, DoraBank, ExpertBank, Ia3Bank, LinearUpdate, LoraBank, PassFactors};

/// Any bank of this crate, for choosing at run time.
// A layer has one, and a box would be no module.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum AnyBank {
    /// See [`LoraBank`].
    Lora(LoraBank),
    /// See [`DoraBank`].
    Dora(DoraBank),
    /// See [`Ia3Bank`].
    Ia3(Ia3Bank),
}

/// What `$bank` gives for the bank that it is.
macro_rules! each {
    ($any:expr, $bank:ident => $result:expr) => {
        match $any {
            AnyBank::Lora($bank) => $result,
            AnyBank::Dora($bank) => $result,
            AnyBank::Ia3($bank) => $result,
        }
    };
}

impl AnyBank {
    /// Tells experts that depend on the frozen weight that it is another one, `[I, O]`.
    pub fn rebase(&mut self, weight: &Tensor<2>) {
        if let Self::Dora(bank) = self {
            bank.rebase(weight);
        }
    }
}

impl ExpertBank for AnyBank {
    fn num_experts(&self) -> usize {
        each!(self, bank => bank.num_experts())
    }

    fn shared_experts(&self) -> usize {
        each!(self, bank => bank.shared_experts())
    }

    fn forward(
        &self,
        base: &BaseLinear,
        x: Tensor<2>,
        routing: Option<&Routing>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        each!(self, bank => bank.forward(base, x, routing, training_seed))
    }

    fn begins_with(&self, training_seed: Option<u64>) -> Option<PassFactors> {
        each!(self, bank => bank.begins_with(training_seed))
    }

    fn forward_from(
        &self,
        base: &BaseLinear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        begun: (Tensor<2>, Tensor<3>),
        routing: Option<&Routing>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        each!(self, bank => bank.forward_from(base, base_output, x, begun, routing, training_seed))
    }

    fn expert_forward(
        &self,
        expert: usize,
        base: &BaseLinear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        each!(self, bank => bank.expert_forward(expert, base, base_output, x, training_seed))
    }

    fn forward_onto(
        &self,
        base: &BaseLinear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        routing: &Routing,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        each!(self, bank => bank.forward_onto(base, base_output, x, routing, training_seed))
    }

    fn parameters(&self) -> Vec<Tensor<3>> {
        each!(self, bank => bank.parameters())
    }

    fn update(&self, base: &BaseLinear, weights: Option<Tensor<1>>) -> Option<LinearUpdate> {
        each!(self, bank => bank.update(base, weights))
    }
}
