use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::StudyError;

/// Does jobs on `workers` threads, and returns their results in the order of the jobs.
///
/// The products of a small model are too small to be shared by threads, so each job of one keeps
/// to a single thread and several go on at once; those of larger models get `threads` of their own.
/// Every worker has a copy of `context`, and jobs of the greatest `size` are begun first.
///
/// # Errors
///
/// The first error of a job in order; the others stop at their next job.
pub(crate) fn run_jobs<C: Clone + Send + Sync, J: Sync, T: Send>(
    context: &C,
    jobs: &[J],
    (workers, threads): (usize, usize),
    size: impl Fn(&J) -> usize,
    work: impl Fn(&C, &J) -> Result<T, StudyError> + Sync,
) -> Result<Vec<T>, StudyError> {
    // The longest first, so that no thread is left with one at the end.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(size(&jobs[*at])));
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(jobs.len()));
    let thread = |context: C| -> Result<(), StudyError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| StudyError::value("workers", error, "threads that can be started"))?;
        while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = pool.install(|| work(&context, &jobs[at]));
            let failed = result.is_err();
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((at, result));
            if failed {
                next.store(order.len(), Ordering::Relaxed);
            }
        }
        Ok(())
    };
    let workers = workers.clamp(1, jobs.len().max(1));
    std::thread::scope(|scope| {
        let contexts: Vec<_> = (0..workers).map(|_| context.clone()).collect();
        let threads: Vec<_> =
            contexts.into_iter().map(|context| scope.spawn(|| thread(context))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
