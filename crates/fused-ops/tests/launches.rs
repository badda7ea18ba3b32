//! What is given to a GPU is counted. Alone in its process, whose launches are all counted.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor};
use fused_ops::{count_launches, rms_norm};

#[test]
fn an_operation_is_one_launch_on_a_gpu() {
    let device = lora_moe::device::device_from_environment().unwrap();
    let x = Tensor::<2>::ones([5, 64], &device);
    let weight = Tensor::<1>::ones([64], &device);
    let (_, launches) = count_launches(|| rms_norm(x, weight, 1e-6));
    let launched: Option<usize> = launches.map(|launches| launches.values().sum());
    let expected = usize::from(device != Device::flex());
    assert!(launched.is_none_or(|launched| launched == expected), "{launched:?}");
}
