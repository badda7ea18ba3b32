use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::experiment::{Tuned, tune};
use super::{Base, DemoConfig, DemoMethod, DemoObserver};
use crate::train::TrainError;

/// One tuning run.
pub(super) struct Job {
    pub(super) method: DemoMethod,
    pub(super) amount: usize,
    /// How the observer sees it.
    pub(super) name: String,
}

/// Runs jobs on `workers` threads and gives each one's tuned model to `finish`, whose results are
/// returned in the order of the jobs.
///
/// The products of a model this small are too small to be shared by threads, so each run keeps to
/// one and several runs go on at once; what is computed does not depend on how many.
pub(super) fn run_jobs<T: Send>(
    config: &DemoConfig,
    base: &Base,
    jobs: &[Job],
    workers: usize,
    observer: &mut dyn DemoObserver,
    finish: impl Fn(&Base, &Job, Tuned, f64) -> Result<T, TrainError> + Sync,
) -> Result<Vec<T>, TrainError> {
    // The longest first, so that no thread is left with one at the end.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(jobs[*at].amount));
    let next = AtomicUsize::new(0);
    let observer = Mutex::new(observer);
    let results = Mutex::new(Vec::with_capacity(jobs.len()));
    let work = |base: Base| -> Result<(), TrainError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .map_err(|error| TrainError::value("workers", error, "threads that can be started"))?;
        while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let job = &jobs[at];
            // A poisoned lock means that another run panicked; this one can still be told of.
            let watch = || observer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            watch().on_start(&job.name, job.amount.div_ceil(config.batch_size));
            let started = std::time::Instant::now();
            let result = pool.install(|| {
                let tuned = tune(config, &base, &job.method, job.amount, |step, loss| {
                    watch().on_step(&job.name, step, loss);
                })?;
                finish(&base, job, tuned, started.elapsed().as_secs_f64())
            });
            watch().on_end(&job.name);
            let failed = result.is_err();
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((at, result));
            if failed {
                // The others stop at their next job.
                next.store(order.len(), Ordering::Relaxed);
            }
        }
        Ok(())
    };
    let workers = workers.clamp(1, jobs.len().max(1));
    std::thread::scope(|scope| {
        let bases: Vec<_> = (0..workers).map(|_| base.clone()).collect();
        let threads: Vec<_> = bases.into_iter().map(|base| scope.spawn(|| work(base))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
