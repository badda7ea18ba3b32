use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Int, Tensor, TensorData};
use fused_ops::{Precision, matmul, precision};

/// What a start took out of the frozen weight, kept so that an adapter can be put on the base
/// model again without repeating the start.
///
/// `W_res = W - c sum_e s_e B_e A_e` with the first values of the experts. The factors are as small
/// as the experts; the residual is never stored.
#[derive(Module, Debug)]
pub struct StartFactors {
    /// The first values of `A`, `[E, r, I]`.
    pub lora_a: Param<Tensor<3>>,
    /// The first values of `B`, with the coefficient and the scaling of each expert in it,
    /// `c s_e B_e`, `[E, O, r]`.
    pub lora_b: Param<Tensor<3>>,
    /// The digest of the weight that they were taken out of, `[2]`: its upper and its lower half.
    pub base_digest: Param<Tensor<1, Int>>,
}

impl StartFactors {
    /// The factors of a start on the weight `base`, `[I, O]`. `scaled_b` is `c s_e B_e`.
    pub fn new(lora_a: Tensor<3>, scaled_b: Tensor<3>, base: &Tensor<2>) -> Self {
        let digest = digest_halves(svd_init::weight_digest(base));
        let digest = TensorData::new(digest.to_vec(), [2]);
        Self {
            base_digest: Param::initialized(
                ParamId::new(),
                Tensor::from_data(digest, (&base.device(), DType::I32)),
            ),
            lora_a: Param::from_tensor(lora_a).no_grad(),
            lora_b: Param::from_tensor(scaled_b).no_grad(),
        }
    }

    /// Whether `base` is the weight that the factors were taken out of.
    pub fn fits(&self, base: &Tensor<2>) -> bool {
        let digest = digest_halves(svd_init::weight_digest(base));
        let kept: Vec<i32> = self.base_digest.val().into_data().iter::<i32>().collect();
        kept == digest
    }

    /// `W_res`, `[I, O]`. Of a weight in a half type it is f32, for a half type would round away part of what
    /// was taken out; where products with frozen weights round to bfloat16 in any case
    /// ([`Precision::Bf16`]), it is of the type of the weight.
    pub fn residual(&self, base: Tensor<2>) -> Tensor<2> {
        let held = match precision() {
            Precision::Bf16 => base.dtype(),
            Precision::F32 | Precision::Tf32 => DType::F32,
        };
        self.added(base, -1.0).cast(held)
    }

    /// `W`, `[I, O]`, from `W_res`, up to rounding.
    pub fn base(&self, residual: Tensor<2>) -> Tensor<2> {
        let dtype = residual.dtype();
        self.added(residual, 1.0).cast(dtype)
    }

    /// The factors of all experts in one, `A` `[E r, I]` and `c s_e B_e` `[O, E r]`, in f32.
    pub fn stacked(&self) -> (Tensor<2>, Tensor<2>) {
        let [experts, rank, in_features] = self.lora_a.dims();
        let out_features = self.lora_b.dims()[1];
        let a = self.lora_a.val().reshape([experts * rank, in_features]);
        let b = self.lora_b.val().swap_dims(1, 2).reshape([experts * rank, out_features]);
        (a.cast(DType::F32), b.transpose().cast(DType::F32))
    }

    fn added(&self, weight: Tensor<2>, sign: f64) -> Tensor<2> {
        let (a, b) = self.stacked();
        let product = matmul(a.transpose(), b.transpose());
        weight.cast(DType::F32) + product * sign
    }
}

fn digest_halves(digest: u64) -> [i32; 2] {
    [(digest >> 32) as u32 as i32, digest as u32 as i32]
}
