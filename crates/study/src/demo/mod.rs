//! A complete experiment that needs no files: LoRAMoE's question in miniature.
//!
//! A small world of facts about invented entities is made, a small Llama is pre-trained on it until
//! it answers closed-book questions, and then tuned on other tasks by several methods with equal
//! trainable parameters and equal data, at growing amounts of data. Measured are the tasks learned
//! and the knowledge kept.
//!
//! Each method's learning rate comes from the same small grid, chosen by [`search`] on the even
//! half of the evaluation sets; [`run_demo`] reports on the odd half.

mod config;
pub(crate) mod experiment;
pub(crate) mod jobs;
mod measure;
mod page;
mod pretrain;
mod results;
pub(crate) mod samples;
mod search;

pub use config::{DemoConfig, DemoMethod};
pub use experiment::{DemoObserver, run_demo};
pub use measure::{EvaluationSets, Half, Measured, measure};
pub(crate) use page::thin;
pub use page::{
    Comparison, compare, headline, read_results, report_html, terminal_table, write_plane,
    write_report, write_results,
};
pub use pretrain::{Base, pretrained};
pub use results::{DemoReport, LossCurve, RoutingShares};
pub use search::{SearchRow, search};
