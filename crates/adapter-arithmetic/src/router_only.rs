use burn::module::Module;
use moe_adapter::{Adaptable, AdaptedLinear, AdaptedProjection, MoeAdapter, trainable_parameters};

use crate::ArithmeticError;

/// Freezes the experts of an adapted model, so that only its routers are trained; returns how many
/// numbers those have.
///
/// # Errors
///
/// [`ArithmeticError::CannotCombine`] when the routers have no parameters, or parameters of the base
/// model are trained as a whole. The model is then unchanged.
pub fn train_router_only<M>(model: &mut M) -> Result<usize, ArithmeticError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    let mut frozen = model.clone();
    let mut of_routers = 0;
    frozen.visit_projections_mut(&mut |_, _, projection| {
        if let Some(adapter) = projection.replace_adapter(None) {
            of_routers += adapter.router.as_ref().map_or(0, trainable_parameters);
            let MoeAdapter { router, experts, start } = adapter;
            let adapter = MoeAdapter { router, experts: experts.no_grad(), start };
            projection.replace_adapter(Some(adapter));
        }
    });
    frozen.visit_blocks(&mut |_, _, block| {
        of_routers += block.router.as_ref().map_or(0, trainable_parameters);
    });
    of_routers += frozen.model_router().map_or(0, trainable_parameters);
    let refused = |reason: &str| ArithmeticError::CannotCombine {
        what: "training the router only".into(),
        reason: reason.into(),
    };
    if of_routers == 0 {
        return Err(refused("no router of the adapter has parameters"));
    }
    if trainable_parameters(&frozen) != of_routers {
        return Err(refused(
            "parameters of the base model are trained as a whole (`bias`, `modules_to_save`, \
             `trainable_token_indices`)",
        ));
    }
    *model = frozen;
    Ok(of_routers)
}
