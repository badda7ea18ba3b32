//! Packing that every processor can do.

use half::bf16;

/// An element that is widened as it is packed.
pub(super) trait Widened: Copy {
    fn bits(self) -> u32;
}

impl Widened for f32 {
    fn bits(self) -> u32 {
        self.to_bits()
    }
}

impl Widened for bf16 {
    fn bits(self) -> u32 {
        u32::from(self.to_bits()) << 16
    }
}

/// The bits of an f32 rounded to bfloat16, ties to even, as f32.
#[inline(always)]
pub(super) fn rounded_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() {
        // Rounding could carry a NaN into an infinity.
        return (bits | 0x0040_0000) & 0xffff_0000;
    }
    bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000
}

/// An f32 rounded to bfloat16.
pub(crate) fn rounded(x: f32) -> f32 {
    f32::from_bits(rounded_bits(x))
}

/// The first 8 bits of the mantissa of an f32, as f32.
pub(crate) fn cut(x: f32) -> f32 {
    // Cut off, a NaN could become an infinity.
    if x.is_nan() { x } else { f32::from_bits(x.to_bits() & 0xffff_0000) }
}

/// `[rows, depth]` as `[depth, R]`.
pub(super) fn rows<const R: usize>(
    x: &[f32],
    stride: usize,
    rows: usize,
    depth: usize,
    round: bool,
    out: &mut [u32],
) {
    if rows == 0 || depth == 0 {
        return out.fill(0);
    }
    let sources: [&[f32]; R] = std::array::from_fn(|row| &x[row.min(rows - 1) * stride..][..depth]);
    for (k, out) in out.as_chunks_mut::<R>().0.iter_mut().enumerate() {
        for (row, (out, source)) in out.iter_mut().zip(&sources).enumerate() {
            let bits = if round { rounded_bits(source[k]) } else { source[k].to_bits() };
            *out = if row < rows { bits } else { 0 };
        }
    }
}

/// `[columns, depth]` as `[depth, C]`.
pub(super) fn columns<const C: usize, T: Widened>(
    w: &[T],
    stride: usize,
    columns: usize,
    depth: usize,
    out: &mut [u32],
) {
    if columns == 0 || depth == 0 {
        return out.fill(0);
    }
    let last = columns - 1;
    let sources: [&[T]; C] = std::array::from_fn(|column| &w[column.min(last) * stride..][..depth]);
    for (k, out) in out.as_chunks_mut::<C>().0.iter_mut().enumerate() {
        for (out, source) in out.iter_mut().zip(&sources) {
            *out = source[k].bits();
        }
        out[columns..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_as_the_crate_half_does() {
        let least = f32::from_bits(1);
        let edges = [0.0, -0.0, least, f32::MAX, -f32::MAX, f32::INFINITY, f32::NEG_INFINITY];
        // Halves between two, which go to the even one, and what is next to them.
        let near =
            (0x3f80_7ffe_u32..0x3f80_8003).chain(0x3f81_7ffe..0x3f81_8003).map(f32::from_bits);
        let not_numbers = [0x7f80_0001, 0xff80_0001, 0x7fff_ffff, 0x7fc0_0000].map(f32::from_bits);
        for x in edges.into_iter().chain(near).chain(not_numbers) {
            let expected = bf16::from_f32(x).to_f32().to_bits();
            assert_eq!(rounded_bits(x), expected, "{:#010x}", x.to_bits());
        }
    }
}
