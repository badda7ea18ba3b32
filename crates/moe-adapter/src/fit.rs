use burn::tensor::{Device, Int, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use router::{BatchContext, Router, RoutingTape, Site};

use crate::plan::Plan;
use crate::{Adaptable, AdaptedLinear, AdapterConfig, AdapterError, LayerSizes, Projection};

/// Whether a model with this adapter could make a training step, from the shapes of its linears alone: the
/// configuration fits the model, and the routers give the balance loss what it is about. No weight is read. Nothing is
/// said of `target_parameters`, for which the model's experts have to be put together first.
///
/// # Errors
///
/// [`AdapterError`] naming the key that cannot work, or does not fit the model.
pub fn check_fit<M>(model: &M, config: &AdapterConfig) -> Result<(), AdapterError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    if config.target_parameters.is_some() {
        return config.check();
    }
    let plan = Plan::new(model, config)?;
    check_balance(model, config, &plan)
}

/// Two tokens of zeros through each router, and the balance loss of that.
pub(crate) fn check_balance<M>(
    model: &M,
    config: &AdapterConfig,
    plan: &Plan,
) -> Result<(), AdapterError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    let Some(loss) = &config.balance_loss else { return Ok(()) };
    if plan.decided.is_some() {
        return Ok(());
    }
    let loss = loss.init()?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut tape: Option<RoutingTape> = None;
    let mut failed = None;
    let mut route = |site: Site, inputs: usize, sizes: &LayerSizes, device: &Device| {
        let tape = tape.get_or_insert_with(|| {
            let types = Tensor::<1, Int>::ones([1], device);
            let context = BatchContext::new(1, 2).with_task_types(types).with_training(0);
            RoutingTape::recording(context)
        });
        match config.init_router(inputs, sizes, device, &mut rng) {
            Ok(router) => {
                let x = Tensor::zeros([2, inputs], device);
                let routing = router.route(x, &tape.context_at(site));
                tape.push_beside(sizes.shared_experts, site, &routing, Vec::new);
            }
            Err(error) => failed = Some(error),
        }
    };
    model.visit_projections(&mut |path, site, projection| {
        let linear = projection.linear();
        if let Some(sizes) = plan.sizes.get(path)
            && sizes.routed_experts() > 1
            && sizes.routes
        {
            route(site, linear.dims()[0], sizes, &linear.device());
        }
    });
    model.visit_blocks(&mut |path, site, block| {
        let linear = block.gate_proj.linear();
        if let Some(sizes) = plan.blocks.get(path) {
            route(site, linear.dims()[0], sizes, &linear.device());
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(tape) = &tape {
        loss.loss(tape)?;
    }
    Ok(())
}
