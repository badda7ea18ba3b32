//! Codes on the host, and what they stand for.

#![allow(unsafe_code)]

/// A quantised matrix in host memory, read in the order of a checkpoint: rows of `in_features`, one
/// for each output.
#[derive(Debug, Clone, Copy)]
pub struct Codes<'a> {
    /// A code a byte, or with a table two, the first one in the higher half.
    pub bytes: &'a [u8],
    /// What four-bit codes stand for; without it, codes are `i8`.
    pub table: Option<&'a [f32; 16]>,
    /// A factor for each block.
    pub scales: Scales<'a>,
    /// What is added in each block, where there is such.
    pub offsets: Option<&'a [f32]>,
    /// How many elements share a scale.
    pub block_size: usize,
}

/// The scales of blocks.
#[derive(Debug, Clone, Copy)]
pub enum Scales<'a> {
    /// As they are.
    Floats(&'a [f32]),
    /// In 8 bits: `map[codes[i]] * scales[i / 256] + offset`.
    Nested {
        /// A code for each block.
        codes: &'a [u8],
        /// What codes stand for.
        map: &'a [f32],
        /// A factor for 256 blocks.
        scales: &'a [f32],
        /// Added to all.
        offset: f32,
    },
}

/// How many scales share a scale of their own.
pub(crate) const NESTED_BLOCK: usize = 256;

impl Scales<'_> {
    /// The scale of a block.
    ///
    /// # Panics
    ///
    /// When there is no such block.
    #[inline(always)]
    pub fn get(&self, block: usize) -> f32 {
        match self {
            Self::Floats(scales) => scales[block],
            Self::Nested { codes, map, scales, offset } => {
                map[usize::from(codes[block])] * scales[block / NESTED_BLOCK] + offset
            }
        }
    }
}

impl Codes<'_> {
    /// Writes the elements from `start` on, in f32.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    pub fn decode(&self, start: usize, out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            unsafe { avx2::decode(self, start, out) };
            return;
        }
        self.decode_by(start, out, look_up);
    }

    #[inline(always)]
    fn decode_by(
        &self,
        start: usize,
        out: &mut [f32],
        look_up: impl Fn(&[u8], &[f32; 16], &mut [f32]),
    ) {
        let (mut at, mut rest) = (start, out);
        while !rest.is_empty() {
            let block = at / self.block_size;
            let length = ((block + 1) * self.block_size - at).min(rest.len());
            let (part, after) = rest.split_at_mut(length);
            let (scale, offset) =
                (self.scales.get(block), self.offsets.map_or(0.0, |offsets| offsets[block]));
            match self.table {
                None => {
                    for (out, code) in part.iter_mut().zip(&self.bytes[at..at + length]) {
                        *out = f32::from(*code as i8) * scale + offset;
                    }
                }
                Some(table) => {
                    let values = table.map(|value| value * scale + offset);
                    // The second half of a byte may come first.
                    let split = at % 2;
                    let (first, part) = part.split_at_mut(split);
                    if let [first] = first {
                        *first = values[usize::from(self.bytes[at / 2] & 15)];
                    }
                    let bytes = (at + split) / 2..(at + length).div_ceil(2);
                    look_up(&self.bytes[bytes], &values, part);
                }
            }
            (at, rest) = (at + length, after);
        }
    }
}

/// The values of two codes a byte.
#[inline(always)]
fn look_up(bytes: &[u8], values: &[f32; 16], out: &mut [f32]) {
    for (byte, out) in bytes.iter().zip(out.chunks_mut(2)) {
        let pair = [byte >> 4, byte & 15];
        for (out, code) in out.iter_mut().zip(pair) {
            *out = values[usize::from(code)];
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::Codes;

    #[target_feature(enable = "avx2")]
    pub(super) fn decode(codes: &Codes<'_>, start: usize, out: &mut [f32]) {
        codes.decode_by(start, out, |bytes, values, out| look_up(bytes, values, out));
    }

    /// Eight bytes at a time: their codes in order, and of each the value in one of two registers.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn look_up(bytes: &[u8], values: &[f32; 16], out: &mut [f32]) {
        // SAFETY: both loads lie within the 16 values.
        let (low, high) =
            unsafe { (_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values.as_ptr().add(8))) };
        let (words, bytes) = bytes.as_chunks::<8>();
        let whole = words.len().min(out.len() / 16);
        let (parts, rest) = out.split_at_mut(16 * whole);
        for (word, out) in words.iter().zip(parts.as_chunks_mut::<16>().0) {
            let word = _mm_cvtsi64_si128(i64::from_le_bytes(*word));
            let mask = _mm_set1_epi8(15);
            let first = _mm_and_si128(_mm_srli_epi16::<4>(word), mask);
            let codes = _mm_unpacklo_epi8(first, _mm_and_si128(word, mask));
            let (out, codes) = (
                out.as_mut_ptr(),
                [codes, _mm_unpackhi_epi64(codes, codes)].map(|codes| {
                    let codes = _mm256_cvtepu8_epi32(codes);
                    // The fourth bit says which half; as a sign it chooses.
                    let half = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes));
                    _mm256_blendv_ps(
                        _mm256_permutevar8x32_ps(low, codes),
                        _mm256_permutevar8x32_ps(high, codes),
                        half,
                    )
                }),
            );
            // SAFETY: `out` has room for 16 elements.
            unsafe {
                _mm256_storeu_ps(out, codes[0]);
                _mm256_storeu_ps(out.add(8), codes[1]);
            }
        }
        // A last word that `out` does not fill is looked up byte by byte.
        let left = words[whole..].as_flattened().iter().chain(bytes);
        for (byte, out) in left.zip(rest.chunks_mut(2)) {
            super::look_up(&[*byte], values, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(bytes: &[u8]) -> Codes<'_> {
        const TABLE: [f32; 16] =
            [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.];
        const SCALES: [f32; 8] = [1.0, 10.0, 0.5, -2.0, 3.0, 7.0, 0.0, 100.0];
        Codes {
            bytes,
            table: Some(&TABLE),
            scales: Scales::Floats(&SCALES),
            offsets: None,
            block_size: 40,
        }
    }

    #[test]
    fn any_range_is_decoded_as_element_by_element() {
        let bytes: Vec<u8> = (0..160).map(|i| (i * 37 + 11) as u8).collect();
        let all = codes(&bytes);
        let element = |at: usize| {
            let byte = bytes[at / 2];
            let code = if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 };
            f32::from(code) * all.scales.get(at / 40)
        };
        for start in [0, 1, 2, 39, 40, 41, 77, 160] {
            for length in [0, 1, 2, 15, 16, 17, 33, 100, 155] {
                let mut found = vec![f32::NAN; length];
                all.decode(start, &mut found);
                let mut portable = vec![f32::NAN; length];
                all.decode_by(start, &mut portable, look_up);
                let expected: Vec<f32> = (start..start + length).map(element).collect();
                assert_eq!(found, expected, "{start} {length}");
                assert_eq!(portable, expected, "{start} {length}");
            }
        }
    }

    #[test]
    fn bytes_are_signed_and_offsets_are_added() {
        let bytes = [1u8, 255, 127, 129];
        let codes = Codes {
            table: None,
            offsets: Some(&[0.5, -1.0]),
            scales: Scales::Floats(&[2.0, 3.0]),
            block_size: 2,
            ..codes(&bytes)
        };
        let mut found = [0.0; 4];
        codes.decode(0, &mut found);
        assert_eq!(found, [2.5, -1.5, 380.0, -382.0]);
    }

    #[test]
    fn nested_scales_follow_their_formula() {
        let scales = Scales::Nested {
            codes: &[2, 0, 1],
            map: &[-1.0, 0.0, 0.5],
            scales: &[4.0],
            offset: 3.0,
        };
        assert_eq!([0, 1, 2].map(|block| scales.get(block)), [5.0, -1.0, 3.0]);
    }
}
