//! What a start leaves of a weight in a half type. Alone in its process, whose precision it chooses.

use burn::tensor::{DType, Device, Distribution, Tensor};
use fused_ops::{Precision, set_precision};
use moe_adapter::StartFactors;

#[test]
fn what_is_left_of_halves_is_f32_unless_products_round() {
    let device = Device::flex();
    let random = |shape| Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    device.seed(0);
    let base = random([1, 6, 4]).squeeze_dim::<2>(0).cast(DType::BF16);
    let factors = StartFactors::new(random([2, 3, 6]), random([2, 4, 3]), &base);

    let left = factors.residual(base.clone());
    assert_eq!(left.dtype(), DType::F32);
    let error = (factors.base(left) - base.clone().cast(DType::F32)).abs().max();
    assert!(error.into_scalar::<f32>() < 1e-5);

    set_precision(Precision::Bf16);
    assert_eq!(factors.residual(base).dtype(), DType::BF16);
}
