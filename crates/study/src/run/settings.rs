use super::Study;
use crate::Setting;
use crate::ground::Ground;
use crate::solve::EQUALITY;
use crate::store::BURN_VERSION;

impl<G: Ground> Study<'_, G> {
    /// What the report says of how the study was made.
    pub(super) fn settings(&self, equality: String) -> Vec<Setting> {
        let mut settings = self.ground.settings();
        if self.config.searched() {
            let own = self.config.methods.iter().filter(|method| !method.learning_rates.is_empty());
            let own = own
                .map(|method| format!("; of {} {}", method.name, listed(&method.learning_rates)));
            let found = format!(
                "{}{} on {} samples of seed {}, on the validation half",
                listed(&self.config.learning_rates),
                own.collect::<String>(),
                self.search_samples,
                self.config.seeds[0]
            );
            settings.push(Setting::new("learning-rate search", found));
        }
        let (workers, threads) = self.threads();
        settings.extend([
            Setting::new("trainable parameters", equality.trim_start_matches(EQUALITY)),
            Setting::new(
                "diverged",
                format!(
                    "where held-out loss is more than {} nats above the base model's and no task is learned",
                    self.config.divergence_threshold
                ),
            ),
            Setting::new("Burn", BURN_VERSION),
            Setting::new(
                "machine",
                format!(
                    "{} {}, device {:?}, {workers} runs at once of {threads} threads each",
                    std::env::consts::OS,
                    std::env::consts::ARCH,
                    self.options.device
                ),
            ),
        ]);
        settings
    }
}

fn listed(rates: &[f64]) -> String {
    rates.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")
}
