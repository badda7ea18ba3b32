use model_zoo::Decoder;
use moe_adapter::{AdapterConfig, AdapterSize, TargetModules};

use super::{StudyConfig, StudyMethod};
use crate::StudyError;

/// A method at its solved rank.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Solved {
    pub(super) method: StudyMethod,
    pub(super) trainable_parameters: usize,
    /// Whether the rank was solved for, or is that of the baseline.
    pub(super) equalised: bool,
}

/// Gives every method the rank at which it has as many trainable parameters as the baseline, to
/// the nearest, and keeps its ratio of alpha to rank.
pub(super) fn solve_ranks(
    config: &StudyConfig,
    model: &Decoder,
) -> Result<Vec<Solved>, StudyError> {
    let Some(baseline) = config.methods.iter().find(|method| method.name == config.baseline) else {
        return Err(StudyError::value("baseline", &config.baseline, "the name of a method"));
    };
    let target = count(model, &baseline.adapter)?;
    let solve = |method: &StudyMethod| -> Result<Solved, StudyError> {
        let mut method = method.clone();
        if method.equal_parameters && method.name != config.baseline {
            method.adapter = with_parameters(model, &method.adapter, target)?;
        }
        let trainable_parameters = count(model, &method.adapter)?;
        let equalised = method.equal_parameters && has_rank(&method.adapter);
        Ok(Solved { method, trainable_parameters, equalised })
    };
    config.methods.iter().map(solve).collect()
}

/// What the line on equal parameters begins with.
pub(super) const EQUALITY: &str = "trainable parameters: ";

/// How equal the methods are in trainable parameters, in words: the rank and the parameters of each,
/// and the largest deviation from the baseline.
pub(super) fn equality(solved: &[Solved], baseline: &str) -> String {
    let target = solved.iter().find(|solved| solved.method.name == baseline);
    let target = target.map_or(1, |solved| solved.trainable_parameters.max(1)) as f64;
    let deviation = |solved: &Solved| 100.0 * (solved.trainable_parameters as f64 / target - 1.0);
    let of = |solved: &Solved| {
        let count = report::format::count(solved.trainable_parameters);
        let rank = match has_rank(&solved.method.adapter) {
            true => format!("rank {}", solved.method.adapter.r),
            false => "no rank".to_owned(),
        };
        let how = match (solved.method.name == baseline, solved.equalised) {
            (true, _) => "the baseline".to_owned(),
            (_, true) => format!("{:+.1} %", deviation(solved)),
            (_, false) => format!("{:+.1} %, not equalised", deviation(solved)),
        };
        format!("{} {count} ({rank}, {how})", solved.method.name)
    };
    let all: Vec<_> = solved.iter().map(of).collect();
    let largest = solved
        .iter()
        .filter(|solved| solved.equalised && solved.method.name != baseline)
        .max_by(|a, b| deviation(a).abs().total_cmp(&deviation(b).abs()));
    let largest = match largest {
        Some(solved) => format!(
            "; largest deviation of those that are equalised {:+.1} % ({})",
            deviation(solved),
            solved.method.name
        ),
        None => String::new(),
    };
    format!("{EQUALITY}{}{largest}", all.join(", "))
}

/// Whether the number of trainable parameters follows from the rank at all.
pub(super) fn has_rank(adapter: &AdapterConfig) -> bool {
    adapter.has_experts() && adapter.experts.factors(adapter.num_experts).is_some()
}

/// The trainable parameters of an adapter.
fn count(model: &Decoder, adapter: &AdapterConfig) -> Result<usize, StudyError> {
    Ok(AdapterSize::of(model, adapter)?.trainable())
}

fn with_parameters(
    model: &Decoder,
    adapter: &AdapterConfig,
    target: usize,
) -> Result<AdapterConfig, StudyError> {
    if !has_rank(adapter) {
        return Ok(adapter.clone());
    }
    // Ranks that are split over experts are multiples of their number.
    let unit = match (adapter.split_rank, &adapter.num_experts_by_layer) {
        (false, _) => 1,
        (true, None) => adapter.num_experts,
        (true, Some(counts)) => counts.iter().copied().fold(1, least_common_multiple),
    };
    let at = |units: usize| {
        let r = units * unit;
        let lora_alpha = adapter.lora_alpha / adapter.r as f64 * r as f64;
        AdapterConfig { r, r_by_layer: None, lora_alpha, ..adapter.clone() }
    };
    // The count is linear in the rank: routers and the like, and the factors.
    let (one, two) = (count(model, &at(1))?, count(model, &at(2))?);
    let slope = two.saturating_sub(one).max(1) as f64;
    let units = 1.0 + (target as f64 - one as f64) / slope;
    Ok(at((units.round() as i64).max(1) as usize))
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

/// An adapter in a few words.
pub(super) fn describe(adapter: &AdapterConfig) -> String {
    let mut parts = Vec::new();
    if adapter.has_experts() {
        let tag = |value: Result<serde_json::Value, serde_json::Error>| match value {
            Ok(value) => value["type"].as_str().unwrap_or_default().to_owned(),
            Err(_) => String::new(),
        };
        let experts = tag(serde_json::to_value(adapter.experts));
        match &adapter.num_experts_by_layer {
            Some(counts) => parts.push(format!("{counts:?} {experts} experts by layer")),
            None if adapter.num_experts > 1 => {
                parts.push(format!("{} {experts} experts", adapter.num_experts));
            }
            None => parts.push(experts),
        }
        if adapter.identity_experts > 0 {
            parts.push(format!("{} identity experts", adapter.identity_experts));
        }
        if has_rank(adapter) {
            parts.push(format!("rank {}", adapter.r));
        }
        if adapter.is_mixture() {
            parts.push(format!("router {}", tag(serde_json::to_value(&adapter.router))));
        }
        parts.push(format!("start {}", tag(serde_json::to_value(adapter.init))));
        parts.push(names(&adapter.target_modules));
    }
    if let Some(modules) = &adapter.modules_to_save {
        parts.push(format!("{} as a whole", names(modules)));
    }
    if let Some(indices) = &adapter.trainable_token_indices {
        let count: usize = indices.by_module().into_iter().map(|(_, tokens)| tokens.len()).sum();
        parts.push(format!("{count} rows of tokens"));
    }
    parts.join(", ")
}

fn names(modules: &TargetModules) -> String {
    match modules {
        TargetModules::Names(names) => names.join(" "),
        TargetModules::Pattern(pattern) => pattern.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use model_zoo::DecoderConfig;
    use moe_adapter::Preset;

    #[test]
    fn deviations_from_the_baseline_are_said() {
        let solved = |name: &str, preset: Preset, parameters, equalised| Solved {
            method: StudyMethod {
                name: name.into(),
                adapter: preset.config(),
                learning_rate: None,
                learning_rates: Vec::new(),
                equal_parameters: equalised,
            },
            trainable_parameters: parameters,
            equalised,
        };
        let all = [
            solved("LoRA", Preset::Lora, 1_000, true),
            solved("MoE", Preset::LoramoePaper, 1_040, true),
            solved("SLIM", Preset::Slim, 930, true),
            solved("full", Preset::Full, 4_000, false),
        ];
        let text = equality(&all, "LoRA");
        assert!(
            text.contains("LoRA 1,000 (rank 32, the baseline), MoE 1,040 (rank 4, +4.0 %)"),
            "{text}"
        );
        assert!(text.contains("full 4,000 (no rank, +300.0 %, not equalised)"), "{text}");
        assert!(text.ends_with("equalised -7.0 % (SLIM)"), "{text}");
    }

    /// The count is linear in the rank, so the rank that is asked for is found again.
    #[test]
    fn the_rank_follows_from_the_number_of_parameters() {
        let model_config = DecoderConfig::new(40, 32, 64, 2, 4);
        let model: Decoder = Decoder::init_random(&model_config, 1, &Device::flex()).unwrap();
        let mut adapter = Preset::LoramoePaper.config();
        (adapter.r, adapter.lora_alpha) = (4, 6.0);
        let of = |r, lora_alpha| AdapterConfig { r, lora_alpha, ..adapter.clone() };
        for rank in [1, 2, 7] {
            let target = count(&model, &of(rank, 6.0)).unwrap();
            // The scaling, alpha over r, stays.
            let found = with_parameters(&model, &adapter, target).unwrap();
            assert_eq!(found, of(rank, 1.5 * rank as f64));
        }
        // Never below 1, and to the nearest.
        assert_eq!(with_parameters(&model, &adapter, 0).unwrap().r, 1);
        let three = count(&model, &of(3, 6.0)).unwrap();
        assert_eq!(with_parameters(&model, &adapter, three + 1).unwrap().r, 3);
        // A rank that is split is a multiple of the experts.
        let split = AdapterConfig { split_rank: true, r: 6, ..adapter.clone() };
        let target = count(&model, &AdapterConfig { r: 18, ..split.clone() }).unwrap();
        assert_eq!(with_parameters(&model, &split, target).unwrap().r, 18);
        assert_eq!(with_parameters(&model, &split, target - 1).unwrap().r, 18);
        let full = Preset::Full.config();
        assert_eq!(with_parameters(&model, &full, 10).unwrap(), full);
        assert_eq!(least_common_multiple(4, 6), 12);
    }
}
