use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use burn::tensor::Device;
use model_zoo::{Decoder, GenerationError};

use super::cost::measure_cost;
use super::ground::{DataGround, Ground, WorldGround};
use super::routing::measure_routing;
use super::solve::{EQUALITY, Solved, describe, equality, has_rank, solve_ranks};
use super::store::{BURN_VERSION, Store};
use super::{
    BaseResult, Divergence, GroundConfig, MethodCost, MethodResults, RunMeasures, RunRecord,
    SearchPoint, StudyConfig, StudyResults,
};
use crate::Setting;
use crate::StudyError;
use crate::demo::experiment::{SharedObserver, watched};
use crate::demo::jobs::run_jobs;
use crate::demo::{DemoMethod, DemoObserver, Half};
use evaluation::EvaluationError;
use finetune::train::TrainError;

/// The folder of what the search tuned, measured for the report.
const SEARCH_RUNS: &str = "search-runs";

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
/// [`StudyError`] when the configuration cannot work, or the folder holds another study. What was
/// measured before stays.
pub fn run_study<'a>(
    config: &'a StudyConfig,
    options: &'a StudyOptions<'a>,
    observer: &'a mut dyn DemoObserver,
) -> Result<StudyResults, StudyError> {
    config.check()?;
    let store = Store::open(options.folder, config)?;
    let (cache, device) = (store.cache(), options.device);
    match &config.ground {
        GroundConfig::World(demo) => {
            let ground = WorldGround::new(demo, &config.seeds, &cache, device, observer)?;
            study(config, options, store, ground, observer)
        }
        GroundConfig::Data(data) => {
            let StudyConfig { seeds, methods, .. } = config;
            let searched = config.searched();
            let ground = DataGround::new(data, seeds, methods, searched, &cache, device)?;
            study(config, options, store, ground, observer)
        }
    }
}

fn study<'a, G: Ground>(
    config: &'a StudyConfig,
    options: &'a StudyOptions<'a>,
    store: Store,
    ground: G,
    observer: &'a mut dyn DemoObserver,
) -> Result<StudyResults, StudyError> {
    store.rests_on(&ground.fingerprint())?;
    let samples = amounts(config, ground.most_samples())?;
    let search_samples = match config.search_samples {
        Some(amount) => within("search_samples", amount, ground.most_samples())?,
        None => samples.iter().copied().max().unwrap_or(1),
    };
    let solved = solve_ranks(config, ground.model(0))?;
    let equality = equality(&solved, &config.baseline);
    observer.on_note(&equality);
    let observer = Mutex::new(observer);
    let study = Study { config, options, store, ground, samples, search_samples, observer };

    let base = study.base_results()?;
    let methods = study.search(&solved, &base)?;
    let runs = study.runs(&methods, &base)?;
    let costs = study.costs(&methods)?;
    Ok(StudyResults {
        command: options.command.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        settings: study.settings(equality),
        about: study.ground.about(),
        baseline: config.baseline.clone(),
        seeds: config.seeds.clone(),
        samples: study.samples,
        methods: methods
            .into_iter()
            .zip(costs)
            .map(|(found, cost)| MethodResults {
                name: found.method.name.clone(),
                description: describe(&found.method.adapter),
                rank: has_rank(&found.method.adapter).then_some(found.method.adapter.r),
                trainable_parameters: found.trainable_parameters,
                equal_parameters: found.equal_parameters,
                learning_rate: found.method.learning_rate,
                search: found.search,
                cost,
            })
            .collect(),
        base,
        runs,
    })
}

/// The amounts of data, ascending.
fn amounts(config: &StudyConfig, most: Option<usize>) -> Result<Vec<usize>, StudyError> {
    let mut samples = config.samples.clone();
    if samples.is_empty() {
        samples.extend(most);
    }
    for amount in &samples {
        within("samples", *amount, most)?;
    }
    samples.sort_unstable();
    Ok(samples)
}

fn within(key: &str, amount: usize, most: Option<usize>) -> Result<usize, StudyError> {
    match most.filter(|most| amount > *most) {
        Some(most) => Err(StudyError::value(
            key,
            amount,
            format!("at most {most}, the samples of `data.train` that are not held out"),
        )),
        None => Ok(amount),
    }
}

/// A method with its rank and its learning rate.
struct Found {
    method: DemoMethod,
    trainable_parameters: usize,
    equal_parameters: bool,
    search: Vec<SearchPoint>,
}

struct Study<'a, G> {
    config: &'a StudyConfig,
    options: &'a StudyOptions<'a>,
    store: Store,
    ground: G,
    /// Ascending.
    samples: Vec<usize>,
    search_samples: usize,
    observer: SharedObserver<'a>,
}

/// A run to be made or read; the seed by its index.
struct Job<'a> {
    seed: usize,
    amount: usize,
    method: &'a DemoMethod,
}

/// What came of a tuning.
struct Outcome {
    /// Or the step at which the loss became no number.
    model: Result<Decoder, usize>,
    curve: Vec<(f64, f64)>,
    seconds: f64,
}

impl<G: Ground> Study<'_, G> {
    /// The learning rate of every method: the one given, or the best of the grid by the mean of
    /// tasks learned and knowledge kept on the validation half.
    fn search(&self, solved: &[Solved], test: &[BaseResult]) -> Result<Vec<Found>, StudyError> {
        let grid = &self.config.learning_rates;
        let jobs: Vec<DemoMethod> = solved
            .iter()
            .filter(|solved| solved.method.learning_rate.is_none())
            .flat_map(|solved| grid.iter().map(|rate| demo_method(solved, *rate)))
            .collect();
        let base = match jobs.is_empty() {
            true => None,
            false => Some(self.base_result(0, Half::Validation, "search", "base")?),
        };
        let points = run_jobs(
            &self.ground,
            &jobs,
            self.threads(),
            |_| 0,
            |ground, method| {
                let name = search_name(method);
                if let Some(point) = self.store.get::<SearchPoint>("search", &name)? {
                    return Ok(point);
                }
                let run =
                    format!("search: {}, learning rate {}", method.name, method.learning_rate);
                let job = Job { seed: 0, amount: self.search_samples, method };
                let outcome = self.outcome(ground, &run, &job)?;
                let (measured, diverged) =
                    self.judged(ground, &outcome, 0, base.as_ref(), Half::Validation)?;
                if self.samples.contains(&self.search_samples) {
                    // Should this rate be chosen, then the run is made already.
                    let record = self.record(ground, &job, outcome, test.first())?;
                    self.store.put(SEARCH_RUNS, &name, &record)?;
                }
                let measured = measured.filter(|_| diverged.is_none());
                let point = SearchPoint {
                    learning_rate: method.learning_rate,
                    tasks: measured.as_ref().map_or(0.0, |measured| measured.tasks),
                    knowledge: measured.as_ref().map_or(0.0, |measured| measured.knowledge),
                    diverged: diverged.is_some(),
                };
                self.store.put("search", &name, &point)?;
                Ok(point)
            },
        )?;
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
                    // Of equals, the last would be chosen: let that be the first of the grid.
                    .rev()
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
                    equal_parameters: solved.equalised,
                    search,
                }
            })
            .collect())
    }

    fn base_results(&self) -> Result<Vec<BaseResult>, StudyError> {
        let seeds = &self.config.seeds;
        let result = |seed: usize| {
            let name = format!("base-seed{}", seeds[seed]);
            self.base_result(seed, Half::Test, "runs", &name)
        };
        if self.ground.one_model() {
            let first = result(0)?;
            return Ok(seeds.iter().map(|seed| BaseResult { seed: *seed, ..first }).collect());
        }
        (0..seeds.len()).map(result).collect()
    }

    fn base_result(
        &self,
        seed: usize,
        half: Half,
        kind: &str,
        name: &str,
    ) -> Result<BaseResult, StudyError> {
        if let Some(result) = self.store.get(kind, name)? {
            return Ok(result);
        }
        let measured = self.ground.measure(seed, self.ground.model(seed), half)?;
        let RunMeasures { knowledge, tasks, text_loss, knowledge_loss, task_loss, .. } = measured;
        let seed = self.config.seeds[seed];
        let result = BaseResult { seed, knowledge, tasks, text_loss, knowledge_loss, task_loss };
        self.store.put(kind, name, &result)?;
        Ok(result)
    }

    fn runs(&self, methods: &[Found], base: &[BaseResult]) -> Result<Vec<RunRecord>, StudyError> {
        let mut jobs = Vec::new();
        for amount in &self.samples {
            for found in methods {
                for seed in 0..self.config.seeds.len() {
                    jobs.push(Job { seed, amount: *amount, method: &found.method });
                }
            }
        }
        let size = |job: &Job<'_>| job.amount;
        run_jobs(&self.ground, &jobs, self.threads(), size, |ground, job| {
            self.run(ground, job, base.get(job.seed))
        })
    }

    fn run(
        &self,
        ground: &G,
        job: &Job<'_>,
        base: Option<&BaseResult>,
    ) -> Result<RunRecord, StudyError> {
        let (method, samples, seed) = (job.method, job.amount, self.config.seeds[job.seed]);
        let name = format!("{}-seed{seed}-{samples}", method.name);
        if let Some(record) = self.store.get("runs", &name)? {
            return Ok(record);
        }
        let made = match job.seed == 0 && samples == self.search_samples {
            true => self.store.get::<RunRecord>(SEARCH_RUNS, &search_name(method))?,
            false => None,
        };
        let record = match made {
            Some(record) => record,
            None => {
                let run = format!("{}, seed {seed}, {samples} samples", method.name);
                let outcome = self.outcome(ground, &run, job)?;
                self.record(ground, job, outcome, base)?
            }
        };
        self.store.put("runs", &name, &record)?;
        Ok(record)
    }

    /// Tunes. That the loss became no number is a result.
    fn outcome(&self, ground: &G, run: &str, job: &Job<'_>) -> Result<Outcome, StudyError> {
        let started = Instant::now();
        let mut curve = Vec::new();
        let tuned = watched(&self.observer, run, ground.steps(job.amount), |on_step| {
            ground.tune(job.seed, job.method, job.amount, &mut |step, loss| {
                curve.push((step as f64, loss));
                on_step(step, loss);
            })
        });
        let model = match tuned {
            Ok(model) => Ok(model),
            Err(StudyError::Train(TrainError::Diverged { step, .. })) => {
                curve.push((step as f64, f64::NAN));
                Err(step)
            }
            Err(other) => return Err(other),
        };
        Ok(Outcome { model, curve, seconds: started.elapsed().as_secs_f64() })
    }

    /// Measures a tuned model, and says whether the run diverged.
    fn judged(
        &self,
        ground: &G,
        outcome: &Outcome,
        seed: usize,
        base: Option<&BaseResult>,
        half: Half,
    ) -> Result<(Option<RunMeasures>, Option<Divergence>), StudyError> {
        let model = match &outcome.model {
            Ok(model) => model,
            Err(step) => return Ok((None, Some(Divergence::Loss { step: *step }))),
        };
        let measured = match ground.measure(seed, model, half) {
            Err(StudyError::Evaluation(EvaluationError::Generation(
                GenerationError::NotFinite { .. },
            ))) => RunMeasures {
                knowledge: f64::NAN,
                tasks: f64::NAN,
                text_loss: f64::NAN,
                ..RunMeasures::default()
            },
            measured => measured?,
        };
        let threshold = self.config.divergence_threshold;
        let diverged = base.and_then(|base| Divergence::ruined(&measured, base, threshold));
        Ok((Some(measured), diverged))
    }

    /// Measures a tuned model for the report.
    fn record(
        &self,
        ground: &G,
        job: &Job<'_>,
        outcome: Outcome,
        base: Option<&BaseResult>,
    ) -> Result<RunRecord, StudyError> {
        let method = job.method;
        let (mut measured, diverged) = self.judged(ground, &outcome, job.seed, base, Half::Test)?;
        if let (Some(measured), Ok(model)) = (&mut measured, &outcome.model)
            && method.adapter.is_mixture()
            && diverged.is_none()
        {
            measured.routing = Some(measure_routing(model, &ground.kinds(job.seed)?)?);
        }
        Ok(RunRecord {
            method: method.name.clone(),
            seed: self.config.seeds[job.seed],
            samples: job.amount,
            learning_rate: method.learning_rate,
            diverged,
            measured,
            curve: outcome.curve,
            seconds: outcome.seconds,
        })
    }

    /// One method at a time, so that they do not share the processor.
    fn costs(&self, methods: &[Found]) -> Result<Vec<Option<MethodCost>>, StudyError> {
        if !self.config.cost {
            return Ok(vec![None; methods.len()]);
        }
        let (model, shape) = (self.ground.model(0), self.ground.cost_shape());
        let seed = self.config.seeds[0];
        methods
            .iter()
            .map(|found| {
                let name = &found.method.name;
                if let Some(cost) = self.store.get("cost", name)? {
                    return Ok(Some(cost));
                }
                let cost = measure_cost(model, &found.method, shape, seed)?;
                self.store.put("cost", name, &cost)?;
                Ok(Some(cost))
            })
            .collect()
    }

    /// The workers, and the threads of each.
    fn threads(&self) -> (usize, usize) {
        let workers = self.options.workers.max(1);
        (workers, self.ground.threads(workers))
    }

    fn settings(&self, equality: String) -> Vec<Setting> {
        let mut settings = self.ground.settings();
        if self.config.searched() {
            let rates: Vec<_> = self.config.learning_rates.iter().map(f64::to_string).collect();
            let found = format!(
                "{} on {} samples of seed {}, on the validation half",
                rates.join(", "),
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

/// The name of a run of the search.
fn search_name(method: &DemoMethod) -> String {
    format!("{}-lr{}", method.name, method.learning_rate)
}

fn demo_method(solved: &Solved, learning_rate: f64) -> DemoMethod {
    DemoMethod {
        name: solved.method.name.clone(),
        adapter: solved.method.adapter.clone(),
        learning_rate,
    }
}
