use cubecl::prelude::*;

/// The f32 that two halves a word stand for, of rows of `columns` elements transposed. Without arithmetic in halves, which
/// not every device has.
#[cube(launch)]
pub(in crate::cube) fn widened_halves(
    words: &Tensor<u32>,
    out: &mut Tensor<f32>,
    columns: u32,
    #[comptime] transposed: bool,
    #[comptime] brain: bool,
) {
    let i = ABSOLUTE_POS;
    if i >= out.len() {
        terminate!();
    }
    let mut at = i;
    if comptime!(transposed) {
        let columns = columns as usize;
        let rows = out.len() / columns;
        at = (i % rows) * columns + i / rows;
    }
    let half = (words[at / 2] >> ((at % 2) as u32 * 16u32)) & 0xffffu32;
    if comptime!(brain) {
        out[i] = f32::reinterpret(half << 16u32);
    } else {
        // The exponent is counted from 15 in f16 and from 127 in f32; 0 stands for numbers without a leading one.
        let magnitude = (half & 0x7fffu32) << 13u32;
        let normal = f32::reinterpret(magnitude + (112u32 << 23u32));
        let smallest = f32::reinterpret(113u32 << 23u32);
        let small = f32::reinterpret(magnitude + (113u32 << 23u32)) - smallest;
        let value = select((half & 0x7c00u32) == 0u32, small, normal);
        out[i] = select((half & 0x8000u32) == 0u32, value, -value);
    }
}
