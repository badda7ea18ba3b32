use crate::TaskError;
use crate::config::filter::patterns;
use crate::metric::{Aggregation, ExactMatch, Metric};
use crate::yaml::{Fields, Node, NodeKind, hint};

/// A metric of a task, an entry of `metric_list`.
#[derive(Debug, Clone)]
pub struct MetricConfig {
    /// What is measured of a document.
    pub metric: Metric,
    /// How texts are compared, where the metric compares texts.
    pub exact_match: ExactMatch,
    /// How far two numbers may differ, where the metric compares numbers.
    pub tolerance: f64,
    /// How the values of all documents become one.
    pub aggregation: Aggregation,
    /// Whether a larger value is a better one.
    pub higher_is_better: bool,
}

impl MetricConfig {
    /// A metric with its usual aggregation.
    pub fn usual(metric: Metric) -> Self {
        Self {
            metric,
            exact_match: ExactMatch::default(),
            tolerance: 0.001,
            aggregation: metric.usual_aggregation(),
            higher_is_better: metric.usually_higher_is_better(),
        }
    }

    pub(super) fn list(node: &Node, key: &str) -> Result<Vec<Self>, TaskError> {
        node.items(key)?.iter().map(|entry| Self::read(entry, key)).collect()
    }

    fn read(node: &Node, key: &str) -> Result<Self, TaskError> {
        let mut fields = Fields::of(node, key)?;
        let name = fields.need("metric", "it names what is measured")?;
        let metric = named(&name, "metric_list.metric", Metric::named, &Metric::names())?;
        let mut config = Self::usual(metric);
        if let Some(aggregation) = fields.take("aggregation") {
            let key = "metric_list.aggregation";
            config.aggregation =
                named(&aggregation, key, Aggregation::named, &Aggregation::names())?;
        }
        if let Some(higher) = fields.take_with("higher_is_better", Node::boolean)? {
            config.higher_is_better = higher;
        }
        // The metrics of Hugging Face's evaluate that have a counterpart here are the same.
        fields.take("hf_evaluate");
        // It belongs to groups; the harness's own files have it here too.
        fields.take("weight_by_size");
        if metric == Metric::NumberMatch
            && let Some(tolerance) = fields.take_with("tolerance", Node::number)?
        {
            config.tolerance = tolerance;
        }
        if metric == Metric::ExactMatch {
            let flag = |fields: &mut Fields, key| -> Result<bool, TaskError> {
                Ok(fields.take_with(key, Node::boolean)?.unwrap_or(false))
            };
            config.exact_match = ExactMatch {
                ignore_case: flag(&mut fields, "ignore_case")?,
                ignore_punctuation: flag(&mut fields, "ignore_punctuation")?,
                ignore_numbers: flag(&mut fields, "ignore_numbers")?,
                regexes_to_ignore: fields
                    .take_with("regexes_to_ignore", patterns)?
                    .unwrap_or_default(),
            };
        }
        fields.finish()?;
        Ok(config)
    }
}

fn named<T>(
    node: &Node,
    key: &str,
    find: impl Fn(&str) -> Option<T>,
    known: &[&str],
) -> Result<T, TaskError> {
    if let NodeKind::Function(name) = &node.kind {
        return Err(crate::preprocess::unknown(&node.place, key, name));
    }
    let name = node.text(key)?;
    find(&name).ok_or_else(|| node.wrong(key, &format!("a known name{}", hint(&name, known))))
}
