use burn::module::Param;
use burn::tensor::{Device, Tensor};

use super::*;

/// A router whose logits are the inputs.
fn identity_gate(config: &RouterConfig, experts: usize) -> AnyRouter {
    let shape = RouterShape::new(experts, experts);
    let mut router = try_router(config, &shape).unwrap();
    *router.gate_weight_mut().unwrap() = Param::from_tensor(Tensor::eye(experts, &Device::flex()));
    router
}

fn switch(capacity_factor: f64) -> RouterConfig {
    RouterConfig::Switch(SwitchRouterConfig { capacity_factor, ..Default::default() })
}

fn choice(capacity_factor: f64) -> RouterConfig {
    RouterConfig::ExpertChoice(ExpertChoiceRouterConfig { capacity_factor, ..Default::default() })
}

/// Tokens that prefer expert 0, 0, 1, 0 and 0.
fn tokens() -> Tensor<2> {
    let x = [[3.0, 0.0], [1.0, 0.0], [0.0, 2.0], [4.0, 0.0], [2.0, 0.0]];
    Tensor::from_data(x, &Device::flex())
}

fn selected(router: &AnyRouter, context: &BatchContext) -> Vec<Vec<bool>> {
    selection(&router.route(tokens(), context))
}

#[test]
fn switch_drops_what_comes_after_an_expert_is_full() {
    // ceil(0.8 * 5 / 2) = 2 tokens an expert.
    let found = selected(&identity_gate(&switch(0.8), 2), &BatchContext::new(1, 5));
    let expert_0: Vec<bool> = found.iter().map(|row| row[0]).collect();
    assert_eq!(expert_0, [true, true, false, false, false]);
    let expert_1: Vec<bool> = found.iter().map(|row| row[1]).collect();
    assert_eq!(expert_1, [false, false, true, false, false]);
}

#[test]
fn padding_takes_no_capacity() {
    let mask = Tensor::from_data([[false, true, true, true, true]], &Device::flex());
    let context = BatchContext::new(1, 5).with_token_mask(mask);
    // ceil(0.8 * 4 / 2) = 2 tokens an expert.
    let found = selected(&identity_gate(&switch(0.8), 2), &context);
    let expert_0: Vec<bool> = found.iter().map(|row| row[0]).collect();
    assert_eq!(expert_0, [false, true, false, true, false]);
    // ceil(1 * 4 / 2) = 2 tokens an expert.
    let found = selected(&identity_gate(&choice(1.0), 2), &context);
    let expert_0: Vec<bool> = found.iter().map(|row| row[0]).collect();
    assert_eq!(expert_0, [false, false, false, true, true]);
}

#[test]
fn switch_with_room_for_all_is_top_1() {
    let x = normal([12, HIDDEN], 1.0, 1, &Device::flex());
    let context = BatchContext::new(3, 4);
    let plain = TopKRouterConfig { k: 1, renormalise: false, ..Default::default() };
    let plain = weights(&router(&RouterConfig::TopK(plain)), &x, &context);
    let found = weights(&router(&switch(EXPERTS as f64)), &x, &context);
    assert_eq!(plain, found);
}

#[test]
fn experts_choose_the_tokens_with_the_largest_probabilities() {
    for (count, experts, factor) in [(40, 5, 1.0), (41, 5, 2.0), (7, 3, 0.1), (64, 4, 4.0)] {
        let device = Device::flex();
        let router = identity_gate(&choice(factor), experts);
        let x = normal([count, experts], 3.0, 2, &device);
        let routing = router.route(x, &BatchContext::new(1, count));
        let capacity = (factor * count as f64 / experts as f64).ceil() as usize;
        let probabilities = rows(&routing.probabilities);
        let found = selection(&routing);
        for expert in 0..experts {
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by(|a, b| probabilities[*b][expert].total_cmp(&probabilities[*a][expert]));
            for (rank, token) in order.into_iter().enumerate() {
                assert_eq!(found[token][expert], rank < capacity, "{count} {expert} {token}");
            }
        }
    }
}

#[test]
fn of_equal_tokens_experts_choose_the_first() {
    let router = identity_gate(&choice(1.0), 2);
    let x = Tensor::zeros([6, 2], &Device::flex());
    let found = selection(&router.route(x, &BatchContext::new(1, 6)));
    let expert_1: Vec<bool> = found.iter().map(|row| row[1]).collect();
    assert_eq!(expert_1, [true, true, true, false, false, false]);
}

#[test]
fn a_batch_of_padding_alone_selects_nothing() {
    for config in [switch(1.0), choice(2.0)] {
        let mask = Tensor::from_data([[false; 5]], &Device::flex());
        let context = BatchContext::new(1, 5).with_token_mask(mask);
        let found = selected(&identity_gate(&config, 2), &context);
        assert!(found.iter().flatten().all(|selected| !selected), "{config:?}");
    }
}
