//! Jinja templates that behave as in the harness: undefined names are errors, a last newline
//! stays, and values print as Python prints them.

mod environment;
mod prompts;

pub(crate) use prompts::Prompts;
