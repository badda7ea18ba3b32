use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use burn::tensor::Device;

use super::cost::measure_cost;
use super::routing::measure_routing;
use super::solve::{Solved, describe, has_rank, solve_ranks};
use super::store::Store;
use super::{
    BaseResult, MethodCost, MethodResults, RunMeasures, RunRecord, SearchPoint, StudyConfig,
    StudyResults,
};
use crate::demo::experiment::{SharedObserver, base, tune_watched};
use crate::demo::jobs::run_jobs;
use crate::demo::{Base, DemoConfig, DemoMethod, DemoObserver, EvaluationSets, Half, measure};
use crate::report::Setting;
use crate::train::TrainError;

/// How a study is run.
pub struct StudyOptions<'a> {
    /// Receives everything; a study that was interrupted goes on where it was.
    pub folder: &'a Path,
    /// Where it computes.
    pub device: &'a Device,
    /// How many runs go on at once.
    pub workers: usize,
    /// The command that repeats it, for the report.
    pub command: String,
}

/// Runs a study, or what is missing of it, and returns everything that was measured.
///
/// # Errors
///
/// [`TrainError`] when the configuration cannot work, or the folder holds another study. What was
/// measured before stays.
pub fn run_study<'a>(
    config: &'a StudyConfig,
    options: &'a StudyOptions<'a>,
    observer: &'a mut dyn DemoObserver,
) -> Result<StudyResults, TrainError> {
    config.check()?;
    let store = Store::open(options.folder, config)?;
    let mut bases = Vec::with_capacity(config.seeds.len());
    for seed in &config.seeds {
        let demo = of_seed(&config.demo, *seed);
        let base = base(&demo, &store.cache(), options.device, observer)?;
        bases.push((demo, base));
    }
    let Some((_, first)) = bases.first() else {
        return Err(TrainError::value("seeds", "[]", "at least one"));
    };
    let solved = solve_ranks(config, &first.model)?;
    let observer = Mutex::new(observer);
    let study = Study { config, options, store, bases, observer };

    let methods = study.search(&solved)?;
    let base = study.base_results()?;
    let runs = study.runs(&methods)?;
    let costs = study.costs(&methods)?;
    Ok(StudyResults {
        command: options.command.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        settings: study.settings(),
        baseline: config.baseline.clone(),
        seeds: config.seeds.clone(),
        samples: {
            let mut samples = config.samples.clone();
            samples.sort_unstable();
            samples
        },
        methods: methods
            .into_iter()
            .zip(costs)
            .map(|(found, cost)| MethodResults {
                name: found.method.name.clone(),
                description: describe(&found.method.adapter),
                rank: has_rank(&found.method.adapter).then_some(found.method.adapter.r),
                trainable_parameters: found.trainable_parameters,
                learning_rate: found.method.learning_rate,
                search: found.search,
                cost,
            })
            .collect(),
        base,
        runs,
    })
}

/// A method with its rank and its learning rate.
struct Found {
    method: DemoMethod,
    trainable_parameters: usize,
    search: Vec<SearchPoint>,
}

struct Study<'a> {
    config: &'a StudyConfig,
    options: &'a StudyOptions<'a>,
    store: Store,
    /// The settings and the base model of each seed.
    bases: Vec<(DemoConfig, Base)>,
    observer: SharedObserver<'a>,
}

/// A run to be made or read.
struct Job<'a> {
    seed: usize,
    amount: usize,
    method: &'a DemoMethod,
}

impl Study<'_> {
    /// The learning rate of every method: the one given, or the best of the grid by the mean of
    /// tasks learned and knowledge kept on the validation half.
    fn search(&self, solved: &[Solved]) -> Result<Vec<Found>, TrainError> {
        let grid = &self.config.learning_rates;
        let amount = self.config.search_samples;
        let jobs: Vec<DemoMethod> = solved
            .iter()
            .filter(|solved| solved.method.learning_rate.is_none())
            .flat_map(|solved| grid.iter().map(|rate| demo_method(solved, *rate)))
            .collect();
        let inputs = self.config.demo.inputs_per_task;
        let points = run_jobs(&self.bases, &jobs, self.options.workers, |_| amount, {
            |bases: &Vec<(DemoConfig, Base)>, method: &DemoMethod| {
                let name = format!("{}-lr{}", method.name, method.learning_rate);
                if let Some(point) = self.store.get::<SearchPoint>("search", &name)? {
                    return Ok(point);
                }
                let (demo, base) = &bases[0];
                let run =
                    format!("search: {}, learning rate {}", method.name, method.learning_rate);
                let tuned = tune_watched(&self.observer, &run, demo, base, method, amount);
                let mut point = SearchPoint {
                    learning_rate: method.learning_rate,
                    tasks: 0.0,
                    knowledge: 0.0,
                    diverged: true,
                };
                if let Ok(tuned) = unless_diverged(tuned)? {
                    let sets = EvaluationSets::new(&base.world, inputs, Half::Validation);
                    let measured = measure(&tuned.model, &base.tokenizer, &sets)?;
                    point.tasks = measured.tasks;
                    point.knowledge = measured.knowledge;
                    point.diverged = false;
                }
                self.store.put("search", &name, &point)?;
                Ok(point)
            }
        })?;
        let mut points = points.into_iter();
        Ok(solved
            .iter()
            .map(|solved| {
                let search: Vec<_> = match solved.method.learning_rate {
                    Some(_) => Vec::new(),
                    None => points.by_ref().take(grid.len()).collect(),
                };
                let score = |point: &&SearchPoint| point.tasks + point.knowledge;
                let best = search
                    .iter()
                    .filter(|point| !point.diverged)
                    .max_by(|a, b| score(a).total_cmp(&score(b)));
                // Where every rate diverged the smallest is kept, and its runs show it.
                let smallest = grid.iter().copied().fold(f64::INFINITY, f64::min);
                let rate = solved
                    .method
                    .learning_rate
                    .unwrap_or_else(|| best.map_or(smallest, |point| point.learning_rate));
                Found {
                    method: demo_method(solved, rate),
                    trainable_parameters: solved.trainable_parameters,
                    search,
                }
            })
            .collect())
    }

    fn base_results(&self) -> Result<Vec<BaseResult>, TrainError> {
        let inputs = self.config.demo.inputs_per_task;
        self.bases
            .iter()
            .map(|(demo, base)| {
                let name = format!("base-seed{}", demo.seed);
                if let Some(result) = self.store.get("runs", &name)? {
                    return Ok(result);
                }
                let sets = EvaluationSets::new(&base.world, inputs, Half::Test);
                let measured = measure(&base.model, &base.tokenizer, &sets)?;
                let result = BaseResult {
                    seed: demo.seed,
                    knowledge: measured.knowledge,
                    tasks: measured.tasks,
                    text_loss: measured.text_loss,
                };
                self.store.put("runs", &name, &result)?;
                Ok(result)
            })
            .collect()
    }

    fn runs(&self, methods: &[Found]) -> Result<Vec<RunRecord>, TrainError> {
        let mut jobs = Vec::new();
        for amount in &self.config.samples {
            for found in methods {
                for seed in 0..self.bases.len() {
                    jobs.push(Job { seed, amount: *amount, method: &found.method });
                }
            }
        }
        let size = |job: &Job<'_>| job.amount;
        run_jobs(&self.bases, &jobs, self.options.workers, size, |bases, job| {
            let (demo, base) = &bases[job.seed];
            self.run(demo, base, job)
        })
    }

    fn run(&self, demo: &DemoConfig, base: &Base, job: &Job<'_>) -> Result<RunRecord, TrainError> {
        let (method, amount) = (job.method, job.amount);
        let name = format!("{}-seed{}-{amount}", method.name, demo.seed);
        if let Some(record) = self.store.get("runs", &name)? {
            return Ok(record);
        }
        let started = Instant::now();
        let run = format!("{}, seed {}, {amount} samples", method.name, demo.seed);
        let tuned = tune_watched(&self.observer, &run, demo, base, method, amount);
        let mut record = RunRecord {
            method: method.name.clone(),
            seed: demo.seed,
            samples: amount,
            learning_rate: method.learning_rate,
            diverged_at: None,
            measured: None,
            curve: Vec::new(),
            seconds: 0.0,
        };
        match unless_diverged(tuned)? {
            Err(step) => record.diverged_at = Some(step),
            Ok(tuned) => {
                let sets =
                    EvaluationSets::new(&base.world, self.config.demo.inputs_per_task, Half::Test);
                let measured = measure(&tuned.model, &base.tokenizer, &sets)?;
                let routing = match method.adapter.is_mixture() {
                    true => Some(measure_routing(base, &tuned.model, &sets)?),
                    false => None,
                };
                record.measured = Some(RunMeasures {
                    knowledge: measured.knowledge,
                    tasks: measured.tasks,
                    text_loss: measured.text_loss,
                    routing,
                });
                record.curve = tuned.curve;
            }
        }
        record.seconds = started.elapsed().as_secs_f64();
        self.store.put("runs", &name, &record)?;
        Ok(record)
    }

    /// One method at a time, so that they do not share the processor.
    fn costs(&self, methods: &[Found]) -> Result<Vec<Option<MethodCost>>, TrainError> {
        let Some((demo, base)) = self.bases.first().filter(|_| self.config.cost) else {
            return Ok(vec![None; methods.len()]);
        };
        methods
            .iter()
            .map(|found| {
                let name = &found.method.name;
                if let Some(cost) = self.store.get("cost", name)? {
                    return Ok(Some(cost));
                }
                let cost = measure_cost(demo, base, &found.method)?;
                self.store.put("cost", name, &cost)?;
                Ok(Some(cost))
            })
            .collect()
    }

    fn settings(&self) -> Vec<Setting> {
        let demo = &self.config.demo;
        let rates: Vec<_> = self.config.learning_rates.iter().map(f64::to_string).collect();
        vec![
            Setting::new("seeds", format!("{:?}", self.config.seeds)),
            Setting::new(
                "model",
                format!(
                    "hidden {}, feed-forward {}, {} layers, {} heads",
                    demo.hidden_size,
                    demo.intermediate_size,
                    demo.num_hidden_layers,
                    demo.num_attention_heads
                ),
            ),
            Setting::new(
                "pre-training",
                format!(
                    "{} steps of {} sentences, learning rate {}",
                    demo.pretraining_steps,
                    demo.pretraining_batch_size,
                    demo.pretraining_learning_rate
                ),
            ),
            Setting::new(
                "tuning",
                format!(
                    "{} samples a step, each seen once, {:.0} % warm-up, cosine",
                    demo.batch_size,
                    100.0 * demo.warmup_ratio
                ),
            ),
            Setting::new(
                "learning-rate search",
                format!(
                    "{} on {} samples of seed {}, on the validation half",
                    rates.join(", "),
                    self.config.search_samples,
                    self.config.seeds.first().copied().unwrap_or_default()
                ),
            ),
            Setting::new("equal in trainable parameters to", &self.config.baseline),
            Setting::new("version", env!("CARGO_PKG_VERSION")),
        ]
    }
}

fn of_seed(demo: &DemoConfig, seed: u64) -> DemoConfig {
    let mut demo = DemoConfig { seed, samples: Vec::new(), methods: Vec::new(), ..demo.clone() };
    demo.world.seed = seed;
    demo
}

fn demo_method(solved: &Solved, learning_rate: f64) -> DemoMethod {
    DemoMethod {
        name: solved.method.name.clone(),
        adapter: solved.method.adapter.clone(),
        learning_rate,
    }
}

/// A run that diverged is a result: the step at which it did.
fn unless_diverged<T>(result: Result<T, TrainError>) -> Result<Result<T, usize>, TrainError> {
    match result {
        Ok(tuned) => Ok(Ok(tuned)),
        Err(TrainError::Diverged { step, .. }) => Ok(Err(step)),
        Err(other) => Err(other),
    }
}
