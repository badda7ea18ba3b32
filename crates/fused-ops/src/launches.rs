use std::collections::BTreeMap;

/// Whether launches are counted in this build: with the feature `cube`.
pub const COUNTS_LAUNCHES: bool = cfg!(feature = "cube");

/// Runs something and counts the kernels that it gives to GPUs, by their names; of the whole process,
/// on any backend of CubeCL. `None` without the feature `cube`, which alone sees them.
pub fn count_launches<T>(run: impl FnOnce() -> T) -> (T, Option<BTreeMap<String, usize>>) {
    #[cfg(feature = "cube")]
    {
        use cubecl_runtime::logging::LaunchObservation;
        use std::sync::Arc;
        let counter = Arc::new(observer::Counter::default());
        let observation = LaunchObservation::new(counter.clone());
        let result = run();
        drop(observation);
        (result, Some(counter.counts()))
    }
    #[cfg(not(feature = "cube"))]
    (run(), None)
}

#[cfg(feature = "cube")]
mod observer {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};

    use cubecl_runtime::logging::LaunchObserver;

    #[derive(Default)]
    pub(super) struct Counter(Mutex<BTreeMap<&'static str, usize>>);

    impl Counter {
        pub(super) fn counts(&self) -> BTreeMap<String, usize> {
            let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut named = BTreeMap::new();
            for (name, count) in counts.iter() {
                *named.entry(short(name)).or_default() += count;
            }
            named
        }
    }

    impl LaunchObserver for Counter {
        fn launched(&self, kernel: &'static str) {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(kernel).or_default() += 1;
        }
    }

    /// The name of a type without modules, and without what it is generic over but the first.
    fn short(name: &str) -> String {
        let without_modules = |path: &str| path.rsplit("::").next().unwrap_or(path).to_owned();
        match name.split_once('<') {
            None => without_modules(name),
            Some((outer, inner)) => {
                let inner = inner.trim_end_matches('>');
                let first = inner.split([',', '<']).next().unwrap_or(inner);
                format!("{}<{}>", without_modules(outer), without_modules(first))
            }
        }
    }
}
