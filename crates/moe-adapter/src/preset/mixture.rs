//! Mixtures of experts.

use balance_loss::{
    Aggregation, BalanceLossConfig, EntropyConfig, FSumsTo, L1Config, LoadBalancingConfig,
    LocalizedBalancingConfig, PaddingPolicy, Scores, SumConfig, VariationForm, ZLossConfig,
};
use lora_expert::{DropoutMask, DynamicMergingConfig, Execution, ExpertsConfig};
use router::{
    AdamoleRouterConfig, DynmoleRouterConfig, GateConfig, GateInit, Lambda, RouterConfig,
    SlidingClusterRouterConfig, SparsegenRouterConfig, SwitchRouterConfig, TopKRouterConfig,
    TopPRouterConfig, XLoraConfig,
};
use svd_init::{GoatConfig, InitConfig};

use crate::{AdapterConfig, RouterScope, ScalingRule, TargetModules};

/// Section 4.1 of the paper.
pub(super) fn loramoe_paper() -> AdapterConfig {
    AdapterConfig {
        lora_dropout: 0.05,
        num_experts: 6,
        balance_loss: Some(BalanceLossConfig::LocalizedBalancing(
            LocalizedBalancingConfig::default(),
        )),
        ..AdapterConfig::lora(4, 32.0, TargetModules::feed_forward())
    }
}

/// The released training script.
pub(super) fn loramoe_released() -> AdapterConfig {
    AdapterConfig {
        num_experts: 8,
        dropout_mask: DropoutMask::PerExpert,
        balance_loss: Some(BalanceLossConfig::LocalizedBalancing(LocalizedBalancingConfig {
            blc_weight: 0.0,
            blc_alpha: 0.0,
            form: VariationForm::Cv2,
            padding: PaddingPolicy::Include,
            ..LocalizedBalancingConfig::default()
        })),
        ..loramoe_paper()
    }
}

/// Commonsense reasoning with LLaMA: total rank 32, alpha 64, eta 0.1.
pub(super) fn goat_paper() -> AdapterConfig {
    AdapterConfig {
        split_rank: true,
        num_experts: 8,
        scaling: ScalingRule::Theoretical { eta: 0.1 },
        init: InitConfig::Goat(GoatConfig::default()),
        router: top_k(2),
        balance_loss: Some(load_balancing(1e-3, FSumsTo::One)),
        ..AdapterConfig::lora(32, 64.0, TargetModules::all_linear())
    }
}

/// The released code scales by `lora_alpha / d`, and its loss is k times larger.
pub(super) fn goat_released() -> AdapterConfig {
    AdapterConfig {
        scaling: ScalingRule::LoraAlpha,
        balance_loss: Some(load_balancing(1e-3, FSumsTo::K)),
        ..goat_paper()
    }
}

/// 8 LoRA and 2 identity experts of rank 16 on the feed-forward linears. What the paper leaves
/// open is as it was measured to do what the paper claims: no masks, and a scaling of 8, as a token
/// has two experts, of which identity experts take a share.
pub(super) fn slim() -> AdapterConfig {
    AdapterConfig {
        num_experts: 8,
        identity_experts: 2,
        router: RouterConfig::SlidingCluster(SlidingClusterRouterConfig::default()),
        balance_loss: Some(BalanceLossConfig::L1(L1Config {
            coefficient: 1e-4,
            ..L1Config::default()
        })),
        ..AdapterConfig::lora(16, 128.0, TargetModules::feed_forward())
    }
}

/// The paper's words taken literally: fresh masks in training that are not rescaled, all of what
/// was learned at inference, and a scaling of 1.
pub(super) fn slim_literal() -> AdapterConfig {
    AdapterConfig {
        lora_alpha: 16.0,
        experts: ExpertsConfig::Lora {
            merging: Some(DynamicMergingConfig::new(0.5)),
            execution: Execution::Auto,
        },
        ..slim()
    }
}

fn mixlora_gate() -> GateConfig {
    GateConfig { init: GateInit::Normal { std: 0.02 }, ..GateConfig::default() }
}

/// The logits of all layers are concatenated, padding is left out, f sums to k.
pub(super) fn mixlora() -> AdapterConfig {
    let router = TopKRouterConfig { k: 2, gate: mixlora_gate(), ..TopKRouterConfig::default() };
    AdapterConfig {
        lora_dropout: 0.05,
        num_experts: 8,
        router: RouterConfig::TopK(router),
        router_scope: RouterScope::FeedForward,
        balance_loss: Some(BalanceLossConfig::LoadBalancing(mixlora_balancing())),
        ..AdapterConfig::lora(16, 32.0, TargetModules::all_linear())
    }
}

fn mixlora_balancing() -> LoadBalancingConfig {
    LoadBalancingConfig {
        coefficient: 1e-2,
        f_sums_to: FSumsTo::K,
        aggregation: Aggregation::Concatenate,
        ..LoadBalancingConfig::default()
    }
}

pub(super) fn mixlora_dynamic() -> AdapterConfig {
    let router = TopPRouterConfig { p: 0.8, gate: mixlora_gate(), ..TopPRouterConfig::default() };
    AdapterConfig { router: RouterConfig::TopP(router), ..mixlora() }
}

pub(super) fn mixlora_switch() -> AdapterConfig {
    let router = SwitchRouterConfig { gate: mixlora_gate(), ..SwitchRouterConfig::default() };
    let z_loss = ZLossConfig {
        coefficient: 1e-3,
        aggregation: Aggregation::Concatenate,
        ..ZLossConfig::default()
    };
    let losses = vec![
        BalanceLossConfig::LoadBalancing(mixlora_balancing()),
        BalanceLossConfig::ZLoss(z_loss),
    ];
    AdapterConfig {
        router: RouterConfig::Switch(router),
        balance_loss: Some(BalanceLossConfig::Sum(SumConfig { losses })),
        ..mixlora()
    }
}

/// The number of experts in the four quarters of the model; 20 for each linear on average.
pub(super) fn mola(experts: [usize; 4]) -> AdapterConfig {
    AdapterConfig {
        lora_dropout: 0.05,
        num_experts: experts[3],
        num_experts_by_layer: Some(experts.to_vec()),
        router: top_k(2),
        balance_loss: Some(load_balancing(1e-3, FSumsTo::K)),
        ..AdapterConfig::lora(8, 16.0, TargetModules::all_linear())
    }
}

pub(super) fn molora() -> AdapterConfig {
    AdapterConfig {
        num_experts: 8,
        router: RouterConfig::Dense { gate: GateConfig { bias: true, ..GateConfig::default() } },
        ..AdapterConfig::lora(4, 4.0, TargetModules::feed_forward())
    }
}

/// (IA)^3 rescales keys, values and the inner activations of feed-forward blocks.
pub(super) fn mov() -> AdapterConfig {
    let targets = ["k_proj", "v_proj", "up_proj"].map(String::from).to_vec();
    AdapterConfig {
        experts: ExpertsConfig::Ia3 {},
        target_modules: TargetModules::Names(targets),
        ..molora()
    }
}

pub(super) fn hydralora() -> AdapterConfig {
    AdapterConfig {
        lora_dropout: 0.05,
        num_experts: 3,
        experts: ExpertsConfig::Hydra {},
        ..AdapterConfig::lora(8, 32.0, TargetModules::feed_forward())
    }
}

pub(super) fn adamole() -> AdapterConfig {
    let targets = ["q_proj", "k_proj", "v_proj", "o_proj"].map(String::from).to_vec();
    AdapterConfig {
        lora_dropout: 0.05,
        num_experts: 8,
        router: RouterConfig::Adamole(AdamoleRouterConfig::default()),
        balance_loss: Some(BalanceLossConfig::LoadBalancing(LoadBalancingConfig {
            coefficient: 1e-3,
            over: Scores::BalanceScores,
            ..LoadBalancingConfig::default()
        })),
        ..AdapterConfig::lora(4, 8.0, TargetModules::Names(targets))
    }
}

pub(super) fn dynmole() -> AdapterConfig {
    let entropy = EntropyConfig { coefficient: 1e-2, ..EntropyConfig::default() };
    let balancing = LoadBalancingConfig {
        coefficient: 1e-3,
        over: Scores::BalanceScores,
        ..LoadBalancingConfig::default()
    };
    let losses =
        vec![BalanceLossConfig::Entropy(entropy), BalanceLossConfig::LoadBalancing(balancing)];
    AdapterConfig {
        lora_dropout: 0.05,
        num_experts: 6,
        router: RouterConfig::Dynmole(DynmoleRouterConfig::default()),
        balance_loss: Some(BalanceLossConfig::Sum(SumConfig { losses })),
        ..AdapterConfig::lora(16, 32.0, TargetModules::all_linear())
    }
}

pub(super) fn ld_mole() -> AdapterConfig {
    let router = SparsegenRouterConfig {
        lambda: Lambda::Network { hidden_size: 64 },
        ..SparsegenRouterConfig::default()
    };
    AdapterConfig {
        lora_dropout: 0.05,
        num_experts: 8,
        router: RouterConfig::Sparsegen(router),
        balance_loss: Some(load_balancing(1e-3, FSumsTo::K)),
        ..AdapterConfig::lora(8, 16.0, TargetModules::all_linear())
    }
}

/// 9 adapters and the classifier's keys as in `xlora_config.json` of the published model
/// `lamm-mit/x-lora`. The experts' rank, scaling and targets are choices of this project: X-LoRA takes
/// adapters as they come.
pub(super) fn x_lora() -> AdapterConfig {
    AdapterConfig {
        num_experts: 9,
        router_scope: RouterScope::Model,
        router: RouterConfig::XLora(XLoraConfig {
            layerwise_scalings: true,
            ..XLoraConfig::default()
        }),
        ..AdapterConfig::lora(8, 16.0, TargetModules::all_linear())
    }
}

fn top_k(k: usize) -> RouterConfig {
    RouterConfig::TopK(TopKRouterConfig { k, ..TopKRouterConfig::default() })
}

fn load_balancing(coefficient: f64, f_sums_to: FSumsTo) -> BalanceLossConfig {
    BalanceLossConfig::LoadBalancing(LoadBalancingConfig {
        coefficient,
        f_sums_to,
        ..LoadBalancingConfig::default()
    })
}
