//! Fine-tuning: data, training, evaluation, reports.
//!
//! ```text
//! files -> data -> batches -> train -> adapter folder, metrics
//! ```
//!
//! The [`Trainer`](train::Trainer) works on any [`CausalLm`](model_zoo::CausalLm) whose projections
//! carry adapters. [`demo`] is a complete experiment that needs no files: a small world of facts, a
//! small model that knows it, and methods that must teach it other tasks without forgetting.

pub mod bench;
pub mod calibrate;
pub mod run;
pub mod train;
