mod decode;
mod dtype;
mod error;
mod file;
mod index;
mod mapped;
mod pytorch;
mod quantized;
mod rounding;
mod safetensors_file;
mod source;
mod stored_tensor;
mod writer;

pub use dtype::{UnknownDType, WeightDType};
pub use error::WeightError;
pub use rounding::Rounding;
pub use source::WeightSource;
pub use writer::WeightWriter;
