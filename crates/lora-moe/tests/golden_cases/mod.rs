//! The methods that golden cases may name. A new method is a file with a function, and a line in
//! [`METHODS`].

mod case;
mod gated;
mod layer;
mod loramoe;
mod penalties;
mod slim;
mod sparsegen;

pub use case::Case;

/// What a method computed, by the name of the reference value. A name may occur more than once,
/// where the same value is computed in several ways; each is compared.
pub type Results = Vec<(&'static str, Vec<f32>)>;

/// Computes a case; the error says what it does not know.
pub type Compute = fn(&Case) -> Result<Results, String>;

/// The functions by the `method` of the cases that they compute.
pub const METHODS: &[(&str, Compute)] = &[
    ("loramoe", loramoe::compute),
    ("top_k", gated::top_k),
    ("top_p", gated::top_p),
    ("adamole", gated::adamole),
    ("dynmole", gated::dynmole),
    ("sparsegen", sparsegen::compute),
    ("slim", slim::compute),
];
