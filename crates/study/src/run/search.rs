use super::{Found, Job, SEARCH_RUNS, Study, demo_method, search_name};
use crate::demo::jobs::run_jobs;
use crate::demo::{DemoMethod, Half};
use crate::ground::Ground;
use crate::solve::Solved;
use crate::{BaseResult, SearchPoint, StudyError};

impl<G: Ground> Study<'_, G> {
    /// The learning rate of every method: the one given, or the best of the grid by the mean of
    /// tasks learned and knowledge kept on the validation half; none while a part of its search is
    /// missing.
    pub(super) fn search(
        &self,
        solved: &[Solved],
        test: &[Option<BaseResult>],
        missing: &mut Vec<String>,
    ) -> Result<Vec<Option<Found>>, StudyError> {
        let grid = |solved: &Solved| self.config.grid(&solved.method).to_vec();
        let jobs: Vec<(usize, DemoMethod)> = solved
            .iter()
            .flat_map(|solved| grid(solved).into_iter().map(|rate| demo_method(solved, rate)))
            .enumerate()
            .collect();
        let base = match jobs.is_empty() {
            true => None,
            false => {
                let base = || self.base_result(0, Half::Validation, "search", "base");
                self.completed(|| Ok(vec![base()?]))?.pop().flatten()
            }
        };
        let points = self.completed(|| {
            run_jobs(
                &self.ground,
                &jobs,
                self.threads(),
                |_| 0,
                |ground, (at, method)| self.search_point(ground, *at, method, base.as_ref(), test),
            )
        })?;
        let unfound = jobs.iter().zip(&points).filter(|(_, point)| point.is_none());
        missing.extend(
            unfound
                .map(|((_, of), _)| format!("search/{}", search_name(&of.name, of.learning_rate))),
        );
        let mut points = points.into_iter();
        Ok(solved
            .iter()
            .map(|solved| {
                let grid = grid(solved);
                // All of them, though one is missing: the next are of the next method.
                let own: Vec<_> = points.by_ref().take(grid.len()).collect();
                let search: Vec<_> = own.into_iter().collect::<Option<_>>()?;
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
                Some(Found {
                    method: demo_method(solved, rate),
                    trainable_parameters: solved.trainable_parameters,
                    equal_parameters: solved.equalised,
                    search,
                })
            })
            .collect())
    }

    /// A run of the search.
    fn search_point(
        &self,
        ground: &G,
        at: usize,
        method: &DemoMethod,
        base: Option<&BaseResult>,
        test: &[Option<BaseResult>],
    ) -> Result<Option<SearchPoint>, StudyError> {
        let name = search_name(&method.name, method.learning_rate);
        self.made(("search", &name, at), || {
            let run = format!("search: {}, learning rate {}", method.name, method.learning_rate);
            let job = Job { at, seed: 0, amount: self.search_samples, method };
            let outcome = self.outcome(ground, &run, &job, ("search", &name))?;
            let (measured, diverged) = self.judged(ground, &outcome, 0, base, Half::Validation)?;
            if self.samples.contains(&self.search_samples) {
                // Should this rate be chosen, then the run is made already.
                let test = test.first().and_then(Option::as_ref);
                let record = self.record(ground, &job, outcome, test)?;
                self.store.put(SEARCH_RUNS, &name, &record)?;
            }
            let measured = measured.filter(|_| diverged.is_none());
            Ok(SearchPoint {
                learning_rate: method.learning_rate,
                tasks: measured.as_ref().map_or(0.0, |measured| measured.tasks),
                knowledge: measured.as_ref().map_or(0.0, |measured| measured.knowledge),
                diverged: diverged.is_some(),
            })
        })
    }
}
