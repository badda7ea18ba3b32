//! Data for instruction tuning: files to records, records to token samples, samples to batches.
//!
//! ```text
//! files -> read_records -> Record -> encode_records -> Sample
//!       -> BatchPlan + Collator -> Batch -> DeviceBatch
//! ```
//!
//! Labelled data goes another way: [`read_labelled`] to a [`LabelledRow`], whose [`Target`] a
//! [`LabelSet`] tells.
//!
//! Every random choice (hold-out, order of batches) is a pure function of an explicit seed, nothing
//! is dropped or cut without being counted in the [`EncodeReport`], and padding is never a target.

mod batch;
mod chat;
mod collate;
mod config;
mod device_batch;
mod dialogue;
mod encode;
mod encoded;
mod encoder;
mod error;
mod file;
mod hub;
mod instruction;
mod labelled;
mod layout;
mod message;
mod mixture;
mod pack;
mod paths;
mod piece;
mod plan;
mod read;
mod record;
mod report;
mod role;
mod row_encoder;
mod sample;
mod samples;
mod saved;
mod segments;
mod split;
mod store;
mod summary;
mod targets;
mod template;
#[cfg(test)]
mod tests;
mod tool_calls;
mod turns;
mod zoo;

pub use batch::Batch;
pub use collate::Collator;
pub use config::EncodeConfig;
pub use device_batch::DeviceBatch;
pub use dialogue::{Dialogue, DialogueView};
pub use encode::{encode_prompt, encode_records, encode_rows};
pub use encoded::Encoded;
pub use encoder::{BoxError, TextEncoder};
pub use error::DataError;
pub use file::DataFile;
pub use instruction::Instruction;
pub use labelled::{
    FileFormat, ImageData, InputKind, LabelSet, LabelledColumns, LabelledFile, LabelledRow,
    RowInput, Target, read_labelled,
};
pub use layout::{Columns, Shape, Tags};
pub use message::Message;
pub use mixture::Mixture;
pub use pack::pack;
pub use paths::paths;
pub use piece::Piece;
pub use plan::BatchPlan;
pub use read::{read_prompts, read_records};
pub use record::{Record, RecordContent};
pub use record_files::{OrderedValue, Origin};
pub use report::EncodeReport;
pub use role::Role;
pub use sample::Sample;
pub use samples::Samples;
pub use split::{HoldOut, split};
pub use store::{SampleStore, StoreInfo, store_samples};
pub use summary::DataSummary;
pub use targets::Targets;
pub use template::PromptTemplate;
pub use turns::{ChatConfig, TrainOn};
