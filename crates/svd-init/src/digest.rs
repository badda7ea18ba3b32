use burn::tensor::Tensor;

const PRIMES: [u64; 5] = [
    0x9E37_79B1_85EB_CA87,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0x85EB_CA77_C2B2_AE63,
    0x27D4_EB2F_1656_67C5,
];

/// A 64-bit digest of a weight: its shape and its values as f32.
///
/// It is the same in every build, on every platform and device, and a weight in bf16 or f16 has
/// the digest of its copy in f32, which is exact. It tells apart weights by accident, not by
/// malice. A zero and a negative zero differ.
///
/// It is XXH64 over the values in row-major order, little-endian, seeded with XXH64 of the shape
/// as two 64-bit numbers. It reads several gigabytes a second; copying the tensor to the host
/// takes longer.
///
/// # Shapes
///
/// - `weight`: `[in_features, out_features]`
pub fn weight_digest(weight: &Tensor<2>) -> u64 {
    let data = weight.to_data().convert::<f32>();
    let [rows, columns] = weight.dims();
    if cfg!(target_endian = "little") {
        digest_bytes(data.as_bytes(), rows, columns)
    } else {
        let bytes: Vec<u8> = data.iter::<f32>().flat_map(f32::to_le_bytes).collect();
        digest_bytes(&bytes, rows, columns)
    }
}

/// [`weight_digest`] of values that are on the host already, `[rows, columns]`.
pub(crate) fn digest_values(values: &[f32], rows: usize, columns: usize) -> u64 {
    digest_bytes(&bytes_of(values), rows, columns)
}

/// Values as little-endian bytes, without a copy where they are so already.
pub(crate) fn bytes_of(values: &[f32]) -> std::borrow::Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        std::borrow::Cow::Borrowed(bytemuck::cast_slice(values))
    } else {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
}

fn digest_bytes(bytes: &[u8], rows: usize, columns: usize) -> u64 {
    let mut shape = [0; 16];
    shape[..8].copy_from_slice(&(rows as u64).to_le_bytes());
    shape[8..].copy_from_slice(&(columns as u64).to_le_bytes());
    xxh64(bytes, xxh64(&shape, 0))
}

/// XXH64, the 64-bit hash of xxHash (specification version 0.1.1).
pub(crate) fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let [p1, p2, p3, p4, p5] = PRIMES;
    let (stripes, mut rest) = bytes.as_chunks::<32>();
    let mut hash = if stripes.is_empty() {
        seed.wrapping_add(p5)
    } else {
        let first = seed.wrapping_add(p1);
        let mut lanes =
            [first.wrapping_add(p2), seed.wrapping_add(p2), seed, seed.wrapping_sub(p1)];
        for stripe in stripes {
            let (words, _) = stripe.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane = round(*lane, u64::from_le_bytes(*word));
            }
        }
        let rotated = [1, 7, 12, 18].iter().zip(lanes).map(|(bits, lane)| lane.rotate_left(*bits));
        let sum = rotated.fold(0, u64::wrapping_add);
        lanes
            .iter()
            .fold(sum, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(p1).wrapping_add(p4))
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        hash = (hash ^ round(0, u64::from_le_bytes(*word))).rotate_left(27);
        hash = hash.wrapping_mul(p1).wrapping_add(p4);
        rest = tail;
    }
    if let Some((word, tail)) = rest.split_first_chunk::<4>() {
        hash = (hash ^ u64::from(u32::from_le_bytes(*word)).wrapping_mul(p1)).rotate_left(23);
        hash = hash.wrapping_mul(p2).wrapping_add(p3);
        rest = tail;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(p5)).rotate_left(11).wrapping_mul(p1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(p2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(p3);
    hash ^ (hash >> 32)
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, TensorData};

    #[test]
    fn it_is_xxh64() {
        assert_eq!(xxh64(b"", 0), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"a", 0), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(xxh64(b"abc", 0), 0x44BC_2CF5_AD77_0999);
        let text = b"Call me Ishmael. Some years ago--never mind how long precisely-";
        assert_eq!(xxh64(text, 0), 0x02A2_E854_70D6_FD96);
    }

    fn weight(values: &[f32], shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    #[test]
    fn value_and_shape_count_and_layout_does_not() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let digest = weight_digest(&weight(&values, [2, 3]));
        assert_eq!(digest, weight_digest(&weight(&values, [2, 3])));
        assert_ne!(digest, weight_digest(&weight(&values, [3, 2])));
        assert_ne!(digest, weight_digest(&weight(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.5], [2, 3])));
        let turned = weight(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0], [3, 2]).transpose();
        assert_eq!(digest, weight_digest(&turned));
        assert_eq!(digest, digest_values(&values, 2, 3));
    }

    #[test]
    fn a_weight_in_half_precision_has_the_digest_of_its_copy_in_f32() {
        let values: Vec<f32> = (0..60).map(|i| (i as f32 * 0.37).sin()).collect();
        let half: Tensor<2> = weight(&values, [6, 10]).cast(DType::BF16);
        let full: Tensor<2> = half.clone().cast(DType::F32);
        assert_eq!(weight_digest(&half), weight_digest(&full));
    }

    #[test]
    fn it_does_not_change_between_versions() {
        let values: Vec<f32> = (0..24).map(|i| i as f32).collect();
        assert_eq!(weight_digest(&weight(&values, [4, 6])), 0x60A2_C84A_C605_402E);
    }
}
