//! Tasks in the format of the LM evaluation harness.

pub mod request;

pub use request::{GenerationArguments, ImageSource, Instance, Request, Response};
