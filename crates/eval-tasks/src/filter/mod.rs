//! What is done to generated answers before they are scored.

mod choice;
mod pipeline;

pub(crate) use pipeline::apply;
