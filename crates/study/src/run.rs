mod outcome;
mod search;
mod settings;

use std::path::Path;
use std::sync::Mutex;

use burn::tensor::Device;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoints;
use super::claims::Claims;
use super::cost::measure_cost;
use super::ground::{DataGround, Ground, WorldGround};
use super::solve::{Solved, describe, equality, has_rank, solve_ranks};
use super::store::{Store, claim_name};
use super::{
    BaseResult, GroundConfig, MethodCost, MethodResults, RunMeasures, RunRecord, SearchPoint,
    StudyConfig, StudyPart, StudyResults,
};
use crate::StudyError;
use crate::demo::experiment::SharedObserver;
use crate::demo::jobs::run_jobs;
use crate::demo::{DemoMethod, DemoObserver, Half};

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
    /// Which of the runs are made here.
    pub part: StudyPart,
}

/// Runs a study, or the asked part of what is missing of it, and returns everything that is there,
/// with the names of what is not.
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
    if let StudyPart::Only { number, of } = options.part
        && !(1..=of).contains(&number)
    {
        return Err(StudyError::value("only", format!("{number}/{of}"), "from 1/n to n/n"));
    }
    let store = Store::open(options.folder, config, options.part != StudyPart::All)?;
    let claims = match options.part {
        StudyPart::Claim { lease } => Some(Claims::new(options.folder, lease)?),
        _ => None,
    };
    let (cache, device) = (store.cache(), options.device);
    match &config.ground {
        GroundConfig::World(demo) => {
            // What is pre-trained once is in the cache for all.
            let claim = claims.as_ref().map(|claims| waited(claims, || claims.take("world")));
            let claim = claim.transpose()?;
            let ground = WorldGround::new(demo, &config.seeds, &cache, device, observer)?;
            drop(claim);
            study(config, options, (store, claims), ground, observer)
        }
        GroundConfig::Data(data) => {
            let StudyConfig { seeds, methods, .. } = config;
            let searched = config.searched();
            let ground = DataGround::new(data, seeds, methods, searched, &cache, device)?;
            study(config, options, (store, claims), ground, observer)
        }
    }
}

/// Waits for something that another process works on.
fn waited<T>(
    claims: &Claims,
    mut look: impl FnMut() -> Result<Option<T>, StudyError>,
) -> Result<T, StudyError> {
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        std::thread::sleep(claims.pause());
    }
}

fn study<'a, G: Ground>(
    config: &'a StudyConfig,
    options: &'a StudyOptions<'a>,
    (store, claims): (Store, Option<Claims>),
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
    let study = Study { config, options, store, claims, ground, samples, search_samples, observer };

    let base = study.base_results()?;
    let mut missing = Vec::new();
    let methods = study.search(&solved, &base, &mut missing)?;
    let runs = study.runs(&methods, &base, &mut missing)?;
    let methods: Vec<Found> = methods.into_iter().flatten().collect();
    let costs = study.costs(&methods, &mut missing)?;
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
        base: base.into_iter().flatten().collect(),
        runs,
        missing,
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
    claims: Option<Claims>,
    ground: G,
    /// Ascending.
    samples: Vec<usize>,
    search_samples: usize,
    observer: SharedObserver<'a>,
}

/// A run to be made or read, by its place among all; the seed by its index.
struct Job<'a> {
    at: usize,
    seed: usize,
    amount: usize,
    method: &'a DemoMethod,
}

impl<G: Ground> Study<'_, G> {
    /// What is kept under a name, or else what `work` makes, where it is this process that is to make
    /// it; `at` is its place among all of its kind.
    fn made<T: Serialize + DeserializeOwned>(
        &self,
        (kind, name, at): (&str, &str, usize),
        work: impl FnOnce() -> Result<T, StudyError>,
    ) -> Result<Option<T>, StudyError> {
        if let Some(found) = self.store.get(kind, name)? {
            if self.options.part != StudyPart::Nothing {
                // Of a process that ended just after it had kept the result.
                checkpoints::remove(&self.store.checkpoints(kind, name));
            }
            return Ok(Some(found));
        }
        let mut claim = None;
        match (self.options.part, &self.claims) {
            (StudyPart::Nothing, _) => return Ok(None),
            (StudyPart::Only { number, of }, _) if at % of != number - 1 => return Ok(None),
            (_, Some(claims)) => {
                claim = claims.take(&claim_name(kind, name))?;
                if claim.is_none() {
                    return Ok(None);
                }
                // It may have been done just before.
                if let Some(found) = self.store.get(kind, name)? {
                    return Ok(Some(found));
                }
            }
            _ => {}
        }
        let made = work()?;
        self.store.put(kind, name, &made)?;
        checkpoints::remove(&self.store.checkpoints(kind, name));
        drop(claim);
        Ok(Some(made))
    }

    /// Looks again, where others work on what is missing, until nothing is.
    fn completed<T>(
        &self,
        mut look: impl FnMut() -> Result<Vec<Option<T>>, StudyError>,
    ) -> Result<Vec<Option<T>>, StudyError> {
        match &self.claims {
            None => look(),
            Some(claims) => waited(claims, || {
                let found = look()?;
                Ok(found.iter().all(Option::is_some).then_some(found))
            }),
        }
    }

    fn base_results(&self) -> Result<Vec<Option<BaseResult>>, StudyError> {
        let seeds = &self.config.seeds;
        let result = |seed: usize| {
            let name = format!("base-seed{}", seeds[seed]);
            self.base_result(seed, Half::Test, "runs", &name)
        };
        self.completed(|| {
            if self.ground.one_model() {
                let first = result(0)?;
                let of_seed =
                    |seed: &u64| first.clone().map(|first| BaseResult { seed: *seed, ..first });
                return Ok(seeds.iter().map(of_seed).collect());
            }
            (0..seeds.len()).map(result).collect()
        })
    }

    /// The base model of a seed, which every part of a study needs: all of them may measure it.
    fn base_result(
        &self,
        seed: usize,
        half: Half,
        kind: &str,
        name: &str,
    ) -> Result<Option<BaseResult>, StudyError> {
        let at = match self.options.part {
            StudyPart::Only { number, .. } => number - 1,
            _ => 0,
        };
        self.made((kind, name, at), || {
            let measured = self.ground.measure(seed, self.ground.model(seed), half)?;
            let RunMeasures {
                knowledge, tasks, text_loss, knowledge_loss, task_loss, scores, ..
            } = measured;
            let seed = self.config.seeds[seed];
            Ok(BaseResult { seed, knowledge, tasks, text_loss, knowledge_loss, task_loss, scores })
        })
    }

    fn runs(
        &self,
        methods: &[Option<Found>],
        base: &[Option<BaseResult>],
        missing: &mut Vec<String>,
    ) -> Result<Vec<RunRecord>, StudyError> {
        let mut jobs = Vec::new();
        let mut at = 0;
        for amount in &self.samples {
            for (found, named) in methods.iter().zip(&self.config.methods) {
                for seed in 0..self.config.seeds.len() {
                    match found {
                        Some(Found { method, .. }) => {
                            jobs.push(Job { at, seed, amount: *amount, method });
                        }
                        None => missing.push(format!(
                            "runs/{}",
                            run_name(&named.name, self.config.seeds[seed], &amount.to_string())
                        )),
                    }
                    at += 1;
                }
            }
        }
        let size = |job: &Job<'_>| job.amount;
        let records = self.completed(|| {
            run_jobs(&self.ground, &jobs, self.threads(), size, |ground, job| {
                self.run(ground, job, base.get(job.seed).and_then(Option::as_ref))
            })
        })?;
        let unmade = jobs.iter().zip(&records).filter(|(_, record)| record.is_none());
        missing.extend(unmade.map(|(job, _)| format!("runs/{}", self.name(job))));
        Ok(records.into_iter().flatten().collect())
    }

    fn name(&self, job: &Job<'_>) -> String {
        run_name(&job.method.name, self.config.seeds[job.seed], &job.amount.to_string())
    }

    fn run(
        &self,
        ground: &G,
        job: &Job<'_>,
        base: Option<&BaseResult>,
    ) -> Result<Option<RunRecord>, StudyError> {
        let (method, samples, seed) = (job.method, job.amount, self.config.seeds[job.seed]);
        let name = self.name(job);
        self.made(("runs", &name, job.at), || {
            let made = match job.seed == 0 && samples == self.search_samples {
                true => {
                    let name = search_name(&method.name, method.learning_rate);
                    self.store.get::<RunRecord>(SEARCH_RUNS, &name)?
                }
                false => None,
            };
            match made {
                Some(record) => Ok(record),
                None => {
                    let run = format!("{}, seed {seed}, {samples} samples", method.name);
                    let outcome = self.outcome(ground, &run, job, ("runs", &name))?;
                    self.record(ground, job, outcome, base)
                }
            }
        })
    }

    /// One method at a time, so that they do not share the processor.
    fn costs(
        &self,
        methods: &[Found],
        missing: &mut Vec<String>,
    ) -> Result<Vec<Option<MethodCost>>, StudyError> {
        if !self.config.cost {
            return Ok(vec![None; methods.len()]);
        }
        let (model, shape) = (self.ground.model(0), self.ground.cost_shape());
        let seed = self.config.seeds[0];
        let costs = self.completed(|| {
            let cost = |(at, found): (usize, &Found)| {
                let name = &found.method.name;
                self.made(("cost", name, at), || measure_cost(model, &found.method, shape, seed))
            };
            methods.iter().enumerate().map(cost).collect()
        })?;
        let unmeasured = methods.iter().zip(&costs).filter(|(_, cost)| cost.is_none());
        missing.extend(unmeasured.map(|(found, _)| format!("cost/{}", found.method.name)));
        Ok(costs)
    }

    /// The workers, and the threads of each.
    fn threads(&self) -> (usize, usize) {
        let workers = self.options.workers.max(1);
        (workers, self.ground.threads(workers))
    }
}

/// The name of a run of the search.
pub(super) fn search_name(method: &str, learning_rate: f64) -> String {
    format!("{method}-lr{learning_rate}")
}

/// The name of a run.
pub(super) fn run_name(method: &str, seed: u64, samples: &str) -> String {
    format!("{method}-seed{seed}-{samples}")
}

fn demo_method(solved: &Solved, learning_rate: f64) -> DemoMethod {
    DemoMethod {
        name: solved.method.name.clone(),
        adapter: solved.method.adapter.clone(),
        learning_rate,
    }
}
