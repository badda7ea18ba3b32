use model_zoo::{CausalLm, TextTokenizer, generate_batch};

use super::samples;
use crate::StudyError;
use crate::world::{EOS, Exchange, World};
use data::Sample;
use evaluation::EvaluationError;
use evaluation::evaluate;
use evaluation::routing::{AnalyticsError, DEAD_SHARE, routing_statistics};

/// Which half of the evaluation sets: methods are chosen on one and compared on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The even half, for the search of learning rates.
    Validation,
    /// The odd half, for the report.
    Test,
}

/// The exchanges and sentences that a tuned model is measured on.
#[derive(Debug, Clone)]
pub struct EvaluationSets {
    /// Facts that tuning never mentions, as questions.
    pub questions: Vec<Exchange>,
    /// The same facts as statements to complete.
    pub statements: Vec<Exchange>,
    /// Fresh inputs of the tuned tasks.
    pub tasks: Vec<Exchange>,
    /// Sentences of general text.
    pub text: Vec<String>,
}

/// The sentences of general text in each half.
const TEXT_SENTENCES: usize = 100;

impl EvaluationSets {
    /// One half of a world's sets.
    pub fn new(world: &World, inputs_per_task: usize, half: Half) -> Self {
        fn take<T>(items: Vec<T>, half: Half, group: usize) -> Vec<T> {
            let parity = usize::from(half == Half::Test);
            let chosen = |at: &usize| (at / group) % 2 == parity;
            items.into_iter().enumerate().filter(|(at, _)| chosen(at)).map(|(_, t)| t).collect()
        }
        Self {
            questions: take(world.knowledge_questions(), half, 1),
            statements: take(world.knowledge_statements(), half, 1),
            // The tasks take turns, so a round of all of them goes to one half.
            tasks: take(world.tasks_eval(inputs_per_task), half, crate::world::Task::ALL.len()),
            text: take(world.general_text_eval(2 * TEXT_SENTENCES), half, 1),
        }
    }
}

/// What a model knows and can do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The share of questions answered exactly.
    pub knowledge: f64,
    /// The share of statements completed exactly.
    pub statements: f64,
    /// The share of task inputs answered exactly.
    pub tasks: f64,
    /// The mean cross-entropy of general text, in nats per token.
    pub text_loss: f64,
}

/// Measures a model that is not on an autodiff device.
///
/// # Errors
///
/// [`StudyError`] when a text cannot be encoded or generation fails.
pub fn measure<M: CausalLm>(
    model: &M,
    tokenizer: &TextTokenizer,
    sets: &EvaluationSets,
) -> Result<Measured, StudyError> {
    let text = sets
        .text
        .iter()
        .map(|text| samples::sentence(tokenizer, text))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Measured {
        knowledge: exact_match(model, tokenizer, &sets.questions)?,
        statements: exact_match(model, tokenizer, &sets.statements)?,
        tasks: exact_match(model, tokenizer, &sets.tasks)?,
        text_loss: evaluate(model, &text, 100)?.loss,
    })
}

/// The share of exchanges whose greedy answer, up to its end token, is the expected one.
fn exact_match<M: CausalLm>(
    model: &M,
    tokenizer: &TextTokenizer,
    exchanges: &[Exchange],
) -> Result<f64, StudyError> {
    let mut right = 0;
    for chunk in exchanges.chunks(128) {
        let (prompts, answers): (Vec<_>, Vec<_>) = chunk
            .iter()
            .map(|exchange| samples::prompt_and_answer(tokenizer, exchange))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .unzip();
        let longest = answers.iter().map(Vec::len).max().unwrap_or(0);
        let given = generate_batch(model, &prompts, longest, &[EOS])?;
        // The end token is not part of what is given, and one that is missing shows as length.
        right += given.iter().zip(&answers).filter(|(g, a)| g[..] == a[..a.len() - 1]).count();
    }
    Ok(right as f64 / exchanges.len().max(1) as f64)
}

/// The mean share of each expert over layers, projections and the tokens of samples; empty for a
/// model without routers.
pub(super) fn routing_shares<M: CausalLm>(
    model: &M,
    samples: &[Sample],
) -> Result<Vec<f64>, StudyError> {
    if samples.is_empty() {
        return Ok(Vec::new());
    }
    let statistics = match routing_statistics(model, samples, samples.len()) {
        Ok(statistics) => statistics,
        Err(EvaluationError::Analytics(AnalyticsError::NoRouting)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let sites = statistics.report(DEAD_SHARE).sites;
    let mut shares: Vec<f64> = Vec::new();
    for site in &sites {
        shares.resize(site.experts, 0.0);
        for (share, value) in shares.iter_mut().zip(&site.all.importance) {
            *share += value / sites.len() as f64;
        }
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use model_zoo::{Decoder, DecoderConfig};
    use moe_adapter::{AttachOptions, Preset, attach_with};

    use super::*;

    #[test]
    fn shares_are_means_over_layers_and_of_no_router_none() {
        let config = DecoderConfig::new(40, 16, 24, 2, 2);
        let mut model: Decoder = Decoder::init_random(&config, 0, &Device::flex()).unwrap();
        let sample = |row: u32| Sample {
            input_ids: (0..9).map(|at| (row + 7 * at) % 40).collect(),
            target_mask: vec![true; 9],
            ..Sample::default()
        };
        let samples: Vec<Sample> = (0..4).map(sample).collect();
        assert!(routing_shares(&model, &samples).unwrap().is_empty());
        let adapter = Preset::LoramoePaper.config();
        attach_with(&mut model, &adapter, AttachOptions::default()).unwrap();
        let shares = routing_shares(&model, &samples).unwrap();
        assert_eq!(shares.len(), adapter.num_experts);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{shares:?}");
        assert!(routing_shares(&model, &[]).unwrap().is_empty());
    }
}
