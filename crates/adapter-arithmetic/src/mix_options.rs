use balance_loss::BalanceLossConfig;
use lora_expert::IdentityMode;
use moe_adapter::{Preset, RouterScope};
use router::RouterConfig;
use serde_json::json;

use crate::ArithmeticError;

/// How single adapters become a mixture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MixOptions {
    /// What chooses between them.
    pub router: RouterConfig,
    /// Identity experts that the router chooses from besides; they come first.
    pub identity_experts: usize,
    /// What those add.
    pub identity_mode: IdentityMode,
    /// What keeps the experts in balance when the router is trained.
    pub balance_loss: Option<BalanceLossConfig>,
    /// The seed of gates that start at random, as the router's configuration says. Without one,
    /// their weights start as zeros, so that experts count alike as far as the router lets them.
    pub router_seed: Option<u64>,
}

impl MixOptions {
    /// The router of a preset, with its identity experts and its balance loss; or a router by its
    /// type, as in `dense`, with its defaults.
    ///
    /// # Errors
    ///
    /// [`ArithmeticError::CannotCombine`] for a name that is neither, and for a preset without a
    /// router for each linear or for the whole model.
    pub fn named(name: &str) -> Result<Self, ArithmeticError> {
        let refused = |reason: String| ArithmeticError::CannotCombine {
            what: format!("router `{name}`"),
            reason,
        };
        let Ok(preset) = name.parse::<Preset>() else {
            let router = serde_json::from_value(json!({ "type": name }));
            let router = router.map_err(|error| {
                refused(format!("neither a type of router ({error}) nor a preset with a router"))
            })?;
            return Ok(Self { router, ..Self::default() });
        };
        let config = preset.config();
        if !config.is_mixture() {
            return Err(refused("the preset is a single adapter, without a router".into()));
        }
        if config.router_scope == RouterScope::FeedForward {
            return Err(refused(
                "the preset has a router for each feed-forward block, and here each linear has one"
                    .into(),
            ));
        }
        Ok(Self {
            router: config.router,
            identity_experts: config.identity_experts,
            identity_mode: config.identity_mode,
            balance_loss: config.balance_loss,
            router_seed: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_are_named_by_type_or_by_preset() {
        assert_eq!(MixOptions::named("dense").unwrap(), MixOptions::default());
        let uniform = MixOptions::named("uniform").unwrap();
        assert_eq!(uniform.router, RouterConfig::Uniform {});
        let loramoe = MixOptions::named("loramoe-paper").unwrap();
        assert!(loramoe.balance_loss.is_some());
        for (name, part) in [("dense2", "top_k"), ("lora", "single"), ("mixlora", "block")] {
            let error = MixOptions::named(name).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(part), "{error}");
        }
    }
}
