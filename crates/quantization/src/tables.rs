//! What codes stand for.

/// The quantiles of the normal distribution between -1 and 1, with an exact 0 (QLoRA, appendix E).
pub(crate) const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Floats of four bits, as bitsandbytes orders and scales them; the highest bit is the sign.
pub(crate) const FP4: [f32; 16] = [
    0.0,
    0.005_208_333_5,
    0.666_666_7,
    1.0,
    0.333_333_34,
    0.5,
    0.166_666_67,
    0.25,
    0.0,
    -0.005_208_333_5,
    -0.666_666_7,
    -1.0,
    -0.333_333_34,
    -0.5,
    -0.166_666_67,
    -0.25,
];

/// The 256 values between -1 and 1, or 0 and 1, by which bitsandbytes stores scales and the states of
/// optimisers in 8 bits: seven decades, each divided in twice as many parts as the one below.
/// Ascending.
pub(crate) fn dynamic_map(signed: bool) -> Vec<f32> {
    let mut values = vec![0.0f32, 1.0];
    for decade in 0..7 {
        let parts = 1usize << (decade + i32::from(!signed));
        let power = 10f64.powi(decade - 6);
        let bound = |i: usize| (0.1 + 0.9 * i as f64 / parts as f64) as f32;
        for part in 0..parts {
            let mean = (bound(part) + bound(part + 1)) / 2.0;
            let value = (power * f64::from(mean)) as f32;
            values.push(value);
            values.extend(signed.then_some(-value));
        }
    }
    values.sort_by(f32::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maps_have_the_values_of_bitsandbytes() {
        let map = dynamic_map(true);
        assert_eq!(map.len(), 256);
        let ends = [map[0], map[1], map[126], map[127], map[128], map[129], map[254], map[255]];
        let expected =
            [-0.992_968_74, -0.978_906_3, -5.5e-7, 0.0, 5.5e-7, 3.25e-6, 0.992_968_74, 1.0];
        for (found, expected) in ends.into_iter().zip(expected) {
            assert!((found - expected).abs() <= 2e-7 * expected.abs(), "{found} {expected}");
        }
        let map = dynamic_map(false);
        assert_eq!((map.len(), map[0], map[255]), (256, 0.0, 1.0));
        let sum: f64 = map.iter().map(|value| f64::from(*value)).sum();
        assert!((sum - 75.105_263_245_386_7).abs() < 1e-6, "{sum}");
    }
}
