mod decode;
mod dtype;
mod error;
mod index;
mod nearest;
mod shard;
mod source;
mod writer;

pub use dtype::WeightDType;
pub use error::WeightError;
pub use source::WeightSource;
pub use writer::WeightWriter;
