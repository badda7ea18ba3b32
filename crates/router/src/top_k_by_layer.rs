use crate::RouterConfig;

impl RouterConfig {
    /// The same strategy with another `k`, for methods whose `k` differs by layer; `None` for a
    /// strategy that has none.
    pub fn with_top_k(&self, k: usize) -> Option<Self> {
        let mut config = self.clone();
        match &mut config {
            Self::TopK(strategy) => strategy.k = k,
            Self::NoisyTopK(strategy) => strategy.k = k,
            Self::Sigmoid(strategy) => strategy.k = k,
            Self::SlidingCluster(strategy) => strategy.k = k,
            _ => return None,
        }
        Some(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopKRouterConfig;

    #[test]
    fn only_strategies_with_a_k_take_another() {
        let config = RouterConfig::TopK(TopKRouterConfig::default());
        let Some(RouterConfig::TopK(changed)) = config.with_top_k(5) else { panic!() };
        assert_eq!(changed.k, 5);
        assert!(RouterConfig::default().with_top_k(5).is_none());
    }
}
