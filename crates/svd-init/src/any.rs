use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    BankShape, CordaConfig, EvaConfig, ExpertInit, ExpertStart, GaussianInit, GoatConfig,
    InitError, LayerStatistics, LoraGaConfig, LoraInit, OloraConfig, PrincipalConfig,
    SpectrumSlice, StatisticsNeeded, TripletPlan,
};

/// A start as configuration files name it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InitConfig {
    /// See [`LoraInit`].
    #[default]
    #[serde(deserialize_with = "no_keys")]
    Lora,
    /// See [`GaussianInit`].
    #[serde(deserialize_with = "no_keys")]
    Gaussian,
    /// See [`SpectrumSlice::Pissa`].
    Pissa(PrincipalConfig),
    /// See [`SpectrumSlice::Milora`].
    Milora(PrincipalConfig),
    /// See [`SpectrumSlice::PissaMilora`].
    PissaMilora(PrincipalConfig),
    /// See [`SpectrumSlice::Goat`].
    Goat(GoatConfig),
    /// See [`SpectrumSlice::GoatMini`].
    GoatMini(GoatConfig),
    /// See [`OloraConfig`].
    Olora(OloraConfig),
    /// See [`LoraGaConfig`].
    LoraGa(LoraGaConfig),
    /// See [`CordaConfig`].
    Corda(CordaConfig),
    /// See [`EvaConfig`].
    Eva(EvaConfig),
}

/// A start without keys. Serde would pass over unknown ones here.
fn no_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoKeys {}
    NoKeys::deserialize(deserializer).map(|NoKeys {}| ())
}

impl InitConfig {
    /// Checks what can be checked without a weight.
    ///
    /// # Errors
    ///
    /// [`InitError`] naming the key that cannot work.
    pub fn check(&self) -> Result<(), InitError> {
        match self {
            Self::Lora | Self::Gaussian | Self::Eva(_) => Ok(()),
            Self::Pissa(config) => config.init(SpectrumSlice::Pissa).check(),
            Self::Milora(config) => config.init(SpectrumSlice::Milora).check(),
            Self::PissaMilora(config) => config.init(SpectrumSlice::PissaMilora).check(),
            Self::Goat(config) => config.init(SpectrumSlice::Goat).check(),
            Self::GoatMini(config) => config.init(SpectrumSlice::GoatMini).check(),
            Self::Olora(config) => config.check(),
            Self::LoraGa(config) => config.check(),
            Self::Corda(config) => config.check(),
        }
    }

    /// Whether its numbers are drawn; those of the others follow from the weight and statistics.
    pub fn draws(&self) -> bool {
        matches!(self, Self::Lora | Self::Gaussian)
    }

    /// Whether it takes the experts' product out of the frozen weight.
    pub fn takes_out(&self) -> bool {
        !matches!(self, Self::Lora | Self::Gaussian | Self::Eva(_))
    }

    /// Its name in configuration files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::Gaussian => "gaussian",
            Self::Pissa(_) => "pissa",
            Self::Milora(_) => "milora",
            Self::PissaMilora(_) => "pissa_milora",
            Self::Goat(_) => "goat",
            Self::GoatMini(_) => "goat_mini",
            Self::Olora(_) => "olora",
            Self::LoraGa(_) => "lora_ga",
            Self::Corda(_) => "corda",
            Self::Eva(_) => "eva",
        }
    }

    /// Runs `run` on the start that is named.
    fn with<R>(&self, run: impl FnOnce(&dyn ExpertInit) -> R) -> R {
        match self {
            Self::Lora => run(&LoraInit),
            Self::Gaussian => run(&GaussianInit),
            Self::Pissa(config) => run(&config.init(SpectrumSlice::Pissa)),
            Self::Milora(config) => run(&config.init(SpectrumSlice::Milora)),
            Self::PissaMilora(config) => run(&config.init(SpectrumSlice::PissaMilora)),
            Self::Goat(config) => run(&config.init(SpectrumSlice::Goat)),
            Self::GoatMini(config) => run(&config.init(SpectrumSlice::GoatMini)),
            Self::Olora(config) => run(config),
            Self::LoraGa(config) => run(config),
            Self::Corda(config) => run(config),
            Self::Eva(config) => run(config),
        }
    }
}

impl ExpertInit for InitConfig {
    fn needs(&self) -> StatisticsNeeded {
        self.with(|init| init.needs())
    }

    fn triplets(&self, shape: &BankShape) -> Result<Option<TripletPlan>, InitError> {
        self.with(|init| init.triplets(shape))
    }

    fn start(
        &self,
        weight: &Tensor<2>,
        shape: &BankShape,
        statistics: &LayerStatistics,
        rng: &mut dyn Rng,
    ) -> Result<ExpertStart, InitError> {
        self.with(|init| init.start(weight, shape, statistics, rng))
    }

    fn refined(
        &self,
        start: ExpertStart,
        weight: &Tensor<2>,
        shape: &BankShape,
        held: &dyn Fn(&ExpertStart) -> Option<Tensor<2>>,
    ) -> Result<ExpertStart, InitError> {
        self.with(|init| init.refined(start, weight, shape, held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CordaMethod, GradientDirection, SvdMethod};

    fn parsed(json: &str) -> InitConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn absent_keys_are_the_documented_defaults() {
        assert_eq!(parsed(r#"{"type": "lora"}"#), InitConfig::Lora);
        let pissa =
            PrincipalConfig { rho: None, init_cof: None, svd: SvdMethod::Auto, loftq_iter: 1 };
        assert_eq!(parsed(r#"{"type": "pissa"}"#), InitConfig::Pissa(pissa));
        let goat = GoatConfig { rho: 10.0, init_cof: None, expert_scaling: false, loftq_iter: 1 };
        assert_eq!(parsed(r#"{"type": "goat_mini"}"#), InitConfig::GoatMini(goat));
        let lora_ga = LoraGaConfig {
            stable_gamma: 16.0,
            direction: GradientDirection::A2rBr,
            init_cof: None,
            svd: SvdMethod::Auto,
        };
        assert_eq!(parsed(r#"{"type": "lora_ga"}"#), InitConfig::LoraGa(lora_ga));
        let corda = CordaConfig {
            method: CordaMethod::Ipm,
            damp: 0.01,
            init_cof: None,
            svd: SvdMethod::Auto,
        };
        assert_eq!(parsed(r#"{"type": "corda"}"#), InitConfig::Corda(corda));
    }

    #[test]
    fn configurations_survive_a_round_trip() {
        for json in [
            r#"{"type":"gaussian"}"#,
            r#"{"type":"pissa_milora","rho":2.5,"svd":"randomised"}"#,
            r#"{"type":"lora_ga","stable_gamma":64.0,"direction":"ar_b2r","svd":"auto"}"#,
            r#"{"type":"corda","method":"kpm","damp":0.5,"init_cof":1.0,"svd":"full"}"#,
            r#"{"type":"pissa","svd":"full","loftq_iter":5}"#,
            r#"{"type":"goat","rho":10.0,"expert_scaling":false,"loftq_iter":2}"#,
            r#"{"type":"olora"}"#,
            r#"{"type":"eva","svd":"full"}"#,
        ] {
            assert_eq!(serde_json::to_string(&parsed(json)).unwrap(), json);
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        for name in [
            "lora",
            "gaussian",
            "pissa",
            "milora",
            "pissa_milora",
            "goat",
            "goat_mini",
            "olora",
            "lora_ga",
            "corda",
            "eva",
        ] {
            let json = format!(r#"{{"type": "{name}", "roh": 3.0}}"#);
            let error = serde_json::from_str::<InitConfig>(&json).unwrap_err();
            assert!(error.to_string().contains("unknown field `roh`"), "{name}: {error}");
        }
    }

    #[test]
    fn each_bad_value_is_refused_by_its_key() {
        let refused = |json: &str| parsed(json).check().unwrap_err();
        for name in ["pissa", "milora", "pissa_milora", "goat", "goat_mini"] {
            let error = refused(&format!(r#"{{"type": "{name}", "rho": 0.0}}"#));
            assert_eq!(error, InitError::NotPositive { key: "rho", value: 0.0 });
            let error = refused(&format!(r#"{{"type": "{name}", "loftq_iter": 0}}"#));
            assert_eq!(error, InitError::Zero { field: "loftq_iter" });
        }
        let error = refused(r#"{"type": "goat", "rho": -1.0}"#);
        assert_eq!(error, InitError::NotPositive { key: "rho", value: -1.0 });
        let error = refused(r#"{"type": "lora_ga", "stable_gamma": 0.0}"#);
        assert_eq!(error, InitError::NotPositive { key: "stable_gamma", value: 0.0 });
        let error = refused(r#"{"type": "corda", "damp": -0.5}"#);
        assert_eq!(error, InitError::Negative { key: "damp", value: -0.5 });
        for name in ["pissa", "goat", "olora", "lora_ga", "corda"] {
            let error = refused(&format!(r#"{{"type": "{name}", "init_cof": -1.0}}"#));
            assert_eq!(error, InitError::Negative { key: "init_cof", value: -1.0 });
        }
    }

    #[test]
    fn each_start_names_the_statistics_that_it_needs() {
        let needs = |name: &str| {
            let needed = parsed(&format!(r#"{{"type": "{name}"}}"#)).needs();
            (needed.gradient, needed.input_covariance)
        };
        assert_eq!(needs("goat"), (false, false));
        assert_eq!(needs("lora_ga"), (true, false));
        assert_eq!(needs("corda"), (false, true));
        assert_eq!(needs("eva"), (false, true));
    }
}
