use std::sync::Arc;

use super::{DataError, Sample, SampleStore, pack, pack::pack_rows};

/// The samples of a run, in memory or on disk, each alone or several in a row.
#[derive(Debug, Clone)]
pub struct Samples(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Held(Vec<Sample>),
    Stored { store: Arc<SampleStore>, rows: Rows },
}

/// Which samples of a store there are.
#[derive(Debug, Clone)]
enum Rows {
    Single(Vec<usize>),
    Packed(Vec<Vec<usize>>),
}

impl Samples {
    /// Those of a store at some places, in that order.
    pub fn stored(store: Arc<SampleStore>, places: Vec<usize>) -> Self {
        Self(Kind::Stored { store, rows: Rows::Single(places) })
    }

    /// None.
    pub fn none() -> Self {
        Self(Kind::Held(Vec::new()))
    }

    /// The same samples in rows of at most `max_length` tokens, as [`pack`] puts them.
    pub fn packed(self, max_length: usize) -> Self {
        match self.0 {
            Kind::Held(samples) => pack(&samples, max_length).into(),
            Kind::Stored { store, rows: Rows::Single(places) } => {
                let of = |at: usize| (store.tokens(places[at]), store.task_type(places[at]));
                let rows = pack_rows(places.len(), of, max_length);
                let rows = rows.iter().map(|row| row.iter().map(|&at| places[at]).collect());
                let rows = Rows::Packed(rows.collect());
                Self(Kind::Stored { store, rows })
            }
            packed => Self(packed),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Held(samples) => samples.len(),
            Kind::Stored { rows: Rows::Single(places), .. } => places.len(),
            Kind::Stored { rows: Rows::Packed(rows), .. } => rows.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any is several in a row.
    pub fn has_packed(&self) -> bool {
        match &self.0 {
            Kind::Held(samples) => samples.iter().any(|sample| sample.documents.len() > 1),
            Kind::Stored { rows: Rows::Single(_), .. } => false,
            Kind::Stored { rows: Rows::Packed(rows), .. } => rows.iter().any(|row| row.len() > 1),
        }
    }

    /// The number of tokens of one; 0 of one that is not there, here and below.
    pub fn tokens(&self, at: usize) -> usize {
        self.sum(at, Sample::len, SampleStore::tokens)
    }

    /// The number of targets of one.
    pub fn targets(&self, at: usize) -> usize {
        self.sum(at, Sample::target_count, SampleStore::targets)
    }

    fn sum(
        &self,
        at: usize,
        of: fn(&Sample) -> usize,
        stored: fn(&SampleStore, usize) -> usize,
    ) -> usize {
        match &self.0 {
            Kind::Held(samples) => samples.get(at).map_or(0, of),
            Kind::Stored { store, rows } => {
                rows.places(at).iter().map(|place| stored(store, *place)).sum()
            }
        }
    }

    /// The task type of one, where it has one.
    pub fn task_type(&self, at: usize) -> Option<u32> {
        match &self.0 {
            Kind::Held(samples) => samples.get(at)?.task_type,
            Kind::Stored { store, rows } => store.task_type(*rows.places(at).first()?),
        }
    }

    /// One of them.
    ///
    /// # Errors
    /// [`DataError::Sample`] for one that is not there, [`DataError::Store`] for one that cannot be
    /// read.
    pub fn get(&self, at: usize) -> Result<Sample, DataError> {
        let absent = || DataError::Sample {
            index: at,
            found: format!("is asked for of {}", self.len()),
            allowed: "an index below the number of samples",
        };
        match &self.0 {
            Kind::Held(samples) => samples.get(at).cloned().ok_or_else(absent),
            Kind::Stored { store, rows } => match rows.places(at) {
                [] => Err(absent()),
                [one] => store.read(*one),
                several => {
                    let samples: Result<Vec<_>, _> =
                        several.iter().map(|place| store.read(*place)).collect();
                    Ok(Sample::packed(&samples?))
                }
            },
        }
    }

    /// The first so many.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn first(&self, most: usize) -> Result<Vec<Sample>, DataError> {
        (0..most.min(self.len())).map(|at| self.get(at)).collect()
    }
}

impl From<Vec<Sample>> for Samples {
    fn from(samples: Vec<Sample>) -> Self {
        Self(Kind::Held(samples))
    }
}

impl Rows {
    fn places(&self, at: usize) -> &[usize] {
        match self {
            Self::Single(places) => places.get(at..at + 1).unwrap_or_default(),
            Self::Packed(rows) => rows.get(at).map(Vec::as_slice).unwrap_or_default(),
        }
    }
}
