//! Files of `torch.save` from strangers: what is refused, and at what cost.

#![allow(clippy::unwrap_used)]

mod hostile_files;

use hostile_files::{good, refused};
use tensor_files::{TensorTable, pytorch_index};

/// Reads these bytes as a file.
fn read(bytes: &[u8]) -> Result<TensorTable, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter_model.bin");
    std::fs::write(&path, bytes).unwrap();
    TensorTable::read(&path).map_err(|error| error.to_string())
}

#[test]
fn good_files_are_read_with_offsets_of_32_and_of_64_bits() {
    for wide in [false, true] {
        let table = read(&good(wide)).unwrap();
        assert_eq!(table.tensors["w"].shape, [2, 3]);
        assert_eq!(table.tensors["w"].bytes, [1; 24]);
    }
}

#[test]
fn hostile_files_are_refused() {
    for (name, bytes) in refused() {
        let error = read(&bytes).map(|table| table.tensors.len());
        assert!(error.is_err(), "{name}: {error:?} tensors");
    }
}

#[test]
fn truncated_and_changed_files_do_not_panic() {
    for wide in [false, true] {
        let whole = good(wide);
        for len in 0..whole.len() {
            assert!(pytorch_index(&whole[..len]).is_err(), "{len}");
        }
        for at in 0..whole.len() {
            for change in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                let index = pytorch_index(&bytes).unwrap_or_default();
                assert!(index.values().all(|tensor| tensor.range.end <= bytes.len()));
            }
        }
    }
}
