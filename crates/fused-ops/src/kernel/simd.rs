/// Compiles `body::<FMA>` for AVX-512 and for AVX2 with fused multiply-add as well as for the build's
/// target, and defines a function that takes the best one the machine has. The first two give the same
/// bits: bodies say how many partial results they keep.
macro_rules! multiversioned {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        #[allow(unsafe_code)]
        pub(crate) fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
                fn widest($($arg: $ty),*) {
                    $body::<true>($($arg),*);
                }
                #[target_feature(enable = "avx2,fma")]
                fn wide($($arg: $ty),*) {
                    $body::<true>($($arg),*);
                }
                if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("fma")
                {
                    // SAFETY: the processor has the features that `widest` is compiled for.
                    unsafe { widest($($arg),*) };
                    return;
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has the features that `wide` is compiled for.
                    unsafe { wide($($arg),*) };
                    return;
                }
            }
            // Elsewhere `mul_add` may be a call per element, except where every machine has it.
            $body::<{ cfg!(target_arch = "aarch64") }>($($arg),*);
        }
    };
}
pub(super) use multiversioned;

/// `a * b + c`, fused where that is one instruction.
#[inline(always)]
pub(super) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `exp(x)` for `x <= 0`, within 2 units in the last place; 0 below -87.3, where the result would
/// be subnormal. NaN stays NaN.
///
/// `exp(x) = 2^n exp(r)` with `n = round(x / ln 2)` and `|r| <= ln 2 / 2`, `exp(r)` by a
/// polynomial. Source: the Cephes library, `expf`.
#[inline(always)]
pub(super) fn exp_of_negative<const FMA: bool>(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LOWEST: f32 = -87.3;
    // ln 2 in two parts, the first with few bits, so that `n * LN2_HIGH` is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Not `max`, which would lose a NaN.
    let clamped = if x < LOWEST { LOWEST } else { x };
    let shifted = multiply_add::<FMA>(clamped, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FMA>(n, -LN2_HIGH, clamped);
    let r = multiply_add::<FMA>(n, -LN2_LOW, r);
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = multiply_add::<FMA>(p, r, coefficient);
    }
    let p = multiply_add::<FMA>(p, r * r, r) + 1.0;
    // The bits of `ROUND` vanish in the shift, those of `n + 127` become the exponent.
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < LOWEST { 0.0 } else { p * power }
}

/// `ln(x)` for normal `x > 0`, within 2 units in the last place. NaN stays NaN.
///
/// `ln(x) = n ln 2 + ln(m)` with `m` between the square roots of 1/2 and 2, and `ln(m)` by a
/// polynomial. Source: the Cephes library, `logf`.
#[inline(always)]
pub(super) fn ln_of_positive<const FMA: bool>(x: f32) -> f32 {
    // The bits of the square root of 1/2.
    const ROOT: u32 = 0x3f35_04f3;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let exponent = (x.to_bits().wrapping_sub(ROOT) as i32) >> 23;
    let n = exponent as f32;
    let f = f32::from_bits(x.to_bits().wrapping_sub((exponent as u32) << 23)) - 1.0;
    let mut p = 7.037_683_6e-2;
    for coefficient in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = multiply_add::<FMA>(p, f, coefficient);
    }
    let square = f * f;
    let tail = multiply_add::<FMA>(n, LN2_LOW, p * f * square);
    let tail = multiply_add::<FMA>(square, -0.5, tail);
    let result = multiply_add::<FMA>(n, LN2_HIGH, f + tail);
    if x.is_nan() { x } else { result }
}

/// How many partial results a reduction keeps: the compiler may not reorder additions, so one
/// accumulator would forbid vectors.
pub(super) const LANES: usize = 16;

/// The sum of `term(a[i], b[i])`.
#[inline(always)]
pub(super) fn sum_of_pairs(a: &[f32], b: &[f32], term: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] = term(a[i], b[i], sums[i]);
        }
    }
    let tail = a_tail.iter().zip(b_tail).fold(0.0, |sum, (&a, &b)| term(a, b, sum));
    tail + fold(&sums, |a, b| a + b)
}

/// Combines the lanes by halves.
#[inline(always)]
pub(super) fn fold(lanes: &[f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = combine(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}
