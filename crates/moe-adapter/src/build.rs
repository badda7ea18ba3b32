use burn::tensor::{Device, Tensor};
use lora_expert::{AnyBank, BaseLinear, Factors};
use rand::Rng;
use router::{AnyRouter, RouterShape};
use svd_init::{
    BankShape, ExpertInit, ExpertStart, InitConfig, InitError, LayerStatistics, LoraInit,
};

use crate::state::START;
use crate::{AdapterConfig, AdapterError, AdapterState, LayerSizes, MoeAdapter, StartFactors};

/// The adapter of one linear, and the weight that replaces the linear's own where the start asks
/// for it.
pub type BuiltAdapter = (MoeAdapter, Option<Tensor<2>>);

impl AdapterConfig {
    /// Makes the adapter of one frozen linear. `path` names it, `statistics` are what is known of
    /// it, and numbers are drawn from `rng`.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] when a part of the configuration does not fit the linear.
    pub fn init_adapter(
        &self,
        linear: &BaseLinear,
        sizes: &LayerSizes,
        path: &str,
        statistics: &LayerStatistics,
        rng: &mut dyn Rng,
    ) -> Result<BuiltAdapter, AdapterError> {
        let shape = self.bank_shape(sizes, linear.dims());
        let start = match self.experts.factors(shape.num_experts) {
            Some(_) => {
                let weight = linear.weight();
                let start = self.init.start(&weight, &shape, statistics, rng)?;
                Some(refined(&self.init, linear, start, &weight, &shape)?)
            }
            None => None,
        };
        self.adapter_from(linear, sizes, path, start, rng)
    }

    /// Whether experts and their start fit a linear `[I, O]`, as far as its shape tells.
    pub(crate) fn check_linear(
        &self,
        sizes: &LayerSizes,
        path: &str,
        dims: [usize; 2],
    ) -> Result<(), AdapterError> {
        let shape = self.bank_shape(sizes, dims);
        self.experts.check_layer(&self.bank_options(sizes, shape.scaling, path), dims)?;
        if self.experts.factors(shape.num_experts).is_some() {
            self.init.triplets(&shape)?;
        }
        Ok(())
    }

    /// As [`init_adapter`](Self::init_adapter), with the start of experts that have one.
    pub(crate) fn adapter_from(
        &self,
        linear: &BaseLinear,
        sizes: &LayerSizes,
        path: &str,
        start: Option<ExpertStart>,
        rng: &mut dyn Rng,
    ) -> Result<BuiltAdapter, AdapterError> {
        let weight = linear.weight();
        let shape = self.bank_shape(sizes, weight.dims());
        let (Some(mut start), Some((in_a, in_b))) =
            (start, self.experts.factors(shape.num_experts))
        else {
            return self.assemble(&weight, sizes, shape.scaling, path, None, rng);
        };
        if in_a < shape.num_experts || in_b < shape.num_experts {
            if start.residual_coefficient.is_some() {
                return Err(AdapterError::SharedFactors);
            }
            start.lora_a = start.lora_a.narrow(0, 0, in_a);
            start.lora_b = start.lora_b.narrow(0, 0, in_b);
        }
        let factors =
            start.residual_coefficient.map(|c| taken_out(&start, c, shape.scaling, &weight));
        let residual = factors.as_ref().map(|factors| factors.residual(weight.clone()));
        // A quantised linear holds what is left only nearly.
        let seen = residual.clone().map_or(weight, |weight| linear.with_weight(weight).weight());
        let (mut adapter, _) =
            self.assemble(&seen, sizes, shape.scaling, path, Some(start), rng)?;
        adapter.start = factors;
        Ok((adapter, residual))
    }

    /// As [`init_adapter`](Self::init_adapter), with values to be replaced by those of `state`:
    /// the start is not repeated.
    pub(crate) fn placeholder(
        &self,
        linear: &BaseLinear,
        sizes: &LayerSizes,
        path: &str,
        state: &AdapterState,
        rng: &mut dyn Rng,
    ) -> Result<MoeAdapter, AdapterError> {
        let weight = linear.weight();
        let shape = self.bank_shape(sizes, weight.dims());
        let start = match self.experts.factors(shape.num_experts) {
            None => None,
            Some((in_a, in_b)) => {
                let mut start =
                    LoraInit.start(&weight, &shape, &LayerStatistics::default(), rng)?;
                start.lora_a = start.lora_a.narrow(0, 0, in_a);
                start.lora_b = start.lora_b.narrow(0, 0, in_b);
                if state.contains_key(&format!("{path}.expert_scaling")) {
                    start.expert_scaling = Some(vec![1.0; shape.num_experts]);
                }
                Some(start)
            }
        };
        let factors = match &start {
            Some(start) if state.contains_key(&format!("{path}{START}lora_A.weight")) => {
                Some(taken_out(start, 1.0, 1.0, &weight))
            }
            _ => None,
        };
        let (mut adapter, _) = self.assemble(&weight, sizes, shape.scaling, path, start, rng)?;
        adapter.start = factors;
        Ok(adapter)
    }

    /// The bank and, where there is something to choose, its router.
    fn assemble(
        &self,
        weight: &Tensor<2>,
        sizes: &LayerSizes,
        scaling: f64,
        path: &str,
        start: Option<ExpertStart>,
        rng: &mut dyn Rng,
    ) -> Result<BuiltAdapter, AdapterError> {
        let factors = start.map(|start| Factors {
            lora_a: start.lora_a,
            lora_b: start.lora_b,
            expert_scaling: start.expert_scaling,
        });
        let options = self.bank_options(sizes, scaling, path);
        let experts: AnyBank = self.experts.init(&options, factors, weight)?;
        let routed = sizes.routed_experts() > 1 && sizes.routes;
        let router = match routed {
            true => Some(self.init_router(weight.dims()[0], sizes, &weight.device(), rng)?),
            false => None,
        };
        Ok((MoeAdapter { router, experts, start: None }, None))
    }

    /// Makes the router of one linear or block, which sees `hidden_size` features.
    pub(crate) fn init_router(
        &self,
        hidden_size: usize,
        sizes: &LayerSizes,
        device: &Device,
        rng: &mut dyn Rng,
    ) -> Result<AnyRouter, AdapterError> {
        let shape = RouterShape::new(hidden_size, sizes.routed_experts())
            .with_identity_experts(sizes.identity_experts);
        let by_layer = sizes.top_k.and_then(|k| self.router.with_top_k(k));
        Ok(by_layer.as_ref().unwrap_or(&self.router).init(&shape, rng, device)?)
    }
}

/// A start that makes up for what its linear loses where it is held in few bits.
pub(crate) fn refined(
    init: &InitConfig,
    linear: &BaseLinear,
    start: ExpertStart,
    weight: &Tensor<2>,
    shape: &BankShape,
) -> Result<ExpertStart, InitError> {
    let held = |start: &ExpertStart| {
        let factors = taken_out(start, start.residual_coefficient?, shape.scaling, weight);
        match linear.with_weight(factors.residual(weight.clone())) {
            BaseLinear::Dense(_) => None,
            held @ BaseLinear::Quantized(_) => Some(held.weight()),
        }
    };
    init.refined(start, weight, shape, &held)
}

/// The factors that a start takes out of a weight: `A` and `c s_e B_e`.
fn taken_out(
    start: &ExpertStart,
    coefficient: f64,
    scaling: f64,
    weight: &Tensor<2>,
) -> StartFactors {
    let mut b = start.lora_b.clone() * (coefficient * scaling);
    if let Some(scales) = &start.expert_scaling {
        let scales: Vec<f32> = scales.iter().map(|scale| *scale as f32).collect();
        let scales: Tensor<1> = Tensor::from_data(scales.as_slice(), &b.device());
        let experts = b.dims()[0];
        b = b * scales.reshape([experts, 1, 1]);
    }
    StartFactors::new(start.lora_a.clone(), b, weight)
}
