//! The server: OpenAI's requests over HTTP/1.1.

mod answer;
mod app;
mod asked;
mod chat;
mod completions;
mod error;
mod fields;
mod metrics;
mod models;
mod patience;
mod routes;
mod server;
mod stream;
mod tokenize;

pub use app::{App, LoadAdapter, ServerConfig};
pub use server::serve;
