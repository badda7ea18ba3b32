use burn::module::{ModuleVisitor, Param};
use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::testing::*;
use crate::{AnyBank, IdentityMode, stack_ranks};

fn bank(config: LoraBankConfig, device: &Device) -> LoraBank {
    config.init(random([E, R, I], device), random([E, O, R], device)).unwrap()
}

fn plain(device: &Device) -> LoraBank {
    bank(LoraBankConfig::new(1.5), device)
}

/// Values and all gradients, of a result that depends on `x` and `logits`.
fn all(bank: &LoraBank, x: &Tensor<2>, logits: &Tensor<2>, y: Tensor<2>) -> Vec<TensorData> {
    values_and_gradients(
        y,
        &[
            &gradient(x.clone()),
            &gradient(logits.clone()),
            &gradient(bank.lora_a.val()),
            &gradient(bank.lora_b.val()),
        ],
    )
}

/// Every option at once.
fn everything(square: bool, device: &Device) -> LoraBank {
    let slots = ExpertSlots {
        identity_experts: 2,
        identity_mode: if square { IdentityMode::PassThrough } else { IdentityMode::Zero },
        shared_experts: 1,
    };
    let config = LoraBankConfig::new(1.5)
        .with_slots(slots)
        .with_expert_scaling(Some(vec![1.0, 0.5, 2.0]))
        .with_merging(Some(DynamicMergingConfig::new(0.3).with_fixed_mask(5)), 9);
    let out_features = if square { I } else { O };
    config.init(random([E, R, I], device), random([E, out_features, R], device)).unwrap()
}

#[test]
fn fused_execution_equals_the_plain_one_in_values_and_gradients() {
    let device = Device::flex().autodiff();
    for (bias, options) in [(false, false), (true, false), (true, true)] {
        let base = base(bias, &device);
        let bank = if options { everything(false, &device) } else { plain(&device) };
        let x = random([T, I], &device).require_grad();
        let logits = random([T, bank.num_experts()], &device).require_grad();
        let run = |result: &dyn Fn(Tensor<2>, &Routing) -> Tensor<2>| {
            let y = result(x.clone(), &routing(logits.clone()));
            let base_grad = gradient(base.weight());
            let mut of: Vec<&Gradient> = vec![&base_grad];
            let (gx, gl) = (gradient(x.clone()), gradient(logits.clone()));
            let (ga, gb) = (gradient(bank.lora_a.val()), gradient(bank.lora_b.val()));
            of.extend([&gx as &Gradient, &gl, &ga, &gb]);
            let bias = base.bias().map(gradient);
            if let Some(bias) = &bias {
                of.push(bias);
            }
            values_and_gradients(y, &of)
        };
        let plain = run(&|x, r| base.forward(x.clone()) + bank.forward_reference(x, Some(r)));
        let fused = run(&|x, r| bank.forward(&base, x, Some(r), Some(0)));
        let one_by_one = run(&|x, r| {
            let base_output = base.forward(x.clone());
            let experts = bank.num_experts() + bank.shared_experts();
            (0..experts).fold(base_output.clone(), |sum, e| {
                let y = bank.expert_forward(e, &base, base_output.clone(), x.clone(), None);
                let part = y - base_output.clone();
                sum + if e < bank.num_experts() {
                    part * r.weights.clone().narrow(1, e, 1)
                } else {
                    part
                }
            })
        });
        assert_all_close(&fused, &plain);
        assert_all_close(&one_by_one, &plain);
    }
}

#[test]
fn without_routing_every_expert_counts_once() {
    let device = Device::flex();
    for bank in [plain(&device), everything(false, &device)] {
        let x = random([T, I], &device);
        let fused = bank.forward(&nothing(&device), x.clone(), None, None).into_data();
        assert_close(&fused, &bank.forward_reference(x, None).into_data());
    }
}

#[test]
fn dropout_is_active_in_training_only_and_keeps_the_expectation() {
    let device = Device::flex();
    let base = nothing(&device);
    for mask in [DropoutMask::Shared, DropoutMask::PerExpert] {
        let bank = bank(LoraBankConfig::new(1.5).with_dropout(0.5, mask), &device);
        let x = random([T, I], &device);
        let plain = bank.forward_reference(x.clone(), None);
        let evaluated = bank.forward(&base, x.clone(), None, None).into_data();
        assert_close(&evaluated, &plain.clone().into_data());
        let rounds = 3000;
        let mut sum = Tensor::zeros([T, O], &device);
        for round in 0..rounds {
            sum = sum + bank.forward(&base, x.clone(), None, Some(97 * round));
        }
        let scale = plain.clone().abs().max().into_scalar::<f32>();
        let error = (sum / rounds as f64 - plain).abs().max().into_scalar::<f32>();
        assert!(error < 0.15 * scale, "{mask:?}: {error} of {scale}");
    }
}

#[test]
fn a_shared_a_is_one_a_for_every_expert() {
    let device = Device::flex().autodiff();
    let base = nothing(&device);
    let (a, b) = (random([1, R, I], &device), random([E, O, R], &device));
    let config = LoraBankConfig::new(1.5);
    let shared = config.init(a.clone(), b.clone()).unwrap();
    let apart = config.init(a.repeat_dim(0, E), b).unwrap();
    let x = random([T, I], &device).require_grad();
    let logits = random([T, E], &device).require_grad();
    for routed in [true, false] {
        let run = |bank: &LoraBank| {
            let routing = routing(logits.clone());
            let y = bank.forward(&base, x.clone(), routed.then_some(&routing), None);
            let a = bank.lora_a.val();
            // The router has no gradient without a routing.
            let y = y + logits.clone().sum().reshape([1, 1]) * 0.0;
            values_and_gradients(
                y,
                &[
                    &gradient(x.clone()),
                    &gradient(logits.clone()),
                    &gradient(bank.lora_b.val()),
                    &move |grads| a.grad(grads).map(|grad| grad.sum_dim(0).into_data()),
                ],
            )
        };
        assert_all_close(&run(&shared), &run(&apart));
    }
    let reference = shared.forward_reference(x.clone(), None).into_data();
    assert_close(&shared.forward(&base, x, None, None).into_data(), &reference);
}

#[test]
fn the_scaling_of_each_expert_is_a_parameter_that_does_not_train() {
    struct Trained(Vec<(usize, bool)>);
    impl ModuleVisitor for Trained {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push((D, param.val().is_require_grad()));
        }
    }
    let device = Device::flex().autodiff();
    let config = LoraBankConfig::new(2.0).with_expert_scaling(Some(vec![1.0, 0.5, 3.0]));
    let scaled = bank(config, &device);
    let mut trained = Trained(Vec::new());
    scaled.clone().valid().train().visit(&mut trained);
    assert_eq!(trained.0, [(3, true), (3, true), (1, false)]);

    let factors = Tensor::<3>::from_data([[[1.0]], [[0.5]], [[3.0]]], &device);
    let by_hand = LoraBankConfig::new(2.0)
        .init(scaled.lora_a.val(), parameter(scaled.lora_b.val() * factors).val())
        .unwrap();
    let x = random([T, I], &device);
    let base = base(true, &device);
    let run = |bank: &LoraBank| bank.forward(&base, x.clone(), None, None).into_data();
    assert_close(&run(&scaled), &run(&by_hand));
}

#[test]
fn identity_experts_take_weight_from_the_others_and_add_nothing_or_their_input() {
    let device = Device::flex();
    let (a, b) = (random([E, R, I], &device), random([E, I, R], &device));
    let routing = routing(random([T, E + 2], &device));
    let x = random([T, I], &device);
    let base = BaseLinear::from(LinearConfig::new(I, I).init(&device));
    let base = base.with_weight(random([I, I], &device));
    let run = |mode| {
        let slots = ExpertSlots { identity_experts: 2, identity_mode: mode, shared_experts: 0 };
        let config = LoraBankConfig::new(1.5).with_slots(slots);
        let bank = config.init(a.clone(), b.clone()).unwrap();
        assert_eq!((bank.num_experts(), bank.shared_experts()), (E + 2, 0));
        bank.forward(&base, x.clone(), Some(&routing), None)
    };
    let mut rest = routing.clone();
    rest.weights = rest.weights.narrow(1, 2, E);
    let only = LoraBankConfig::new(1.5).init(a.clone(), b.clone()).unwrap();
    let expected = only.forward(&base, x.clone(), Some(&rest), None);
    assert_close(&run(IdentityMode::Zero).into_data(), &expected.clone().into_data());
    let share = routing.weights.clone().narrow(1, 0, 2).sum_dim(1);
    let expected = expected + x.clone() * share;
    assert_close(&run(IdentityMode::PassThrough).into_data(), &expected.into_data());
}

#[test]
fn shared_experts_always_count_fully() {
    let device = Device::flex();
    let slots = ExpertSlots { shared_experts: 1, ..ExpertSlots::default() };
    let bank = bank(LoraBankConfig::new(1.5).with_slots(slots), &device);
    assert_eq!((bank.num_experts(), bank.shared_experts()), (E - 1, 1));
    let x = random([T, I], &device);
    let mut none = routing(random([T, E - 1], &device));
    none.weights = none.weights.zeros_like();
    let base = nothing(&device);
    let y = bank.forward(&base, x.clone(), Some(&none), None).into_data();
    let last = bank.expert_forward(E - 1, &base, Tensor::zeros([T, O], &device), x, None);
    assert_close(&y, &last.into_data());
}

#[test]
fn a_constant_routing_merges_into_one_linear() {
    let device = Device::flex();
    let hydra = LoraBankConfig::new(1.5)
        .init(random([1, R, I], &device), random([E, O, R], &device))
        .unwrap();
    for bank in [plain(&device), everything(false, &device), hydra, everything(true, &device)] {
        let base = BaseLinear::from(LinearConfig::new(I, bank.lora_b.dims()[1]).init(&device));
        let base = base.with_weight(base.weight() * 2.0);
        let x = random([T, I], &device);
        let weights: Tensor<1> = random([bank.num_experts()], &device);
        let mut routing = routing(random([T, bank.num_experts()], &device));
        routing.weights = weights.clone().unsqueeze::<2>().repeat_dim(0, T);
        let merged = bank.update(&base, Some(weights)).unwrap().apply(&base).forward(x.clone());
        let y = bank.forward(&base, x.clone(), Some(&routing), None);
        assert_close(&merged.into_data(), &y.into_data());
        let merged = bank.update(&base, None).unwrap().apply(&base).forward(x.clone());
        assert_close(&merged.into_data(), &bank.forward(&base, x, None, None).into_data());
    }
}

#[test]
fn dynamic_merging_masks_rows_of_b_and_columns_of_a() {
    let device = Device::flex().autodiff();
    let base = base(true, &device);
    let merging = DynamicMergingConfig::new(0.6);
    let fresh = bank(LoraBankConfig::new(1.5).with_merging(Some(merging), 0), &device);
    let x = random([T, I], &device).require_grad();
    let logits = random([T, E], &device).require_grad();
    let factors = [fresh.lora_a.val(), fresh.lora_b.val()];
    let masks = merging.fresh(Some(3), &factors).unwrap();
    let run = |bank: &LoraBank, seed| {
        let y = bank.forward(&base, x.clone(), Some(&routing(logits.clone())), seed);
        all(bank, &x, &logits, y)
    };
    let unmasked = LoraBankConfig::new(1.5).init(factors[0].clone(), factors[1].clone()).unwrap();
    let masked = unmasked
        .clone()
        .with_masks(masks.rows.clone().squeeze_dim(2), masks.cols.clone().squeeze_dim(1))
        .unwrap();
    let trained = run(&fresh, Some(3));
    assert_all_close(&trained, &run(&masked, None));
    assert_all_close(&run(&fresh, None), &run(&unmasked, None));
    assert_ne!(trained[0], run(&fresh, Some(4))[0]);
    let [a, b] = masks.apply(factors).map(|factor| parameter(factor).val());
    let by_hand = LoraBankConfig::new(1.5).init(a, b).unwrap();
    let by_hand = by_hand.forward(&base, x.clone(), Some(&routing(logits.clone())), None);
    assert_close(&trained[0], &by_hand.into_data());
    // Where nothing is kept, nothing is learned.
    let grad_a: Vec<f32> = trained[3].iter().collect();
    let cols: Vec<f32> = masks.cols.repeat_dim(1, R).into_data().iter().collect();
    assert!(grad_a.iter().zip(&cols).all(|(grad, kept)| (*grad != 0.0) == (*kept != 0.0)));
}

#[test]
fn fixed_masks_hold_in_every_pass() {
    let device = Device::flex();
    let base = base(true, &device);
    let merging = Some(DynamicMergingConfig::new(0.6).with_fixed_mask(1));
    let fixed = bank(LoraBankConfig::new(1.5).with_merging(merging, 4), &device);
    let x = random([T, I], &device);
    let run = |seed| fixed.forward(&base, x.clone(), None, seed).into_data();
    assert_close(&run(None), &run(Some(1)));
    let unmasked = LoraBankConfig::new(1.5).init(fixed.lora_a.val(), fixed.lora_b.val()).unwrap();
    assert_ne!(run(None), unmasked.forward(&base, x.clone(), None, None).into_data());
}

/// Choices that are hard: each token two of five, all the same two, and one expert for nobody.
fn choices(device: &Device) -> Vec<Tensor<2>> {
    let spread: Vec<f32> =
        (0..T * 5).map(|i| if (i / 5 + i % 5) % 5 < 2 { 1.0 } else { 0.0 }).collect();
    let crowded: Vec<f32> =
        (0..T * 5).map(|i| if i % 5 == 2 || i % 5 == 4 { 1.0 } else { 0.0 }).collect();
    let uneven: Vec<f32> = (0..T * 5).map(|i| if i % 5 == i / 10 { 1.0 } else { 0.0 }).collect();
    [spread, crowded, uneven, vec![0.0; T * 5]]
        .map(|values| Tensor::from_data(TensorData::new(values, [T, 5]), device))
        .into()
}

#[test]
fn sparse_execution_equals_the_dense_one_in_values_and_gradients() {
    let device = Device::flex().autodiff();
    let base = base(true, &device);
    for (identity_experts, dropout) in [(0, 0.0), (2, 0.0), (1, 0.4)] {
        let slots = ExpertSlots { identity_experts, shared_experts: 1, ..ExpertSlots::default() };
        let config = LoraBankConfig::new(1.5)
            .with_slots(slots)
            .with_dropout(dropout, DropoutMask::Shared)
            .with_expert_scaling(Some((1..=6 - identity_experts).map(|e| e as f64).collect()));
        let trained = 6 - identity_experts;
        let (a, b) = (random([trained, R, I], &device), random([trained, O, R], &device));
        let x = random([T, I], &device).require_grad();
        let logits = random([T, 5], &device).require_grad();
        for chosen in choices(&device) {
            let run = |execution| {
                let config = config.clone().with_execution(execution);
                let bank = config.init(a.clone(), b.clone()).unwrap();
                let routing = routing_of(logits.clone(), chosen.clone(), Some(2));
                let y = bank.forward(&base, x.clone(), Some(&routing), Some(11));
                let sparse = bank.sparse(&x, Some(&routing)).is_some();
                assert_eq!(sparse, execution == Execution::Sparse);
                all(&bank, &x, &logits, y)
            };
            assert_all_close(&run(Execution::Sparse), &run(Execution::Dense));
        }
    }
}

#[test]
fn onto_a_base_output_is_what_forward_gives_also_through_any_bank() {
    let device = Device::flex();
    let base = base(true, &device);
    let (a, b) = (random([5, R, I], &device), random([5, O, R], &device));
    let x = random([T, I], &device);
    for chosen in choices(&device) {
        let routing = routing_of(random([T, 5], &device), chosen, Some(2));
        for (execution, seed) in
            [(Execution::Auto, None), (Execution::Dense, Some(0)), (Execution::Sparse, Some(0))]
        {
            let config = LoraBankConfig::new(1.5).with_execution(execution);
            let bank = config.init(a.clone(), b.clone()).unwrap();
            let onto =
                |bank: &dyn Fn(Tensor<2>) -> Tensor<2>| bank(base.forward(x.clone())).into_data();
            let own = onto(&|y| bank.forward_onto(&base, y, x.clone(), &routing, seed));
            let together = bank.forward(&base, x.clone(), Some(&routing), seed);
            assert_close(&own, &together.into_data());
            // To the bit: it is the bank's way, not the sum over experts one by one.
            let any = AnyBank::Lora(bank);
            let through = onto(&|y| any.forward_onto(&base, y, x.clone(), &routing, seed));
            assert_eq!(through, own);
        }
    }
}

#[test]
fn execution_is_sparse_only_where_that_was_measured_to_pay() {
    let device = Device::flex();
    let sparse = |tokens: usize, experts: usize, k: usize, rank: usize, execution| {
        let a = Tensor::ones([experts, rank, 4], &device);
        let b = Tensor::ones([experts, 4, rank], &device);
        let bank = LoraBankConfig::new(1.0).with_execution(execution).init(a, b).unwrap();
        let chosen: Vec<f32> =
            (0..tokens * experts).map(|i| if i % experts < k { 1.0 } else { 0.0 }).collect();
        let chosen = Tensor::from_data(TensorData::new(chosen, [tokens, experts]), &device);
        let logits = Tensor::zeros([tokens, experts], &device);
        let routing = routing_of(logits, chosen, Some(k));
        bank.sparse(&Tensor::ones([tokens, 4], &device), Some(&routing)).is_some()
    };
    for (tokens, experts, k, rank, faster) in [
        (1024, 64, 2, 8, true),
        (1024, 64, 8, 8, true),
        (1024, 64, 32, 8, false),
        (1024, 8, 2, 32, true),
        (1024, 8, 2, 4, false),
        (1024, 8, 2, 8, false),
        (1024, 8, 4, 32, true),
        (1024, 16, 2, 8, true),
        (64, 64, 2, 8, true),
        (1, 64, 2, 8, false),
    ] {
        let chosen = sparse(tokens, experts, k, rank, Execution::Auto);
        assert_eq!(chosen, faster, "T {tokens}, E {experts}, k {k}, r {rank}");
    }
    assert!(!sparse(1024, 64, 2, 8, Execution::Dense));
    assert!(sparse(1, 4, 2, 2, Execution::Sparse));
}

#[test]
fn routings_without_a_selection_are_computed_densely() {
    let device = Device::flex();
    let bank = bank(LoraBankConfig::new(1.0).with_execution(Execution::Sparse), &device);
    let routing = routing(random([T, E], &device));
    assert!(bank.sparse(&random([T, I], &device), Some(&routing)).is_none());
    assert!(bank.sparse(&random([T, I], &device), None).is_none());
}

#[test]
fn experts_of_different_ranks_stack_and_the_padding_stays_zero() {
    let device = Device::flex().autodiff();
    let single = |r| (random([r, I], &device), random([O, r], &device));
    let factors: Vec<_> = [1, 3, 2].map(single).into();
    let x = random([T, I], &device);
    let expected = factors.iter().fold(Tensor::zeros([T, O], &device), |sum, (a, b)| {
        sum + x.clone().matmul(a.clone().transpose()).matmul(b.clone().transpose())
    });
    let (a, b) = stack_ranks(factors).unwrap();
    assert_eq!((a.dims(), b.dims()), ([3, 3, I], [3, O, 3]));
    let bank = LoraBankConfig::new(1.0).init(a, b).unwrap();
    let y = bank.forward(&nothing(&device), x, None, None);
    assert_close(&y.clone().into_data(), &expected.into_data());
    let grads = y.powi_scalar(2).sum().backward();
    let grad = bank.lora_a.val().grad(&grads).unwrap();
    assert_eq!(grad.clone().narrow(0, 0, 1).narrow(1, 1, 2).abs().sum().into_scalar::<f32>(), 0.0);
    assert!(grad.narrow(0, 0, 1).narrow(1, 0, 1).abs().sum().into_scalar::<f32>() > 0.0);
    let grad = bank.lora_b.val().grad(&grads).unwrap();
    assert_eq!(grad.narrow(0, 2, 1).narrow(2, 2, 1).abs().sum().into_scalar::<f32>(), 0.0);

    assert_eq!(stack_ranks(Vec::new()).unwrap_err(), ExpertError::Zero { field: "experts" });
    let wrong = vec![single(2), (random([2, I], &device), random([O, 1], &device))];
    let error = stack_ranks(wrong).unwrap_err();
    assert_eq!(error, ExpertError::Stack { expert: 1, a: [2, I], b: [O, 1] });
}

#[test]
fn values_out_of_range_are_refused() {
    let device = Device::flex();
    let init = |config: LoraBankConfig, a: [usize; 3], b: [usize; 3]| {
        config.init(random(a, &device), random(b, &device)).unwrap_err()
    };
    let (a, b) = ([E, R, I], [E, O, R]);
    let config = || LoraBankConfig::new(1.0);
    let error = init(config().with_dropout(1.0, DropoutMask::Shared), a, b);
    assert_eq!(error, ExpertError::Dropout { value: 1.0 });
    let error = init(LoraBankConfig::new(f64::INFINITY), a, b);
    assert_eq!(error, ExpertError::Scaling { value: f64::INFINITY });
    let error = init(config(), a, [E, O, R + 1]);
    assert_eq!(error, ExpertError::Shapes { a, b: [E, O, R + 1] });
    let error = init(config(), [2, R, I], b);
    assert_eq!(error, ExpertError::Shapes { a: [2, R, I], b });
    let error = init(config(), [E, R, 0], b);
    assert_eq!(error, ExpertError::Shapes { a: [E, R, 0], b });
    let error = init(config().with_expert_scaling(Some(vec![1.0, 2.0])), a, b);
    assert_eq!(error, ExpertError::ExpertScaling { experts: E, found: vec![1.0, 2.0] });
    let values = vec![1.0, f64::INFINITY, 2.0];
    let error = init(config().with_expert_scaling(Some(values.clone())), a, b);
    assert_eq!(error, ExpertError::ExpertScaling { experts: E, found: values });
    let error = init(config().with_dropout(0.1, DropoutMask::PerExpert), [1, R, I], b);
    assert_eq!(error, ExpertError::DropoutMask { kind: "hydra" });
    let merging = Some(DynamicMergingConfig::new(1.0));
    let error = init(config().with_merging(merging, 0), a, b);
    assert_eq!(error, ExpertError::MergingRate { value: 1.0 });
    let merging = Some(DynamicMergingConfig::new(0.5));
    let error = init(config().with_merging(merging, 0), [1, R, I], b);
    assert_eq!(error, ExpertError::Shapes { a: [1, R, I], b });
    let slots = ExpertSlots {
        identity_experts: 1,
        identity_mode: IdentityMode::PassThrough,
        shared_experts: 0,
    };
    let error = init(config().with_slots(slots), a, b);
    assert_eq!(error, ExpertError::PassThrough { in_features: I, out_features: O });
    let (rows, cols) = (random([E, O], &device), random([E, I + 1], &device));
    let error = bank(config(), &device).with_masks(rows, cols).unwrap_err();
    let (expected, found) = ([[E, O], [E, I]], [[E, O], [E, I + 1]]);
    assert_eq!(error, ExpertError::Masks { expected, found });
    let slots = ExpertSlots { shared_experts: E, ..ExpertSlots::default() };
    let error = init(config().with_slots(slots), a, b);
    assert!(matches!(error, ExpertError::Slots { shared_experts: E, found: E, .. }), "{error}");
}
