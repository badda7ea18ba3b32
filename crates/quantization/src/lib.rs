//! Frozen matrices of 8 and 4 bits an element.
//!
//! A [`QuantizedMatrix`] holds a code for each element and a scale for each block of them:
//! `W = table[code] * scale`. Blocks run along the rows of the matrix as checkpoints store it,
//! `[out_features, in_features]`, as those of bitsandbytes do, so its files are read without a loss
//! and what is made here is what it would make. `fused_ops::linear` multiplies with it part by part;
//! nothing ever holds the whole matrix in f32.
//!
//! | [`Quantization`] | an element | a scale | bits an element |
//! |---|---|---|---|
//! | `int8` | `i8`, `-127..=127` | f32 for each output | 8 |
//! | `fp4` | 4-bit float: 1 sign, 2 exponent, 1 mantissa | f32 for 64 elements | 4.5 |
//! | `nf4` | quantiles of the normal distribution | f32 for 64 elements | 4.5 |
//! | `nf4_double` | as `nf4` | 8 bits for 64 elements, f32 for 256 of these | 4.13 |
//!
//! [`DynamicBlocks`] hold numbers of any size in 8 bits, as the states of optimisers are.
//!
//! Sources: Dettmers et al., *LLM.int8()* (2022) and *QLoRA* (2023), sections 2 and 3; the package
//! bitsandbytes.
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use quantization::{Quantization, QuantizedMatrix};
//!
//! let device = Device::flex();
//! let weight = Tensor::<2>::random([64, 32], Distribution::Normal(0.0, 0.02), &device);
//! let matrix = QuantizedMatrix::quantize(weight.clone(), Quantization::Nf4);
//! assert_eq!(matrix.dims(), [64, 32]);
//! assert_eq!(matrix.bytes(), 64 * 32 / 2 + 4 * 64 * 32 / 64);
//! let error: f32 = (matrix.dequantize_composed() - weight).abs().max().into_scalar();
//! assert!(error < 0.02);
//! ```

mod codes;
mod dynamic;
mod encode;
mod matrix;
mod parts;
mod scheme;
mod tables;

pub use codes::{Codes, Scales};
pub use dynamic::{DynamicBlocks, DynamicMap};
pub use matrix::{MatrixTensors, QuantizedMatrix};
pub use parts::{NestedScales, PartsError, QuantizedParts};
pub use scheme::{Quantization, UnknownQuantization};
