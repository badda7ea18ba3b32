//! The kernel of AMX, whose unit multiplies tiles of 16 rows of 64 bytes, and its packed rows.
//!
//! Both packed factors are blocks of 16 words of depth, 2 KiB each: of the left one `[32 rows, 16 words]`, a
//! tile above another, or three of them for the parts of its elements; of the right one `[16 words, 32
//! columns]`, a tile beside another.

#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::OnceLock;

use super::x86::LANES;
use super::x86_pack::left_of;

/// The rows of a block.
const ROWS: usize = 32;

/// The words of depth of a block.
pub(super) const WORDS: usize = 16;

/// The shapes of the tiles: 16 rows of 64 bytes each, of eight.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    reserved: [u8; 15],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = Shapes {
    palette: 1,
    reserved: [0; 15],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Whether a processor with AVX512-BF16 has tiles of bfloat16, and the system lets this process use them. It
/// asks once, for all threads.
pub(super) fn runs() -> bool {
    static RUNS: OnceLock<bool> = OnceLock::new();
    *RUNS.get_or_init(|| {
        // Bits 22 and 24: the products, and the tiles.
        __cpuid_count(7, 0).edx >> 22 & 0b101 == 0b101 && allowed()
    })
}

/// Tiles make the state of a thread 8 KiB larger, so that Linux wants to be asked.
#[cfg(target_os = "linux")]
fn allowed() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and reads no memory of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn allowed() -> bool {
    false
}

/// Gives the tiles of this thread their shapes, until [`end`].
///
/// # Safety
///
/// [`runs`] must hold.
pub(super) unsafe fn begin() {
    // SAFETY: the shapes are those of palette 1, which every processor with tiles has. No other code uses
    // tiles.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, readonly)) };
}

/// Lets the system forget the tiles of this thread.
///
/// # Safety
///
/// As [`begin`].
pub(super) unsafe fn end() {
    // SAFETY: as there.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// See [`Unit::multiply`](super::Unit::multiply).
///
/// # Safety
///
/// As there, between [`begin`] and [`end`], and the packed factors must have `words` words for each column
/// and part of a row.
pub(super) unsafe fn multiply<const PARTS: u32>(
    left: *const u32,
    right: *const u32,
    words: usize,
    out: *mut f32,
    stride: usize,
    add: bool,
) {
    assert!(words > 0 && words.is_multiple_of(WORDS), "products of whole blocks");
    let blocks = words / WORDS;
    // Tiles 0 to 3 are sums, 4 and 5 of the left factor, 6 and 7 of the right one.
    //
    // SAFETY: all reads are within the blocks of both factors, all writes within the tile of the
    // result, and tiles have their shapes since `begin`.
    unsafe {
        asm!(
            "test {add:e}, {add:e}",
            "jz 2f",
            "tileloadd tmm0, [{out} + {stride}]",
            "tileloadd tmm1, [{out} + {stride} + 64]",
            "tileloadd tmm2, [{below} + {stride}]",
            "tileloadd tmm3, [{below} + {stride} + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "tileloadd tmm6, [{right} + {right_stride}]",
            "tileloadd tmm7, [{right} + {right_stride} + 64]",
            "mov {part:e}, {parts}",
            "4:",
            "tileloadd tmm4, [{left} + {left_stride}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{left} + {left_stride} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {left}, 2048",
            "dec {part:e}",
            "jnz 4b",
            "add {right}, 2048",
            "dec {blocks}",
            "jnz 3b",
            "tilestored [{out} + {stride}], tmm0",
            "tilestored [{out} + {stride} + 64], tmm1",
            "tilestored [{below} + {stride}], tmm2",
            "tilestored [{below} + {stride} + 64], tmm3",
            add = in(reg) u32::from(add),
            out = in(reg) out,
            below = in(reg) out.wrapping_add(16 * stride),
            stride = in(reg) 4 * stride,
            left = inout(reg) left => _,
            left_stride = in(reg) 64usize,
            right = inout(reg) right => _,
            right_stride = in(reg) 128usize,
            blocks = inout(reg) blocks => _,
            part = out(reg) _,
            parts = const PARTS,
            out("tmm0") _,
            out("tmm1") _,
            out("tmm2") _,
            out("tmm3") _,
            out("tmm4") _,
            out("tmm5") _,
            out("tmm6") _,
            out("tmm7") _,
            options(nostack),
        );
    }
}

/// See [`Unit::multiply_held`](super::Unit::multiply_held); `WIDE` where more than 16 columns count.
///
/// # Safety
///
/// Between [`begin`] and [`end`]. `left` must be valid for 32 rows of as many blocks of 32 elements, `right` for
/// `[16 words, 32 columns]` for each block, `out` for `[32, 32]`, initialised with `add`.
pub(super) unsafe fn multiply_held<const WIDE: bool>(
    left: *const u16,
    right: *const u32,
    blocks: usize,
    out: *mut f32,
    add: bool,
) {
    let row = 2 * WORDS * blocks;
    // Tiles as in `multiply`. What is read next lies behind the rows.
    //
    // SAFETY: as there; asking memory ahead reads nothing.
    unsafe {
        asm!(
            "test {add:e}, {add:e}",
            "jz 2f",
            "tileloadd tmm0, [{out} + {stride}]",
            "tileloadd tmm1, [{out} + {stride} + 64]",
            "tileloadd tmm2, [{out} + {stride} + 2048]",
            "tileloadd tmm3, [{out} + {stride} + 2112]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "mov {line:e}, {lines}",
            "4:",
            "prefetcht1 [{ahead}]",
            "add {ahead}, 64",
            "dec {line:e}",
            "jnz 4b",
            "tileloadd tmm6, [{right} + {stride}]",
            "tileloadd tmm4, [{left} + {left_stride}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{below} + {left_stride}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            ".if {wide}",
            "tileloadd tmm7, [{right} + {stride} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            ".endif",
            "add {left}, 64",
            "add {below}, 64",
            "add {right}, 2048",
            "dec {blocks}",
            "jnz 3b",
            "tilestored [{out} + {stride}], tmm0",
            "tilestored [{out} + {stride} + 64], tmm1",
            "tilestored [{out} + {stride} + 2048], tmm2",
            "tilestored [{out} + {stride} + 2112], tmm3",
            wide = const WIDE as u32,
            lines = const ROWS,
            add = in(reg) u32::from(add),
            out = in(reg) out,
            stride = in(reg) 128usize,
            left = inout(reg) left => _,
            below = inout(reg) left.wrapping_add(16 * row) => _,
            left_stride = in(reg) 2 * row,
            ahead = inout(reg) left.wrapping_add(ROWS * row) => _,
            right = inout(reg) right => _,
            blocks = inout(reg) blocks => _,
            line = out(reg) _,
            out("tmm0") _,
            out("tmm1") _,
            out("tmm2") _,
            out("tmm3") _,
            out("tmm4") _,
            out("tmm5") _,
            out("tmm6") _,
            out("tmm7") _,
            options(nostack),
        );
    }
}

/// Rows as blocks: rounded, or each number in three parts of 8 bits of mantissa, whose sum it is.
///
/// # Safety
///
/// `x` must be valid for `rows` rows of `depth`, `out` for the blocks of that depth, times `PARTS`, and
/// [`runs`] must hold.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn pack_rows<const PARTS: usize>(
    x: *const f32,
    stride: usize,
    rows: usize,
    depth: usize,
    out: *mut u32,
) {
    for (block, k) in (0..depth).step_by(2 * LANES).enumerate() {
        let (low, high) = (left_of(depth - k), left_of((depth - k).saturating_sub(LANES)));
        for row in 0..ROWS {
            let x = x.wrapping_add(row * stride + k);
            let halves = match row < rows {
                // SAFETY: masked to what is left of the row.
                true => unsafe {
                    [
                        _mm512_maskz_loadu_ps(low, x),
                        _mm512_maskz_loadu_ps(high, x.wrapping_add(LANES)),
                    ]
                },
                false => [_mm512_setzero_ps(); 2],
            };
            let [first, second] = match PARTS {
                1 => halves.map(|half| [half; 3]),
                _ => [parts(halves[0]), parts(halves[1])],
            };
            for part in 0..PARTS {
                let at = ((block * PARTS + part) * ROWS + row) * WORDS;
                // SAFETY: 16 words of the block. Vectors of pairs are those of words.
                unsafe {
                    let words = _mm512_cvtne2ps_pbh(second[part], first[part]);
                    let words = std::mem::transmute::<__m512bh, __m512i>(words);
                    _mm512_storeu_si512(out.add(at).cast(), words);
                }
            }
        }
    }
}

/// Numbers that bfloat16 holds as they are, and whose sum is `x`. What is not finite is the first of them.
#[inline]
#[target_feature(enable = "avx512f")]
fn parts(x: __m512) -> [__m512; 3] {
    let cut = |x: __m512| {
        let bits = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
        _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), bits))
    };
    let infinity = _mm512_set1_ps(f32::INFINITY);
    let finite = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(x), infinity);
    let not_a_number = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
    // Cut off, a NaN could become an infinity.
    let first = _mm512_mask_mov_ps(cut(x), not_a_number, _mm512_set1_ps(f32::NAN));
    let rest = _mm512_maskz_sub_ps(finite, x, first);
    let second = cut(rest);
    [first, second, _mm512_sub_ps(rest, second)]
}
