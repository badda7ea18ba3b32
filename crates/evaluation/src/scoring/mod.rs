//! What a causal language model answers to requests: log-likelihoods of given tokens, and texts
//! that it generates.
//!
//! ```text
//! text --PromptEncoder--> TokenRequest --Scorer--> TokenResponse, in the order they are ready
//! ```
//!
//! What requests have in common is computed once. Requests that begin alike (the choices of a
//! question) share a row of a batch, as a [`TokenTree`](model_zoo::TokenTree); rows that begin alike
//! (questions after the same examples) share a cache of keys and values. Only hidden states that
//! predict a wanted token enter the output head. None of this changes an answer by more than f32
//! rounding: where a router's decisions reach beyond a token, requests are kept apart.

mod encode;
mod error;
mod generate;
mod head;
mod likelihood;
mod options;
mod plan;
mod request;
mod scorer;
mod span;

pub use encode::PromptEncoder;
pub use error::ScoringError;
pub use options::ScoringOptions;
pub use request::{TokenRequest, TokenResponse};
pub use scorer::{Progress, Scorer};
