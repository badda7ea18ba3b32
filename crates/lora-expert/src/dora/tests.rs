use burn::tensor::{Device, Tensor, TensorData};
use fused_ops::dropout;

use super::*;
use crate::IdentityMode;
use crate::testing::*;

fn factors(experts: usize, device: &Device) -> Factors {
    let lora_b = parameter(random([experts, O, R], device) * 0.3).val();
    Factors { lora_a: random([experts, R, I], device), lora_b, expert_scaling: None }
}

/// A bank whose magnitudes have moved from where they started.
fn moved(config: DoraBankConfig, factors: Factors, base: &BaseLinear) -> DoraBank {
    let mut bank = config.init(factors, &base.weight()).unwrap();
    let magnitude = bank.lora_magnitude_vector.val();
    let noise = random(magnitude.dims(), &magnitude.device()) * 0.2;
    bank.lora_magnitude_vector = parameter(magnitude * (noise + 1.0));
    bank
}

/// `W_e` `[I, O]` as the formula reads, with the norm as a constant.
fn weight_of(bank: &DoraBank, base: &BaseLinear, e: usize) -> Tensor<2> {
    let a = bank.lora_a.val().narrow(0, e, 1).squeeze_dim::<2>(0);
    let b = bank.lora_b.val().narrow(0, e, 1).squeeze_dim::<2>(0);
    let mut scaling = bank.scaling;
    if let Some(factors) = &bank.expert_scaling {
        scaling *= f64::from(factors.val().narrow(0, e, 1).into_scalar::<f32>());
    }
    let turned = base.weight().transpose() + b.matmul(a) * scaling;
    let norm = turned.clone().powi_scalar(2).sum_dim(1).sqrt().detach();
    let magnitude = bank.lora_magnitude_vector.val().narrow(0, e, 1).transpose();
    (turned * (magnitude / norm)).transpose()
}

fn all(bank: &DoraBank, x: &Tensor<2>, y: Tensor<2>) -> Vec<TensorData> {
    values_and_gradients(
        y,
        &[
            &gradient(x.clone()),
            &gradient(bank.lora_a.val()),
            &gradient(bank.lora_b.val()),
            &gradient(bank.lora_magnitude_vector.val()),
        ],
    )
}

#[test]
fn one_expert_is_dora_as_the_formula_reads() {
    let device = Device::flex().autodiff();
    let base = base(true, &device).no_grad();
    let bank = moved(DoraBankConfig::new(1.5), factors(1, &device), &base);
    let x = random([T, I], &device).require_grad();
    let bias = base.bias().unwrap().unsqueeze::<2>();
    let plain = x.clone().matmul(weight_of(&bank, &base, 0)) + bias;
    let fused = bank.forward(&base, x.clone(), None, Some(1));
    assert_all_close(&all(&bank, &x, fused), &all(&bank, &x, plain));
    let alone = bank.expert_forward(0, &base, base.forward(x.clone()), x.clone(), None);
    let fused = bank.forward(&base, x.clone(), None, None);
    assert_all_close(&all(&bank, &x, alone), &all(&bank, &x, fused));
}

#[test]
fn a_mixture_adds_what_each_expert_adds() {
    let device = Device::flex().autodiff();
    let base = base(true, &device).no_grad();
    let mut factors = factors(E, &device);
    factors.expert_scaling = Some(vec![1.0, 0.5, 2.0]);
    let slots = ExpertSlots { identity_experts: 1, shared_experts: 1, ..ExpertSlots::default() };
    let config = DoraBankConfig { slots, ..DoraBankConfig::new(1.5) };
    let bank = moved(config, factors, &base);
    assert_eq!((bank.num_experts(), bank.shared_experts()), (E, 1));
    let x = random([T, I], &device).require_grad();
    let logits = random([T, E], &device).require_grad();
    let routed = routing(logits.clone());
    let fused = || bank.forward(&base, x.clone(), Some(&routing(logits.clone())), Some(1));
    let plain = || {
        let base_output = base.forward(x.clone());
        let weights = routing(logits.clone()).weights;
        (0..E).fold(base_output, |sum, e| {
            let delta = x.clone().matmul(weight_of(&bank, &base, e) - base.weight());
            sum + match e {
                2 => delta,
                e => delta * weights.clone().narrow(1, e + 1, 1),
            }
        })
    };
    let router = |y: Tensor<2>| values_and_gradients(y, &[&gradient(logits.clone())]);
    assert_all_close(&all(&bank, &x, fused()), &all(&bank, &x, plain()));
    assert_all_close(&router(fused()), &router(plain()));
    let base_output = base.forward(x.clone());
    let one_by_one = (0..=E).fold(base_output.clone(), |sum, e| {
        let y = bank.expert_forward(e, &base, base_output.clone(), x.clone(), None);
        let part = y - base_output.clone();
        sum + if e < E { part * routed.weights.clone().narrow(1, e, 1) } else { part }
    });
    assert_close(&one_by_one.into_data(), &fused().into_data());
}

#[test]
fn experts_start_as_nothing_whatever_their_weights() {
    let device = Device::flex();
    let base = base(true, &device);
    let mut factors = factors(E, &device);
    factors.lora_b = factors.lora_b.zeros_like();
    let bank = DoraBankConfig::new(1.5).init(factors, &base.weight()).unwrap();
    let norms = base.weight().powi_scalar(2).sum_dim(0).sqrt().repeat_dim(0, E);
    assert_close(&bank.lora_magnitude_vector.val().into_data(), &norms.into_data());
    let x = random([T, I], &device);
    let mut routing = routing(random([T, E], &device));
    routing.weights = routing.weights * 3.0;
    let y = bank.forward(&base, x.clone(), Some(&routing), None);
    assert_close(&y.into_data(), &base.forward(x).into_data());
}

#[test]
fn a_start_that_is_not_zero_starts_as_lora() {
    let device = Device::flex();
    let base = base(true, &device);
    let factors = factors(1, &device);
    let lora = crate::LoraBankConfig::new(1.5)
        .init(factors.lora_a.clone(), factors.lora_b.clone())
        .unwrap();
    let bank = DoraBankConfig::new(1.5).init(factors, &base.weight()).unwrap();
    let x = random([T, I], &device);
    let y = bank.forward(&base, x.clone(), None, None);
    assert_close(&y.into_data(), &lora.forward(&base, x, None, None).into_data());
}

#[test]
fn dropout_reaches_the_frozen_product_as_in_peft() {
    let device = Device::flex().autodiff();
    let base = base(true, &device).no_grad();
    let config = DoraBankConfig { lora_dropout: 0.4, ..DoraBankConfig::new(1.5) };
    let bank = moved(config, factors(1, &device), &base);
    let x = random([T, I], &device).require_grad();
    let dropped = dropout(x.clone(), 0.4, 3);
    let change = weight_of(&bank, &base, 0) - base.weight();
    let plain = base.forward(x.clone()) + dropped.matmul(change);
    let trained = bank.forward(&base, x.clone(), None, Some(3));
    assert_all_close(&all(&bank, &x, trained), &all(&bank, &x, plain));
}

#[test]
fn a_constant_routing_merges_into_one_linear() {
    let device = Device::flex();
    for passes in [false, true] {
        let mut base = base(true, &device);
        let mut factors = factors(E, &device);
        let mut slots = ExpertSlots { shared_experts: 1, ..ExpertSlots::default() };
        if passes {
            base = burn::nn::LinearConfig::new(I, I).init(&device).into();
            factors.lora_b = random([E, I, R], &device);
            slots.identity_experts = 1;
            slots.identity_mode = IdentityMode::PassThrough;
        }
        let config = DoraBankConfig { slots, ..DoraBankConfig::new(1.5) };
        let bank = moved(config, factors, &base);
        let x = random([T, I], &device);
        let weights: Tensor<1> = random([bank.num_experts()], &device);
        let mut routing = routing(random([T, bank.num_experts()], &device));
        routing.weights = weights.clone().unsqueeze::<2>().repeat_dim(0, T);
        let merged = bank.update(&base, Some(weights)).unwrap().apply(&base).forward(x.clone());
        let y = bank.forward(&base, x, Some(&routing), None);
        assert_close(&merged.into_data(), &y.into_data());
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let device = Device::flex();
    let weight = random([I, O], &device);
    let init =
        |config: DoraBankConfig, factors: Factors| config.init(factors, &weight).unwrap_err();
    let config = || DoraBankConfig::new(1.0);
    let error = init(DoraBankConfig { lora_dropout: -0.5, ..config() }, factors(E, &device));
    assert_eq!(error, ExpertError::Dropout { value: -0.5 });
    let error = init(DoraBankConfig::new(f64::INFINITY), factors(E, &device));
    assert_eq!(error, ExpertError::Scaling { value: f64::INFINITY });
    let shared_a = Factors { lora_a: random([1, R, I], &device), ..factors(E, &device) };
    let error = init(config(), shared_a);
    assert_eq!(error, ExpertError::Shapes { a: [1, R, I], b: [E, O, R] });
    let other = Factors { lora_b: random([E, O + 1, R], &device), ..factors(E, &device) };
    let error = init(config(), other);
    assert_eq!(error, ExpertError::WeightShape { expected: [I, O + 1], found: [I, O] });
    let scaled = Factors { expert_scaling: Some(vec![]), ..factors(E, &device) };
    let error = init(config(), scaled);
    assert_eq!(error, ExpertError::ExpertScaling { experts: E, found: vec![] });
    let slots = ExpertSlots { shared_experts: E, ..ExpertSlots::default() };
    let error = init(DoraBankConfig { slots, ..config() }, factors(E, &device));
    assert!(matches!(error, ExpertError::Slots { found: E, .. }), "{error}");
}
