use std::collections::BTreeMap;

use balance_loss::BalanceLossConfig;
use lora_expert::{BankOptions, DropoutMask, ExpertSlots, ExpertsConfig, IdentityMode};
use router::{RouterConfig, stable_hash};
use serde::{Deserialize, Serialize};
use svd_init::{BankShape, ExpertInit, InitConfig};

use crate::tokens::TOKEN_ADAPTER;
use crate::{
    AdapterError, BiasTraining, LayerSizes, LayersToTransform, RouterScope, ScalingRule,
    TargetModules, TokenIndices,
};

/// Everything that makes a method: experts, router, balance loss, start and targets.
///
/// Keys that PEFT has keep its name and meaning. [`Preset`](crate::Preset)s are values of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    /// The rank of each expert, or with `split_rank` of all experts of a layer together.
    pub r: usize,
    /// Whether `r` is the total rank of a layer, of which each expert has `r / num_experts`, as in
    /// GOAT.
    #[serde(default)]
    pub split_rank: bool,
    /// The numerator of the scaling.
    pub lora_alpha: f64,
    /// The scaling is `lora_alpha / r`, or `lora_alpha / sqrt(r)` where this is true.
    #[serde(default)]
    pub use_rslora: bool,
    /// Where the scaling comes from, if not from `lora_alpha`.
    #[serde(default)]
    pub scaling: ScalingRule,
    /// The probability that an input of the experts is dropped in training.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Whether the experts of a layer share the dropout mask.
    #[serde(default)]
    pub dropout_mask: DropoutMask,
    /// The number of trained experts that a router chooses from; 1 is a plain adapter and needs no
    /// router.
    #[serde(default = "one")]
    pub num_experts: usize,
    /// The number of identity experts that a router chooses from besides, as in SLIM.
    #[serde(default)]
    pub identity_experts: usize,
    /// What an identity expert adds.
    #[serde(default)]
    pub identity_mode: IdentityMode,
    /// The number of experts that every token uses in full, besides those that are routed.
    #[serde(default)]
    pub shared_experts: usize,
    /// `num_experts` by layer, spread evenly over the model: of n entries, layer i of L takes entry
    /// `floor(i n / L)`. Four entries are the quarters of a model, as in MoLA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_experts_by_layer: Option<Vec<usize>>,
    /// `r` by layer, spread as `num_experts_by_layer` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r_by_layer: Option<Vec<usize>>,
    /// The router's `k` by layer, spread as `num_experts_by_layer` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k_by_layer: Option<Vec<usize>>,
    /// `r` of the linears whose path matches a regular expression, or ends in `.` and a match of
    /// it, as PEFT's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rank_pattern: BTreeMap<String, usize>,
    /// `lora_alpha` of some linears, as `rank_pattern`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub alpha_pattern: BTreeMap<String, f64>,
    /// What an expert computes.
    #[serde(default)]
    pub experts: ExpertsConfig,
    /// The linears to adapt; may be empty where `modules_to_save` or `trainable_token_indices` is
    /// given.
    pub target_modules: TargetModules,
    /// Parameters to adapt that hold the experts of a base model in one, as PEFT's: of
    /// `mlp.experts.gate_up_proj` and `mlp.experts.down_proj` each expert gets an adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_parameters: Option<Vec<String>>,
    /// Linears among those that are not adapted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_modules: Option<TargetModules>,
    /// The layers to adapt; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_to_transform: Option<LayersToTransform>,
    /// Which biases of the base model are trained.
    #[serde(default)]
    pub bias: BiasTraining,
    /// Modules of the base model that are trained as a whole and saved with the adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules_to_save: Option<TargetModules>,
    /// Tokens whose rows of the embeddings are trained, and saved with the adapter, where the other
    /// rows are frozen; or lists by module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainable_token_indices: Option<TokenIndices>,
    /// LoRA+: the learning rate of every `B` is this many times that of the other parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loraplus_lr_ratio: Option<f64>,
    /// Where the experts start.
    #[serde(default)]
    pub init: InitConfig,
    /// How experts are chosen; unused with one expert.
    #[serde(default)]
    pub router: RouterConfig,
    /// Whether each adapted linear has a router, or each feed-forward block, or the whole model one.
    #[serde(default)]
    pub router_scope: RouterScope,
    /// What keeps the experts in balance; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_loss: Option<BalanceLossConfig>,
}

fn one() -> usize {
    1
}

impl AdapterConfig {
    /// One plain LoRA on some linears; every other key has its default.
    pub fn lora(r: usize, lora_alpha: f64, target_modules: TargetModules) -> Self {
        Self {
            r,
            split_rank: false,
            lora_alpha,
            use_rslora: false,
            scaling: ScalingRule::default(),
            lora_dropout: 0.0,
            dropout_mask: DropoutMask::default(),
            num_experts: 1,
            identity_experts: 0,
            identity_mode: IdentityMode::default(),
            shared_experts: 0,
            num_experts_by_layer: None,
            r_by_layer: None,
            top_k_by_layer: None,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            experts: ExpertsConfig::default(),
            target_modules,
            target_parameters: None,
            exclude_modules: None,
            layers_to_transform: None,
            bias: BiasTraining::default(),
            modules_to_save: None,
            trainable_token_indices: None,
            loraplus_lr_ratio: None,
            init: InitConfig::default(),
            router: RouterConfig::default(),
            router_scope: RouterScope::default(),
            balance_loss: None,
        }
    }

    /// Whether any layer routes.
    pub fn is_mixture(&self) -> bool {
        let by_layer = self.num_experts_by_layer.as_deref().unwrap_or(&[]);
        let most = by_layer.iter().copied().max().unwrap_or(self.num_experts);
        most + self.identity_experts > 1
    }

    /// Whether anything is adapted, and not only modules trained as a whole.
    pub fn has_experts(&self) -> bool {
        !self.target_modules.is_empty() || self.target_parameters.is_some()
    }

    /// The sizes of layer `layer` of `num_layers`, before `rank_pattern` and `alpha_pattern`.
    pub fn sizes(&self, layer: usize, num_layers: usize) -> LayerSizes {
        let entry = |list: &Option<Vec<usize>>, default| match list {
            Some(list) => list[(layer * list.len() / num_layers.max(1)).min(list.len() - 1)],
            None => default,
        };
        let num_experts = entry(&self.num_experts_by_layer, self.num_experts);
        let r = entry(&self.r_by_layer, self.r);
        LayerSizes {
            num_experts,
            identity_experts: self.identity_experts,
            shared_experts: self.shared_experts,
            rank: if self.split_rank { r / num_experts } else { r },
            total_rank: r,
            lora_alpha: self.lora_alpha,
            routes: true,
            top_k: self.top_k_by_layer.as_ref().map(|_| entry(&self.top_k_by_layer, 0)),
        }
    }

    /// The factor of the experts' output in a linear of `in_features` inputs.
    ///
    /// By default `lora_alpha / r`, with rsLoRA `lora_alpha / sqrt(r)`, where `r` is the rank of
    /// one expert.
    pub fn scaling(&self, rank: usize, in_features: usize) -> f64 {
        self.scaling.value(self.lora_alpha, self.use_rslora, rank, in_features)
    }

    /// Tells whether a tensor is of the base model, by its name: one of a module that is trained as
    /// a whole, a bias that is trained, or rows of tokens.
    ///
    /// # Errors
    ///
    /// [`AdapterError::TargetPattern`] for `modules_to_save` that are no regular expression.
    pub fn whole_parameters(&self) -> Result<impl Fn(&str) -> bool + use<>, AdapterError> {
        let matcher = self.modules_to_save.as_ref().map(TargetModules::matcher).transpose()?;
        let biases = self.bias != BiasTraining::None;
        let tokens = self.trainable_token_indices.is_some();
        Ok(move |name: &str| {
            let (module, parameter) = name.rsplit_once('.').unwrap_or(("", name));
            if tokens && module.ends_with(TOKEN_ADAPTER) {
                return true;
            }
            let saved = matcher.as_ref().is_some_and(|matcher| matcher.is_match_within(module));
            saved || (biases && parameter == "bias")
        })
    }

    /// What the banks of one layer share.
    pub(crate) fn bank_options(&self, sizes: &LayerSizes, scaling: f64, path: &str) -> BankOptions {
        BankOptions {
            slots: ExpertSlots {
                identity_experts: sizes.identity_experts,
                identity_mode: self.identity_mode,
                shared_experts: sizes.shared_experts,
            },
            num_experts: sizes.num_experts + sizes.identity_experts,
            scaling,
            lora_dropout: self.lora_dropout,
            dropout_mask: self.dropout_mask,
            layer_seed: stable_hash(path.bytes()),
        }
    }

    /// What the start of one layer's experts has to fill.
    pub(crate) fn bank_shape(
        &self,
        sizes: &LayerSizes,
        [in_features, out_features]: [usize; 2],
    ) -> BankShape {
        BankShape {
            num_experts: sizes.num_experts + sizes.shared_experts,
            rank: sizes.rank,
            in_features,
            out_features,
            scaling: self.scaling.value(sizes.lora_alpha, self.use_rslora, sizes.rank, in_features),
        }
    }

    /// Whether the start needs a calibration pass.
    pub fn needs_statistics(&self) -> bool {
        self.has_experts() && self.init.needs().any()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;
    use router::RouterError;

    fn refused(change: impl FnOnce(&mut AdapterConfig)) -> AdapterError {
        let mut config = Preset::LoramoePaper.config();
        change(&mut config);
        config.check().unwrap_err()
    }

    #[test]
    fn scaling_follows_rank() {
        let mut config = Preset::Lora.config();
        config.lora_alpha = 32.0;
        assert_eq!(config.scaling(16, 64), 2.0);
        config.use_rslora = true;
        assert_eq!(config.scaling(16, 64), 8.0);
        config.scaling = ScalingRule::Constant { value: 0.5 };
        assert_eq!(config.scaling(16, 64), 0.5);
        config.scaling = ScalingRule::Theoretical { eta: 1.0 };
        assert_eq!(config.scaling(16, 12), 1.5);
    }

    #[test]
    fn lists_spread_evenly_over_layers() {
        let mut config = Preset::LoramoePaper.config();
        config.num_experts_by_layer = Some(vec![2, 4, 6, 8]);
        config.top_k_by_layer = Some(vec![1, 2]);
        let of = |layer, layers| {
            let sizes = config.sizes(layer, layers);
            (sizes.num_experts, sizes.top_k)
        };
        let found: Vec<_> = (0..8).map(|layer| of(layer, 8).0).collect();
        assert_eq!(found, [2, 2, 4, 4, 6, 6, 8, 8]);
        assert_eq!((of(3, 8).1, of(4, 8).1), (Some(1), Some(2)));
        assert_eq!(of(0, 1).0, 2);
    }

    #[test]
    fn a_split_rank_is_divided() {
        let mut config = Preset::LoramoePaper.config();
        (config.r, config.num_experts, config.split_rank) = (24, 6, true);
        assert_eq!(config.sizes(0, 1).rank, 4);
    }

    #[test]
    fn each_bad_value_is_refused_by_its_key() {
        assert!(matches!(refused(|c| c.r = 0), AdapterError::Zero { key: "r" }));
        let error = refused(|c| c.num_experts = 0);
        assert!(matches!(error, AdapterError::Zero { key: "num_experts" }));
        let error = refused(|c| c.r_by_layer = Some(vec![4, 0]));
        assert!(matches!(error, AdapterError::Zero { key: "r_by_layer" }));
        let error = refused(|c| c.num_experts_by_layer = Some(Vec::new()));
        assert!(matches!(error, AdapterError::Zero { key: "num_experts_by_layer" }));
        let error = refused(|c| c.num_experts = usize::MAX);
        assert!(matches!(error, AdapterError::TooLarge { key: "num_experts", .. }));
        let error = refused(|c| c.r = 999_999_999_999);
        assert!(matches!(error, AdapterError::TooLarge { key: "r", .. }));
        let error = refused(|c| c.identity_experts = usize::MAX);
        assert!(matches!(error, AdapterError::TooLarge { key: "identity_experts", .. }));
        let error = refused(|c| c.r_by_layer = Some(vec![4; 5000]));
        assert!(matches!(error, AdapterError::TooLarge { value: 5000, .. }));
        assert!(matches!(refused(|c| c.top_k_by_layer = Some(vec![2])), AdapterError::NoTopK));
        let error = refused(|c| (c.split_rank, c.r) = (true, 8));
        assert!(matches!(error, AdapterError::SplitRank { r: 8, num_experts: 6 }));
        assert!(matches!(refused(|c| c.lora_alpha = 0.0), AdapterError::LoraAlpha { .. }));
        let error = refused(|c| c.scaling = ScalingRule::Theoretical { eta: 0.0 });
        assert!(matches!(error, AdapterError::Scaling { key: "scaling.eta", .. }));
        assert!(matches!(refused(|c| c.lora_dropout = 1.0), AdapterError::Expert(_)));
        let error = refused(|c| c.loraplus_lr_ratio = Some(-1.0));
        assert!(matches!(error, AdapterError::LoraPlus { .. }));
        assert!(matches!(refused(|c| c.num_experts = 1), AdapterError::BalanceWithoutMixture));
        let error = refused(|c| c.target_modules = TargetModules::Names(vec![]));
        assert!(matches!(error, AdapterError::NoTargets));
    }

    #[test]
    fn routers_of_blocks_refuse_what_does_not_only_add() {
        let refused = |change: fn(&mut AdapterConfig)| match refused(|config| {
            config.router_scope = RouterScope::FeedForward;
            config.balance_loss = None;
            change(config);
        }) {
            AdapterError::FeedForward { key, .. } => key,
            other => panic!("{other}"),
        };
        assert_eq!(refused(|c| c.num_experts = 1), "num_experts");
        assert_eq!(refused(|c| c.experts = ExpertsConfig::Dora {}), "experts");
        assert_eq!(refused(|c| c.identity_experts = 1), "identity_experts");
        assert_eq!(refused(|c| c.shared_experts = 1), "shared_experts");
    }

    #[test]
    fn a_router_of_the_model_refuses_what_it_cannot_decide_for() {
        let refused = |change: fn(&mut AdapterConfig)| {
            let mut config = Preset::XLora.config();
            change(&mut config);
            match config.check().unwrap_err() {
                AdapterError::ModelScope { key, .. } => key,
                other => panic!("{other}"),
            }
        };
        assert_eq!(refused(|c| c.router = RouterConfig::default()), "router");
        assert_eq!(refused(|c| c.num_experts = 1), "num_experts");
        assert_eq!(refused(|c| c.num_experts_by_layer = Some(vec![2, 4])), "num_experts_by_layer");
        assert_eq!(refused(|c| c.init = Preset::GoatPaper.config().init), "init");
        for scope in [RouterScope::Projection, RouterScope::FeedForward] {
            let config = AdapterConfig { router_scope: scope, ..Preset::XLora.config() };
            let error = config.check().unwrap_err();
            assert!(matches!(error, AdapterError::Router(RouterError::WholeModel)), "{error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let json = r#"{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "rank": 4}"#;
        let error = serde_json::from_str::<AdapterConfig>(json).unwrap_err();
        assert!(error.to_string().contains("unknown field `rank`"), "{error}");
    }
}
