use serde::{Deserialize, Serialize};

use super::{Estimate, StudyResults};
use crate::level::{common_level, knowledge_at};
use crate::{BASE, ResultRow};

/// What the methods keep at a level of learning that all of them reach in every seed.
///
/// Methods that learn less also forget less, so knowledge is read off each run's curve over the
/// amounts of data, which starts at the base model of its seed and is straight between amounts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EqualLearning {
    /// The share of the tasks learned.
    pub level: f64,
    /// The method that learns least, which sets the level.
    pub set_by: String,
    /// By method, most knowledge first.
    pub kept: Vec<KeptKnowledge>,
}

/// The knowledge that a method keeps at a level of learning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptKnowledge {
    /// The method.
    pub method: String,
    /// The share of the knowledge kept.
    pub estimate: Estimate,
    /// The difference from the baseline by seed; absent for the baseline itself.
    pub difference: Option<Estimate>,
}

impl EqualLearning {
    /// The comparison at the highest round level; `None` where the methods share none above the
    /// base models. Methods of which no run can be used are left out.
    pub fn of(results: &StudyResults) -> Option<Self> {
        let curves: Vec<_> = results
            .methods
            .iter()
            .flat_map(|method| results.seeds.iter().map(move |seed| (method.name.as_str(), *seed)))
            .map(|(method, seed)| (method, seed, curve(results, method, seed)))
            .filter(|(_, _, curve)| curve.iter().any(|row| row.method != BASE))
            .collect();
        let reached = |curve: &[ResultRow]| {
            let tuned = curve.iter().filter(|row| row.method != BASE);
            tuned.map(|row| row.tasks).fold(f64::NAN, f64::max)
        };
        let (set_by, _, _) =
            curves.iter().min_by(|a, b| reached(&a.2).total_cmp(&reached(&b.2)))?;
        let start = results.base.iter().map(|base| base.tasks).fold(0.0, f64::max);
        let level = common_level(curves.iter().map(|(_, _, curve)| reached(curve)), start)?;

        let values = |name: &str| -> Vec<(u64, f64)> {
            let own = curves.iter().filter(|(method, _, _)| *method == name);
            own.filter_map(|(_, seed, curve)| {
                Some((*seed, knowledge_at(&curve.iter().collect::<Vec<_>>(), level)?))
            })
            .collect()
        };
        let baseline = values(&results.baseline);
        let mut kept: Vec<_> = results
            .methods
            .iter()
            .filter_map(|method| {
                let own = values(&method.name);
                let pairs = own.iter().filter_map(|(seed, value)| {
                    let (_, other) = baseline.iter().find(|(other, _)| other == seed)?;
                    Some(value - other)
                });
                let compared = method.name != results.baseline;
                Some(KeptKnowledge {
                    method: method.name.clone(),
                    difference: if compared { Estimate::of(pairs) } else { None },
                    estimate: Estimate::of(own.iter().map(|(_, value)| *value))?,
                })
            })
            .collect();
        kept.sort_by(|a, b| b.estimate.mean.total_cmp(&a.estimate.mean));
        Some(Self { level, set_by: (*set_by).to_owned(), kept })
    }
}

/// The base model of a seed and a method's measured runs on it by growing amount of data.
fn curve(results: &StudyResults, method: &str, seed: u64) -> Vec<ResultRow> {
    let row = |method: &str, samples: usize, tasks: f64, knowledge: f64| ResultRow {
        method: method.to_owned(),
        samples,
        trainable_parameters: 0,
        knowledge,
        tasks,
        text_loss: f64::NAN,
        seconds: f64::NAN,
    };
    let base = results.base.iter().find(|base| base.seed == seed);
    let runs = results.runs.iter().filter(|run| run.method == method && run.seed == seed);
    let measured = runs.filter_map(|run| Some((run.samples, run.counted()?)));
    let mut rows: Vec<_> = base
        .map(|base| row(BASE, 0, base.tasks, base.knowledge))
        .into_iter()
        .chain(measured.map(|(n, run)| row(method, n, run.tasks, run.knowledge)))
        .filter(|row| row.tasks.is_finite() && row.knowledge.is_finite())
        .collect();
    rows.sort_by_key(|row| row.samples);
    rows
}
