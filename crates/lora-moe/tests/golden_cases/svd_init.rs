use lora_moe::burn::tensor::Tensor;
use lora_moe::svd_init::{
    BankShape, ExpertInit, GoatConfig, InitConfig, LayerStatistics, PrincipalConfig, SvdMethod,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Case, Results};

/// Starts from singular triplets: `out.product` is `B_e A_e`, without the scaling, and
/// `out.residual` the frozen weight that is left, both `[out, in]`.
pub fn compute(case: &Case) -> Result<Results, String> {
    let device = case.device();
    let weight: Tensor<2> = case.float("w.weight", &device)?;
    let [out_features, in_features] = weight.dims();
    let num_experts = whole(case, "experts")?;
    let rank = whole(case, "rank_total")? / num_experts;
    let scaling = case.number("scaling")?;
    let shape = BankShape { num_experts, rank, in_features, out_features, scaling };

    let rho = case.number("rho")?;
    let init_cof = Some(case.number("residual_coef")?);
    let svd = SvdMethod::Full;
    let principal = PrincipalConfig { rho: Some(rho), init_cof, svd, ..PrincipalConfig::default() };
    let goat = GoatConfig { rho, init_cof, ..GoatConfig::default() };
    let init = match case.text("kind")? {
        "pissa" => InitConfig::Pissa(principal),
        "milora" => InitConfig::Milora(principal),
        "pissa_milora" => InitConfig::PissaMilora(principal),
        "goat" => InitConfig::Goat(goat),
        "goat_mini" => InitConfig::GoatMini(goat),
        other => return Err(format!("unknown kind `{other}`")),
    };
    let rng = &mut ChaCha8Rng::seed_from_u64(0);
    let start = init
        .start(&weight.clone().transpose(), &shape, &LayerStatistics::default(), rng)
        .map_err(|error| error.to_string())?;

    let product = start.lora_b.matmul(start.lora_a);
    let sum: Tensor<2> = product.clone().sum_dim(0).squeeze_dim(0);
    let coefficient = start.residual_coefficient.ok_or("the start leaves no residual")?;
    let residual = weight - sum * (coefficient * scaling);
    Ok(vec![("out.product", floats(product)), ("out.residual", floats(residual))])
}

fn whole(case: &Case, key: &str) -> Result<usize, String> {
    let number = case.number(key)?;
    if number.fract() != 0.0 || number < 1.0 {
        return Err(format!("`{key}` is {number}"));
    }
    Ok(number as usize)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
