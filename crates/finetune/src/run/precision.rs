use burn::tensor::{DType, Device, Tensor};
use fused_ops::{Precision, precision, runs_kernels, set_precision};
use model_zoo::{CausalLm, Decoder, Quantization, WeightDType};
use moe_adapter::{Adaptable, BaseLinear, Projection};

use crate::train::{TrainError, TrainingConfig};

/// Chooses the precision that a run names, for the process. Runs that name none take what it has.
pub fn choose_precision(training: &TrainingConfig) {
    if let Some(precision) = training.precision {
        set_precision(precision);
    }
}

/// Refuses the precision of the process where the device has it not, or where it would change nothing
/// for weights that are held so.
///
/// # Errors
///
/// [`TrainError::Value`] of `precision`.
pub fn check_precision(
    dtype: WeightDType,
    quantization: Option<Quantization>,
    device: &Device,
) -> Result<(), TrainError> {
    let on_host = runs_kernels(&Tensor::<1>::zeros([1], device));
    let allowed = match precision() {
        Precision::Tf32 if on_host => "f32 or bf16 on a CPU",
        Precision::Bf16 if on_host && dtype == WeightDType::F32 && quantization.is_none() => {
            HELD_IN_F32
        }
        _ => return Ok(()),
    };
    Err(TrainError::value("precision", precision(), allowed))
}

const HELD_IN_F32: &str = "f32 on a CPU that holds the model in float32; to multiply in bfloat16, hold it so \
                           (`model.dtype = \"bfloat16\"`, or `--dtype bfloat16`)";

/// As [`check_precision`], of a model that is loaded: whether its linears are in fewer bits may be up to its
/// files.
pub(super) fn check_rounded(model: &Decoder) -> Result<(), TrainError> {
    let mut rounded = !runs_kernels(&Tensor::<1>::zeros([1], &model.device()));
    model.visit_projections(&mut |_, _, projection| {
        rounded |= match projection.linear() {
            BaseLinear::Dense(linear) => linear.weight.val().dtype() != DType::F32,
            BaseLinear::Quantized(_) => true,
        };
    });
    match precision() {
        Precision::Bf16 if !rounded => {
            Err(TrainError::value("precision", Precision::Bf16, HELD_IN_F32))
        }
        _ => Ok(()),
    }
}
