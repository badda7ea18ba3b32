use std::collections::BTreeMap;

use router::Site;

use super::TrainingConfig;
use evaluation::routing::SiteShare;

/// A projection whose routing has collapsed onto one expert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoutingCollapse {
    /// The projection.
    pub site: Site,
    /// The expert that receives nearly everything.
    pub expert: usize,
    /// Its share of the routing weight in the last step that was looked at.
    pub share: f64,
    /// For how many steps that were looked at, in a row, it has been so.
    pub steps: usize,
}

/// Notices when one expert of a projection keeps more than a share of the routing weight for a
/// number of steps in a row.
#[derive(Debug, Clone)]
pub struct CollapseMonitor {
    threshold: f64,
    steps: usize,
    /// The expert above the threshold, and for how long.
    above: BTreeMap<Site, (usize, usize)>,
}

impl CollapseMonitor {
    /// Looks for shares above `threshold` for `steps` steps in a row.
    pub fn new(threshold: f64, steps: usize) -> Self {
        Self { threshold, steps, above: BTreeMap::new() }
    }

    /// As configured; `None` where it is switched off.
    pub fn of(config: &TrainingConfig) -> Option<Self> {
        let threshold = config.routing_collapse_threshold;
        (threshold > 0.0).then(|| Self::new(threshold, config.routing_collapse_steps))
    }

    /// Takes note of a step; the projections that have just collapsed. Each is named once, and
    /// again only after it has recovered or gone over to another expert.
    pub fn observe(&mut self, shares: &[SiteShare]) -> Vec<RoutingCollapse> {
        let mut collapsed = Vec::new();
        for &SiteShare { site, expert, share } in shares {
            if share <= self.threshold {
                self.above.remove(&site);
                continue;
            }
            let (known, steps) = self.above.entry(site).or_insert((expert, 0));
            if *known != expert {
                (*known, *steps) = (expert, 0);
            }
            *steps += 1;
            if *steps == self.steps {
                collapsed.push(RoutingCollapse { site, expert, share, steps: *steps });
            }
        }
        collapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps, from 1, at which a projection with these experts and shares is named.
    fn named(monitor: &mut CollapseMonitor, steps: &[(usize, f64)]) -> Vec<(usize, usize)> {
        let site = Site::new(0, "mlp.up_proj");
        let observed = steps.iter().enumerate().flat_map(|(at, &(expert, share))| {
            let other = SiteShare { site: Site::new(1, "mlp.up_proj"), expert: 0, share: 0.3 };
            let collapsed = monitor.observe(&[other, SiteShare { site, expert, share }]);
            assert!(collapsed.iter().all(|c| c.site == site && c.share == share));
            collapsed.into_iter().map(move |c| (at + 1, c.expert)).collect::<Vec<_>>()
        });
        observed.collect()
    }

    #[test]
    fn a_projection_is_named_once_after_enough_steps_in_a_row() {
        let mut monitor = CollapseMonitor::new(0.9, 3);
        let steps = [(1, 0.95), (1, 0.95), (1, 0.9), (1, 0.95), (1, 0.95), (1, 0.95), (1, 0.99)];
        assert_eq!(named(&mut monitor, &steps), [(6, 1)]);
        assert_eq!(named(&mut monitor, &[(1, 0.5), (1, 0.95), (1, 0.95), (1, 0.95)]), [(4, 1)]);
    }

    #[test]
    fn experts_that_take_turns_are_no_collapse() {
        let mut monitor = CollapseMonitor::new(0.9, 2);
        let steps = [(1, 0.95), (2, 0.95), (1, 0.95), (2, 0.95), (2, 0.95)];
        assert_eq!(named(&mut monitor, &steps), [(5, 2)]);
    }

    #[test]
    fn a_threshold_of_zero_switches_it_off() {
        let config = TrainingConfig { routing_collapse_threshold: 0.0, ..Default::default() };
        assert!(CollapseMonitor::of(&config).is_none());
        assert!(CollapseMonitor::of(&TrainingConfig::default()).is_some());
    }
}
