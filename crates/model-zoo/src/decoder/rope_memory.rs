use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{DType, Device};

use super::rope::{Positions, RopeTables};
use crate::{DecoderConfig, RopeConfig};

/// The tables of the last passes: those of training have the same positions again and again, and
/// making tables anew means to send them to a GPU.
#[derive(Debug, Clone, Default)]
pub struct RopeMemory(Arc<Mutex<Vec<Known>>>);

/// The kinds of passes whose tables are kept.
const KEPT: usize = 8;

#[derive(Debug)]
struct Known {
    of: Key,
    tables: Arc<RopeTables>,
}

/// All that tables are made of.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    rope: Option<RopeConfig>,
    head_dim: usize,
    max_positions: usize,
    scale: f64,
    positions: Positions,
    device: Device,
    /// Devices are equal with and without autodiff, but tensors of one make those of the other tracked.
    autodiff: bool,
    dtype: DType,
}

impl RopeMemory {
    /// The tables of a kind of layer; without `rope` nothing is turned.
    pub(super) fn tables(
        &self,
        config: &DecoderConfig,
        rope: Option<&RopeConfig>,
        positions: &Positions,
        device: &Device,
        dtype: DType,
    ) -> Arc<RopeTables> {
        let of = Key {
            rope: rope.cloned(),
            head_dim: config.head_dim,
            max_positions: config.max_position_embeddings,
            scale: RopeTables::query_scale(config),
            positions: positions.clone(),
            device: device.clone(),
            autodiff: device.is_autodiff(),
            dtype,
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = known.iter().position(|known| known.of == of) {
            // The least used are forgotten first.
            let found = known.remove(at);
            let tables = found.tables.clone();
            known.push(found);
            return tables;
        }
        let tables = Arc::new(RopeTables::new(config, rope, positions, device, dtype));
        if known.len() == KEPT {
            known.remove(0);
        }
        known.push(Known { of, tables: tables.clone() });
        tables
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;

    #[test]
    fn tables_are_made_once_for_the_same_positions() {
        let config = DecoderConfig::new(32, 8, 16, 1, 2);
        let (memory, device) = (RopeMemory::default(), Device::flex());
        let tables = |first: usize, len: usize| {
            let positions =
                Positions { each: (first..first + len).collect(), seq_len: first + len };
            memory.tables(&config, Some(&config.rope), &positions, &device, DType::F32)
        };
        let once = tables(0, 5);
        assert!(Arc::ptr_eq(&once, &tables(0, 5)));
        assert!(!Arc::ptr_eq(&once, &tables(1, 5)));
        assert!(!Arc::ptr_eq(&once, &tables(0, 6)));
        for len in 10..10 + KEPT {
            tables(0, len);
        }
        assert!(!Arc::ptr_eq(&once, &tables(0, 5)), "only the last ones are kept");
        let mut other = config.clone();
        other.rope.theta *= 2.0;
        let positions = Positions { each: (0..5).collect(), seq_len: 5 };
        let other = memory.tables(&other, Some(&other.rope), &positions, &device, DType::F32);
        assert!(!Arc::ptr_eq(&tables(0, 5), &other));
    }

    #[test]
    fn tables_of_training_are_not_those_of_evaluation() {
        let config = DecoderConfig::new(32, 8, 16, 1, 2);
        let (memory, device) = (RopeMemory::default(), Device::flex());
        let positions = Positions { each: vec![0, 1], seq_len: 2 };
        let tables = |device: &Device| {
            memory.tables(&config, Some(&config.rope), &positions, device, DType::F32)
        };
        let training = tables(&device.clone().autodiff());
        assert!(!Arc::ptr_eq(&training, &tables(&device)));
        let q = Tensor::<4>::ones([1, 2, 2, 4], &device);
        assert!(!tables(&device).queries(q).is_autodiff());
    }
}
