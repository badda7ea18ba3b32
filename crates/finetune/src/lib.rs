//! Fine-tuning: the recipe, the loop, checkpoints, calibration.
//!
//! ```text
//! recipe -> model, samples -> train -> checkpoints, adapter folder, metrics
//! ```
//!
//! The [`Trainer`](train::Trainer) works on any [`CausalLm`](model_zoo::CausalLm) whose projections
//! carry adapters.

pub mod bench;
pub mod calibrate;
pub mod memory;
pub mod run;
mod sum_in_order;
pub mod train;
