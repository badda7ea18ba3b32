use lora_moe::balance_loss::{
    BalanceLossConfig, ImportanceConfig, LoadBalancingConfig, Scores, ZLossConfig,
};
use lora_moe::burn::tensor::Tensor;
use lora_moe::router::RoutingTape;

use super::layer::text;

/// A loss of the routings on a tape.
pub fn penalty(tape: &RoutingTape, config: BalanceLossConfig) -> Result<Tensor<1>, String> {
    let loss = config.init().map_err(text)?.loss(tape).map_err(text)?;
    loss.ok_or_else(|| "the tape has nothing to penalise".into())
}

/// The Switch loss over what the strategy balances, without a coefficient.
pub fn switch_balance(tape: &RoutingTape) -> Result<Tensor<1>, String> {
    let config = LoadBalancingConfig {
        coefficient: 1.0,
        over: Scores::BalanceScores,
        ..LoadBalancingConfig::default()
    };
    penalty(tape, BalanceLossConfig::LoadBalancing(config))
}

/// The z-loss, without a coefficient.
pub fn z_loss(tape: &RoutingTape) -> Result<Tensor<1>, String> {
    let config = ZLossConfig { coefficient: 1.0, ..ZLossConfig::default() };
    penalty(tape, BalanceLossConfig::ZLoss(config))
}

/// The importance loss, without a coefficient.
pub fn importance_cv2(tape: &RoutingTape) -> Result<Tensor<1>, String> {
    let config = ImportanceConfig { coefficient: 1.0, ..ImportanceConfig::default() };
    penalty(tape, BalanceLossConfig::Importance(config))
}
