//! The Python functions that well-known tasks name by `!function`, written here.
//!
//! A function has the name that the harness's file has for it, as `preprocess_winogrande.doc_to_text`,
//! and a name of its own, as `winogrande.doc_to_text`, that does not depend on the data set.

mod functions;
mod hellaswag;
mod wikitext;
mod winogrande;

pub(crate) use functions::unknown;
pub use functions::{DocFunction, DocsFunction, ResultsFunction};
