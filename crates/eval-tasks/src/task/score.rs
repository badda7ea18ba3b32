use serde_json::Value;

use super::load::index;
use super::{FilterScore, MetricScore, SampleScore, Task};
use crate::TaskError;
use crate::config::{MetricConfig, OutputType};
use crate::data::Document;
use crate::metric::{Metric, MetricValue, number_match, squad_exact_match, squad_f1};
use crate::request::Response;

impl Task {
    /// Scores the answers to the requests of a document: for each request, in order, one answer a
    /// repeat.
    ///
    /// # Errors
    /// Answers of another kind or number than the requests, or a filter that cannot be applied.
    pub fn score(
        &self,
        document: usize,
        responses: &[Vec<Response>],
    ) -> Result<SampleScore, TaskError> {
        let wrong = |message: String| TaskError::Response {
            task: self.config.task.clone(),
            document,
            message,
        };
        let row = self
            .documents
            .get(document)
            .ok_or_else(|| wrong(format!("there are {} documents", self.documents.len())))?;
        if responses.is_empty() || responses.iter().any(Vec::is_empty) {
            return Err(wrong("an answer is missing".into()));
        }
        let target = self.target(row)?;
        let mut has_gold = true;
        let mut filters = Vec::new();
        for pipeline in &self.config.filters {
            let (answers, values) = match self.config.output_type {
                OutputType::GenerateUntil => {
                    let answers: Vec<Value> = responses
                        .iter()
                        .map(|repeats| {
                            let texts = generated(repeats)?;
                            crate::filter::apply(&pipeline.steps, &texts, &row.row)
                        })
                        .collect::<Result<_, _>>()
                        .map_err(wrong)?;
                    let values = self.generated(row, &target, &answers[0])?.map_err(wrong)?;
                    (answers, values)
                }
                OutputType::MultipleChoice => {
                    let pairs = first_of_each(responses).map_err(wrong)?;
                    let choices = self.choices(row)?.unwrap_or_default();
                    let gold = match &self.config.doc_to_text {
                        Some(text) if self.multiple_inputs => self.prompts.text(text, row)?,
                        _ => target.clone(),
                    };
                    let scored = ChoiceScores::new(&choices, &pairs, &gold).map_err(wrong)?;
                    has_gold = scored.has_gold();
                    let values = self.values(|metric| scored.value(metric));
                    (
                        pairs.iter().map(|(ll, greedy)| serde_json::json!([ll, greedy])).collect(),
                        values,
                    )
                }
                OutputType::LogLikelihood => {
                    let pairs = first_of_each(responses).map_err(wrong)?;
                    let (log_likelihood, greedy) = pairs[0];
                    let values = self.values(|metric| match metric {
                        Metric::Perplexity => Some(MetricValue::Number(log_likelihood)),
                        Metric::Acc => Some(MetricValue::Number(f64::from(greedy))),
                        _ => None,
                    });
                    (vec![serde_json::json!([log_likelihood, greedy])], values)
                }
                OutputType::LogLikelihoodRolling => {
                    let Response::LogLikelihoodRolling { log_likelihood } = &responses[0][0] else {
                        return Err(wrong(unfit(&responses[0][0])));
                    };
                    let values = self.rolling(row, &target, *log_likelihood)?.map_err(wrong)?;
                    (vec![(*log_likelihood).into()], values)
                }
                OutputType::SequenceClassification | OutputType::ImageClassification => {
                    let Response::Logits(logits) = &responses[0][0] else {
                        return Err(wrong(unfit(&responses[0][0])));
                    };
                    let choices = self.choices(row)?;
                    let values = self.classified(choices, &target, logits).map_err(wrong)?;
                    (vec![logits.clone().into()], values)
                }
            };
            filters.push(FilterScore { filter: pipeline.name.clone(), answers, metrics: values });
        }
        Ok(SampleScore { document, target, has_gold, filters })
    }

    fn values(&self, of: impl Fn(Metric) -> Option<MetricValue>) -> Vec<MetricScore> {
        let scored = self.config.metrics.iter().filter_map(|metric| {
            let value = of(metric.metric)?;
            Some(MetricScore { metric: metric.metric.name().into(), value })
        });
        scored.collect()
    }

    fn rolling(
        &self,
        document: &Document,
        target: &Value,
        log_likelihood: f64,
    ) -> Result<Result<Vec<MetricScore>, String>, TaskError> {
        if let Some(function) = self.config.process_results {
            return Ok(function.apply(&document.row, log_likelihood).map(|values| {
                self.values(|metric| {
                    let named = values.iter().find(|(name, _)| *name == metric.name());
                    named.map(|(_, value)| value.clone())
                })
            }));
        }
        let text = crate::python::display(target);
        let words = crate::python::word_count(&text) as f64;
        let bytes = text.len() as f64;
        let weighted = |weight| Some(MetricValue::Weighted { value: log_likelihood, weight });
        Ok(Ok(self.values(|metric| match metric {
            Metric::WordPerplexity => weighted(words),
            Metric::BytePerplexity | Metric::BitsPerByte => weighted(bytes),
            _ => None,
        })))
    }

    /// The scores of a generated answer.
    fn generated(
        &self,
        document: &Document,
        target: &Value,
        answer: &Value,
    ) -> Result<Result<Vec<MetricScore>, String>, TaskError> {
        let targets: Vec<String> = match (self.choices(document)?, target) {
            (Some(choices), target) => {
                let gold = index(target).and_then(|index| usize::try_from(index).ok());
                match gold.and_then(|gold| choices.get(gold)) {
                    Some(choice) => vec![choice.clone()],
                    None => {
                        let target = crate::python::repr(target);
                        let count = choices.len();
                        return Ok(Err(format!(
                            "the target {target} is no index of {count} choices"
                        )));
                    }
                }
            }
            (None, Value::Array(items)) if self.multiple_targets => {
                items.iter().map(crate::python::display).collect()
            }
            // Where other documents have a list, the harness takes one text apart.
            (None, Value::String(text)) if self.multiple_targets => {
                text.chars().map(String::from).collect()
            }
            (None, target) => vec![crate::python::display(target)],
        };
        let answers: Vec<String> = match answer {
            Value::Array(items) => items.iter().map(crate::python::display).collect(),
            one => vec![crate::python::display(one)],
        };
        let mean = |score: &dyn Fn(&str) -> f64| {
            answers.iter().map(|answer| score(answer)).sum::<f64>() / answers.len() as f64
        };
        let score = |config: &MetricConfig| match config.metric {
            Metric::ExactMatch => Some(mean(&|answer| {
                f64::from(targets.iter().any(|target| config.exact_match.matches(answer, target)))
            })),
            Metric::NumberMatch => Some(mean(&|answer| {
                let matches = |target: &String| number_match(answer, target, config.tolerance);
                f64::from(targets.iter().any(matches))
            })),
            Metric::SquadEm => {
                Some(mean(&|answer| squad_exact_match(answer, targets.iter().map(String::as_str))))
            }
            Metric::SquadF1 => {
                Some(mean(&|answer| squad_f1(answer, targets.iter().map(String::as_str))))
            }
            _ => None,
        };
        let scored = self.config.metrics.iter().filter_map(|config| {
            let value = MetricValue::Number(score(config)?);
            Some(MetricScore { metric: config.metric.name().into(), value })
        });
        Ok(Ok(scored.collect()))
    }

    /// The scores of a class, or of the one value of a regression.
    fn classified(
        &self,
        choices: Option<Vec<String>>,
        target: &Value,
        logits: &[f64],
    ) -> Result<Vec<MetricScore>, String> {
        if logits.is_empty() {
            return Err("the model gave no logits".into());
        }
        let named = target.as_str().and_then(|name| {
            choices.as_ref()?.iter().position(|choice| choice == name).map(|place| place as i64)
        });
        let gold = index(target).or(named);
        let predicted = argmax(logits) as i64;
        let value = target.as_f64();
        let regression = logits.len() == 1;
        let needs_label = self
            .config
            .metrics
            .iter()
            .any(|config| matches!(config.metric, Metric::Acc | Metric::F1 | Metric::Mcc));
        if needs_label && regression {
            return Err("the model gives one value, not a logit for each class".into());
        }
        if needs_label && gold.is_none_or(|gold| gold < 0 || gold as usize >= logits.len()) {
            let target = crate::python::repr(target);
            return Err(format!("the target {target} is none of the {} classes", logits.len()));
        }
        Ok(self.values(|metric| match metric {
            Metric::Acc => Some(MetricValue::Number(f64::from(gold? == predicted))),
            Metric::F1 | Metric::Mcc => Some(MetricValue::Labels { gold: gold?, predicted }),
            Metric::Pearson | Metric::Spearman => {
                let prediction = if regression { logits[0] } else { predicted as f64 };
                Some(MetricValue::Values { target: value?, prediction })
            }
            _ => None,
        }))
    }
}

/// Of a document of `multiple_choice`.
struct ChoiceScores<'a> {
    choices: &'a [String],
    conditional: Vec<f64>,
    unconditional: Option<Vec<f64>>,
    greedy: Vec<bool>,
    /// Right choices; −100 stands for one that is not there.
    gold: Vec<i64>,
}

impl<'a> ChoiceScores<'a> {
    fn new(choices: &'a [String], pairs: &[(f64, bool)], gold: &Value) -> Result<Self, String> {
        let count = choices.len();
        if pairs.len() != count && pairs.len() != 2 * count {
            return Err(format!("{} answers for {count} choices", pairs.len()));
        }
        let values: Vec<f64> = pairs.iter().map(|(value, _)| *value).collect();
        let place = |value: &Value| {
            let named = value.as_str().and_then(|name| choices.iter().position(|c| c == name));
            let place = index(value).or(named.map(|place| place as i64));
            place.filter(|place| (0..count as i64).contains(place)).unwrap_or(-100)
        };
        let gold = match gold {
            Value::Array(items) => items.iter().map(place).collect(),
            one => vec![place(one)],
        };
        Ok(Self {
            choices,
            unconditional: values.get(count..).filter(|rest| !rest.is_empty()).map(<[f64]>::to_vec),
            conditional: values[..count].to_vec(),
            greedy: pairs.iter().map(|(_, greedy)| *greedy).collect(),
            gold,
        })
    }

    fn has_gold(&self) -> bool {
        self.gold.iter().all(|gold| *gold >= 0)
    }

    fn value(&self, metric: Metric) -> Option<MetricValue> {
        let divided = |length: fn(&str) -> usize| -> Vec<f64> {
            let lengths = self.choices.iter().map(|choice| length(choice) as f64);
            self.conditional.iter().zip(lengths).map(|(value, length)| value / length).collect()
        };
        let right = |values: &[f64]| {
            let chosen = argmax(values) as i64;
            Some(MetricValue::Number(f64::from(self.gold.contains(&chosen))))
        };
        let gold = self.gold.first().copied().unwrap_or(-100);
        match metric {
            Metric::Acc => right(&self.conditional),
            Metric::AccNorm => right(&divided(|choice| choice.chars().count())),
            Metric::AccBytes => right(&divided(str::len)),
            Metric::AccMutualInfo => {
                let rest = self.unconditional.as_ref()?;
                let gained: Vec<f64> = self
                    .conditional
                    .iter()
                    .zip(rest)
                    .map(|(with, without)| with - without)
                    .collect();
                right(&gained)
            }
            Metric::ExactMatch => {
                let greedy = self.gold.iter().any(|gold| {
                    usize::try_from(*gold).is_ok_and(|gold| self.greedy.get(gold) == Some(&true))
                });
                Some(MetricValue::Number(f64::from(greedy)))
            }
            Metric::F1 | Metric::Mcc => {
                Some(MetricValue::Labels { gold, predicted: argmax(&self.conditional) as i64 })
            }
            Metric::BrierScore => {
                Some(MetricValue::Probabilities { gold, probabilities: softmax(&self.conditional) })
            }
            _ => None,
        }
    }
}

/// The first largest value; a NaN counts as the largest, as in NumPy.
fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if values[best].is_nan() {
            break;
        }
        if *value > values[best] || value.is_nan() {
            best = place;
        }
    }
    best
}

fn softmax(values: &[f64]) -> Vec<f64> {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = values.iter().map(|value| (value - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

fn generated(repeats: &[Response]) -> Result<Vec<String>, String> {
    let text = |response: &Response| match response {
        Response::Generated(text) => Ok(text.clone()),
        other => Err(unfit(other)),
    };
    repeats.iter().map(text).collect()
}

fn first_of_each(responses: &[Vec<Response>]) -> Result<Vec<(f64, bool)>, String> {
    let pair = |repeats: &Vec<Response>| match &repeats[0] {
        Response::LogLikelihood { log_likelihood, is_greedy } => Ok((*log_likelihood, *is_greedy)),
        other => Err(unfit(other)),
    };
    responses.iter().map(pair).collect()
}

fn unfit(response: &Response) -> String {
    let kind = match response {
        Response::LogLikelihood { .. } => "a log-likelihood",
        Response::LogLikelihoodRolling { .. } => "a rolling log-likelihood",
        Response::Generated(_) => "a text",
        Response::Logits(_) => "logits",
    };
    format!("{kind} is no answer to the request")
}
