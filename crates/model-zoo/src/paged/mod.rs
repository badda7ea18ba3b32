//! Keys and values in blocks of fixed size from one pool, which sequences share.

mod blocks;
mod cache;
mod layer;
mod table;

pub use cache::PagedCache;
pub use table::BlockTable;

pub(crate) use layer::PagedLayer;
