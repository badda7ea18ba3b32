//! What an adapter's configuration cannot be, found without a model.

use lora_expert::ExpertsConfig;
use router::{RouterConfig, RouterError};

use crate::{AdapterConfig, AdapterError, RouterScope};

/// The largest rank: that of a full update of the largest linears there are.
const MAX_RANK: usize = 1 << 16;
/// The most experts of a kind in a layer.
const MAX_EXPERTS: usize = 1 << 12;
/// The most entries of a list by layer.
const MAX_LAYERS: usize = 1 << 10;

impl AdapterConfig {
    /// Checks everything that can be checked without a model.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] naming the key, the value and what is allowed.
    pub fn check(&self) -> Result<(), AdapterError> {
        self.check_sizes()?;
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return Err(AdapterError::LoraAlpha { value: self.lora_alpha });
        }
        for value in self.alpha_pattern.values() {
            if !(value.is_finite() && *value > 0.0) {
                return Err(AdapterError::LoraAlpha { value: *value });
            }
        }
        self.size_patterns()?;
        self.scaling.check()?;
        if !(0.0..1.0).contains(&self.lora_dropout) {
            let value = self.lora_dropout;
            return Err(lora_expert::ExpertError::Dropout { value }.into());
        }
        if let Some(value) = self.loraplus_lr_ratio
            && !(value.is_finite() && value > 0.0)
        {
            return Err(AdapterError::LoraPlus { value });
        }
        self.experts.check()?;
        self.init.check()?;
        if self.init.takes_out() && matches!(self.experts, ExpertsConfig::Hydra {}) {
            return Err(AdapterError::SharedFactors);
        }
        if let Some(loss) = &self.balance_loss {
            if !self.is_mixture() {
                return Err(AdapterError::BalanceWithoutMixture);
            }
            loss.init()?;
        }
        match (self.router_scope, &self.router) {
            (RouterScope::Model, router) => self.check_model(router)?,
            (_, RouterConfig::XLora(_)) => return Err(RouterError::WholeModel.into()),
            (RouterScope::FeedForward, _) => self.check_feed_forward()?,
            (RouterScope::Projection, _) => {}
        }
        let others = self.modules_to_save.is_some() || self.trainable_token_indices.is_some();
        match &self.target_parameters {
            Some(targets) => self.check_parameters(targets)?,
            None if self.has_experts() || !others => drop(self.target_modules.matcher()?),
            None => {}
        }
        if let Some(indices) = &self.trainable_token_indices {
            indices.check()?;
        }
        for modules in [&self.exclude_modules, &self.modules_to_save].into_iter().flatten() {
            modules.matcher()?;
        }
        Ok(())
    }

    fn check_parameters(&self, targets: &[String]) -> Result<(), AdapterError> {
        if !self.target_modules.is_empty() {
            self.target_modules.matcher()?;
        }
        let allowed = [
            ("target_parameters", !targets.is_empty(), "a list of names, or absent"),
            ("num_experts", !self.is_mixture() && self.shared_experts == 0, "1"),
            ("lora_dropout", self.lora_dropout == 0.0, "0"),
            // The factors of all experts are one matrix, which has one rank.
            ("rank_pattern", self.rank_pattern.is_empty(), "absent"),
            ("r_by_layer", self.r_by_layer.is_none(), "absent"),
            (
                "experts",
                matches!(self.experts, ExpertsConfig::Lora { merging: None, .. }),
                "`{ type = \"lora\" }` without `merging`",
            ),
        ];
        match allowed.into_iter().find(|(_, fits, _)| !fits) {
            Some((key, _, allowed)) => Err(AdapterError::OfParameters { key, allowed }),
            None => Ok(()),
        }
    }

    fn check_sizes(&self) -> Result<(), AdapterError> {
        for (key, value) in [("r", self.r), ("num_experts", self.num_experts)] {
            if value == 0 {
                return Err(AdapterError::Zero { key });
            }
        }
        let lists = [
            ("num_experts_by_layer", &self.num_experts_by_layer),
            ("r_by_layer", &self.r_by_layer),
            ("top_k_by_layer", &self.top_k_by_layer),
        ];
        for (key, list) in lists {
            if list.as_ref().is_some_and(|list| list.is_empty() || list.contains(&0)) {
                return Err(AdapterError::Zero { key });
            }
        }
        if self.rank_pattern.values().any(|r| *r == 0) {
            return Err(AdapterError::Zero { key: "rank_pattern" });
        }
        self.check_upper_limits()?;
        if self.top_k_by_layer.is_some() && self.router.with_top_k(1).is_none() {
            return Err(AdapterError::NoTopK);
        }
        let entries = lists.iter().filter_map(|(_, list)| list.as_ref().map(Vec::len));
        // Enough layers to meet every combination of entries.
        let layers = entries.fold(1, |product, len| product * len.max(1));
        for layer in 0..layers {
            let sizes = self.sizes(layer, layers);
            if self.split_rank && !sizes.total_rank.is_multiple_of(sizes.num_experts) {
                return Err(AdapterError::SplitRank {
                    r: sizes.total_rank,
                    num_experts: sizes.num_experts,
                });
            }
        }
        Ok(())
    }

    /// A configuration may come from anywhere, and memory is allocated by its sizes.
    fn check_upper_limits(&self) -> Result<(), AdapterError> {
        let list = |list: &Option<Vec<usize>>| list.clone().unwrap_or_default();
        let ranks = list(&self.r_by_layer).into_iter().chain(self.rank_pattern.values().copied());
        let limited = [
            ("r", vec![self.r], MAX_RANK),
            ("num_experts", vec![self.num_experts], MAX_EXPERTS),
            ("identity_experts", vec![self.identity_experts], MAX_EXPERTS),
            ("shared_experts", vec![self.shared_experts], MAX_EXPERTS),
            ("num_experts_by_layer", list(&self.num_experts_by_layer), MAX_EXPERTS),
            ("top_k_by_layer", list(&self.top_k_by_layer), MAX_EXPERTS),
            ("r_by_layer or rank_pattern", ranks.collect(), MAX_RANK),
        ];
        for (key, values, most) in limited {
            if let Some(value) = values.into_iter().find(|value| *value > most) {
                return Err(AdapterError::TooLarge { key, value, most });
            }
        }
        let lists = [&self.num_experts_by_layer, &self.r_by_layer, &self.top_k_by_layer];
        match lists.iter().filter_map(|list| list.as_ref().map(Vec::len)).max() {
            Some(value) if value > MAX_LAYERS => {
                let key = "the number of entries of a list by layer";
                Err(AdapterError::TooLarge { key, value, most: MAX_LAYERS })
            }
            _ => Ok(()),
        }
    }

    /// A router of a whole block needs experts that only add to the frozen linears.
    fn check_feed_forward(&self) -> Result<(), AdapterError> {
        if !self.is_mixture() {
            return Err(AdapterError::FeedForward { key: "num_experts", allowed: "at least 2" });
        }
        if !matches!(self.experts, ExpertsConfig::Lora { merging: None, .. }) {
            return Err(AdapterError::FeedForward {
                key: "experts",
                allowed: "`{ type = \"lora\" }` without `merging`",
            });
        }
        if self.identity_experts > 0 {
            return Err(AdapterError::FeedForward { key: "identity_experts", allowed: "0" });
        }
        if self.shared_experts > 0 {
            return Err(AdapterError::FeedForward { key: "shared_experts", allowed: "0" });
        }
        Ok(())
    }

    /// A router of the whole model decides for linears with the same experts, from a pass without
    /// them.
    fn check_model(&self, router: &RouterConfig) -> Result<(), AdapterError> {
        let refused = |key, allowed| Err(AdapterError::ModelScope { key, allowed });
        let RouterConfig::XLora(classifier) = router else {
            return refused("router", "`{ type = \"x_lora\" }`");
        };
        if !self.is_mixture() {
            return refused("num_experts", "at least 2");
        }
        if self.num_experts_by_layer.is_some() {
            return refused("num_experts_by_layer", "absent, as all linears have the same experts");
        }
        if self.init.takes_out() {
            return refused(
                "init",
                "one that takes nothing out of the frozen weights, such as `{ type = \"lora\" }`, \
                 as the first pass is that of the base model",
            );
        }
        Ok(classifier.check(self.num_experts + self.identity_experts)?)
    }
}
