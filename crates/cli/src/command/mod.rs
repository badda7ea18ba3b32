pub mod bench;
pub mod config;
pub mod demo;
pub mod eval;
pub mod generate;
pub mod inspect;
pub mod logits;
pub mod train;
