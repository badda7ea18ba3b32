use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::cast;
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

use super::is_empty;
use super::launch::beside;
use crate::Precision;

/// The routine of a product, and the type that its factors are given in.
///
/// Routines with matrix units take f32 as TF32 wherever a device has it; those with plain units never
/// do.
fn plan(precision: Precision) -> (Strategy, DType) {
    match precision {
        Precision::F32 => {
            (multi_level::Strategy::SimpleUnit(Default::default()).into(), DType::F32)
        }
        Precision::Tf32 => (Strategy::Auto, DType::F32),
        Precision::Bf16 => (Strategy::Auto, DType::BF16),
    }
}

/// `a b`, `[.., M, K]` and `[.., K, N]` with equal axes before, to f32.
pub(super) fn product(a: CubeTensor, b: CubeTensor, precision: Precision) -> CubeTensor {
    let (rows, columns) = (a.shape(), b.shape());
    let rank = rows.num_dims();
    let mut dims: Vec<usize> = rows.iter().copied().collect();
    dims[rank - 1] = columns[rank - 1];
    let out = beside(&a, Shape::from(dims));
    if is_empty(&out) || rows[rank - 1] == 0 {
        return out;
    }
    let (strategy, dtype) = plan(precision);
    let [a, b] = [a, b].map(|factor| match factor.dtype == dtype {
        true => factor,
        false => cast(factor, dtype),
    });
    let launched = launch(&strategy, &a, &b, &out)
        .or_else(|_| launch(&multi_level::Strategy::Naive.into(), &a, &b, &out));
    if let Err(error) = launched {
        // The naive routine has no conditions.
        panic!("no product of {:?} and {:?}: {error:?}", a.shape(), b.shape());
    }
    out
}

fn launch(
    strategy: &Strategy,
    a: &CubeTensor,
    b: &CubeTensor,
    out: &CubeTensor,
) -> Result<(), cubek::matmul::definition::MatmulSetupError> {
    let element = |tensor: &CubeTensor| dtype_to_storage_type(tensor.dtype);
    let globals = MatmulGlobalElems { lhs: element(a), rhs: element(b), out: element(out) };
    let mut elements = MatmulElems::from_globals(&globals);
    launch_ref(
        strategy,
        &out.client,
        InputBinding::new(a.clone().binding(), element(a)),
        InputBinding::new(b.clone().binding(), element(b)),
        out.clone().binding(),
        &mut elements,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_takes_no_matrix_units_and_each_precision_its_own_type() {
        let named = |precision| {
            let (strategy, dtype) = plan(precision);
            (strategy.to_string(), dtype)
        };
        assert!(named(Precision::F32).0.starts_with("matmul_simple_unit"));
        assert_eq!(named(Precision::F32).1, DType::F32);
        assert_eq!(named(Precision::Tf32), ("matmul_auto".to_owned(), DType::F32));
        assert_eq!(named(Precision::Bf16), ("matmul_auto".to_owned(), DType::BF16));
    }
}
