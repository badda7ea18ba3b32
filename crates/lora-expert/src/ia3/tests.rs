use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor};

use super::*;
use crate::IdentityMode;
use crate::testing::*;

/// A bank whose vectors have moved from where they started.
fn moved(slots: ExpertSlots, device: &Device) -> Ia3Bank {
    let mut bank = Ia3BankConfig { slots }.init(E, [I, O], device).unwrap();
    bank.ia3_l = Param::from_tensor(random([E, O], device));
    bank
}

#[test]
fn a_mixture_rescales_by_the_mixed_vector() {
    let device = Device::flex().autodiff();
    let base = base(true, &device).no_grad();
    let bank = moved(ExpertSlots::default(), &device);
    let x = random([T, I], &device).require_grad();
    let logits = random([T, E], &device).require_grad();
    let all = |y: Tensor<2>| {
        let of = (gradient(x.clone()), gradient(logits.clone()), gradient(bank.ia3_l.val()));
        values_and_gradients(y, &[&of.0, &of.1, &of.2])
    };
    let fused = bank.forward(&base, x.clone(), Some(&routing(logits.clone())), None);
    let mixed = routing(logits.clone()).weights.matmul(bank.ia3_l.val());
    assert_all_close(&all(fused), &all(base.forward(x.clone()) * mixed));
    let base_output = base.forward(x.clone());
    let weights = routing(logits.clone()).weights;
    let one_by_one = (0..E).fold(base_output.clone(), |sum, e| {
        let y = bank.expert_forward(e, &base, base_output.clone(), x.clone(), None);
        sum + (y - base_output.clone()) * weights.clone().narrow(1, e, 1)
    });
    let fused = bank.forward(&base, x.clone(), Some(&routing(logits.clone())), None);
    assert_all_close(&all(one_by_one), &all(fused));
}

#[test]
fn one_vector_without_routing_rescales_the_output() {
    let device = Device::flex();
    let base = base(true, &device);
    let mut bank = Ia3BankConfig::default().init(1, [I, O], &device).unwrap();
    bank.ia3_l = Param::from_tensor(random([1, O], &device));
    let x = random([T, I], &device);
    let expected = base.forward(x.clone()) * bank.ia3_l.val();
    assert_close(&bank.forward(&base, x, None, None).into_data(), &expected.into_data());
}

#[test]
fn experts_start_as_nothing_whatever_their_weights() {
    let device = Device::flex();
    let base = base(true, &device);
    let bank = Ia3BankConfig::default().init(E, [I, O], &device).unwrap();
    let x = random([T, I], &device);
    let mut routing = routing(random([T, E], &device));
    routing.weights = routing.weights * 3.0;
    let y = bank.forward(&base, x.clone(), Some(&routing), None);
    assert_close(&y.into_data(), &base.forward(x).into_data());
}

#[test]
fn a_constant_routing_merges_into_one_linear_with_its_bias() {
    let device = Device::flex();
    let slots = ExpertSlots {
        identity_experts: 1,
        identity_mode: IdentityMode::PassThrough,
        shared_experts: 1,
    };
    let mut bank = Ia3BankConfig { slots }.init(E, [I, I], &device).unwrap();
    bank.ia3_l = Param::from_tensor(random([E, I], &device));
    let mut base = LinearConfig::new(I, I).init(&device);
    base.bias = Some(Param::from_tensor(random([I], &device)));
    let base = BaseLinear::from(base);
    let x = random([T, I], &device);
    let weights: Tensor<1> = random([E], &device);
    let mut routing = routing(random([T, E], &device));
    routing.weights = weights.clone().unsqueeze::<2>().repeat_dim(0, T);
    let merged = bank.update(&base, Some(weights)).unwrap().apply(&base).forward(x.clone());
    let y = bank.forward(&base, x.clone(), Some(&routing), None);
    assert_close(&merged.into_data(), &y.into_data());
    let merged = bank.update(&base, None).unwrap().apply(&base).forward(x.clone());
    assert_close(&merged.into_data(), &bank.forward(&base, x, None, None).into_data());
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let init =
        |slots, experts, sizes| Ia3BankConfig { slots }.init(experts, sizes, &device).unwrap_err();
    let none = ExpertSlots::default();
    assert_eq!(init(none, 0, [I, O]), ExpertError::Zero { field: "experts" });
    assert_eq!(init(none, E, [I, 0]), ExpertError::Zero { field: "out_features" });
    let slots = ExpertSlots {
        identity_experts: 1,
        identity_mode: IdentityMode::PassThrough,
        shared_experts: 0,
    };
    let error = init(slots, E, [I, O]);
    assert_eq!(error, ExpertError::PassThrough { in_features: I, out_features: O });
    let slots = ExpertSlots { shared_experts: E, ..none };
    assert!(matches!(init(slots, E, [I, O]), ExpertError::Slots { found: E, .. }));
}
