use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use fused_ops::each_part;
use lora_expert::{AnyBank, BaseLinear, ExpertBank};
use router::{AnyRouter, BatchContext, Router, RoutingTape, Site};

use crate::{AdaptedLinear, AdapterLayers, FeedForwardPaths, GatedFeedForward, Projection};

/// Which adapter each row of a batch has, for a pass over a model without adapters: a
/// [`RoutingTape`] carries it to the layers.
///
/// The frozen linears are computed for all rows at once; rows are grouped by their adapter only
/// for what the adapters add. A feed-forward block that a group routes as one is computed for that
/// group alone.
#[derive(Debug)]
pub struct RowAdapters<R: Router = AnyRouter, E: ExpertBank = AnyBank> {
    groups: Vec<Rows<R, E>>,
    /// Where each row of the batch is in the groups one after the other, `[B]`; `None` where they
    /// are in its order.
    places: Option<Tensor<1, Int>>,
}

/// Rows of a batch that have one adapter, or none.
#[derive(Debug, Clone)]
pub struct RowGroup<R: Router = AnyRouter, E: ExpertBank = AnyBank> {
    /// The indices of the rows.
    pub rows: Vec<usize>,
    /// What they have.
    pub adapter: Option<Arc<AdapterLayers<R, E>>>,
}

/// A group, with what is the same in all layers.
#[derive(Debug)]
struct Rows<R: Router, E: ExpertBank> {
    number: usize,
    /// The rows, where they follow each other.
    range: Option<Range<usize>>,
    /// `[n]`.
    indices: Tensor<1, Int>,
    context: BatchContext,
    adapter: Option<Arc<AdapterLayers<R, E>>>,
}

impl<R: Router, E: ExpertBank> RowAdapters<R, E> {
    /// The rows of the batch that `context` describes; each is in one group. Groups are numbered in
    /// the order given.
    ///
    /// # Panics
    ///
    /// When a row is in no group, or in several.
    pub fn new(groups: Vec<RowGroup<R, E>>, context: &BatchContext, device: &Device) -> Self {
        let order: Vec<usize> = groups.iter().flat_map(|group| group.rows.clone()).collect();
        let mut places = vec![None; context.batch_size];
        for (place, row) in order.iter().enumerate() {
            assert!(places[*row].replace(place).is_none(), "row {row} is in several groups");
        }
        let places: Vec<i64> =
            places.iter().map(|place| place.expect("each row is in a group") as i64).collect();
        let indices = |rows: Vec<i64>| {
            let shape = [rows.len()];
            Tensor::<1, Int>::from_data(TensorData::new(rows, shape), device)
        };
        let in_order = places.iter().enumerate().all(|(i, place)| i as i64 == *place);
        let groups = groups.into_iter().enumerate().map(|(number, RowGroup { rows, adapter })| {
            let first = rows.first().copied().unwrap_or(0);
            let follow = rows.iter().enumerate().all(|(i, row)| *row == first + i);
            let range = follow.then(|| first..first + rows.len());
            let indices = indices(rows.iter().map(|row| *row as i64).collect());
            let context = context.select(&indices);
            Rows { number, range, indices, context, adapter }
        });
        Self { groups: groups.collect(), places: (!in_order).then(|| indices(places)) }
    }

    /// The output of a linear, `[B, S, I]` to `[B, S, O]`.
    pub(crate) fn forward(
        &self,
        base: &BaseLinear,
        x: Tensor<3>,
        site: Site,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let y = base.forward(x.clone());
        if self.groups.iter().all(|group| group.layer(site).is_none()) {
            return y;
        }
        self.each_group(&x, tape, |group, tape| {
            group.onto(base, group.take(&y), || group.take(&x), site, tape)
        })
    }

    /// The output of a block, `[B, S, H]`, where a group routes it as one.
    pub(crate) fn forward_block(
        &self,
        block: &GatedFeedForward<AdaptedLinear<R, E>>,
        x: &Tensor<3>,
        layer: usize,
        paths: &FeedForwardPaths,
        tape: &mut RoutingTape,
    ) -> Option<Tensor<3>> {
        let site = |module| Site::new(layer, module);
        let router = |group: &Rows<R, E>| {
            group.adapter.as_ref().and_then(|adapter| adapter.block(site(paths.block))).cloned()
        };
        if self.groups.iter().all(|group| router(group).is_none()) {
            return None;
        }
        let output = self.each_group(x, tape, |group, tape| {
            let x = group.take(x);
            match (&group.adapter, router(group)) {
                (Some(adapter), Some(router)) => {
                    let of = |projection: &AdaptedLinear<R, E>, path| {
                        adapter.adapted(projection.linear(), site(path))
                    };
                    let own = GatedFeedForward {
                        gate_proj: of(&block.gate_proj, paths.gate_proj),
                        up_proj: of(&block.up_proj, paths.up_proj),
                        down_proj: of(&block.down_proj, paths.down_proj),
                        router: Some(router),
                        activation: block.activation,
                    };
                    own.forward(x, layer, paths, tape)
                }
                _ => {
                    let mut of = |projection: &AdaptedLinear<R, E>, x: Tensor<3>, path| {
                        let base = projection.linear();
                        let y = base.forward(x.clone());
                        group.onto(base, y, || x, site(path), tape)
                    };
                    let gate = of(&block.gate_proj, x.clone(), paths.gate_proj);
                    let up = of(&block.up_proj, x, paths.up_proj);
                    of(&block.down_proj, block.activation.gate(gate, up), paths.down_proj)
                }
            }
        });
        Some(output)
    }

    /// What is computed of each group, with a tape of its own, in the order of the batch.
    fn each_group(
        &self,
        x: &Tensor<3>,
        tape: &mut RoutingTape,
        compute: impl Fn(&Rows<R, E>, &mut RoutingTape) -> Tensor<3> + Send + Sync,
    ) -> Tensor<3> {
        let all = &*tape;
        let parts = each_part(x, self.groups.iter().collect(), |group: &Rows<R, E>| {
            let mut own = all.of_group(group.number, group.context.clone());
            let y = compute(group, &mut own);
            (y, own)
        });
        let (parts, tapes): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        tapes.iter().for_each(|own| tape.append(own));
        self.together(parts)
    }

    /// What was computed by groups, in the order of the batch.
    fn together(&self, mut parts: Vec<Tensor<3>>) -> Tensor<3> {
        let all = match parts.len() {
            1 => parts.remove(0),
            _ => Tensor::cat(parts, 0),
        };
        match &self.places {
            None => all,
            Some(places) => all.select(0, places.clone()),
        }
    }
}

impl<R: Router, E: ExpertBank> Rows<R, E> {
    fn layer(&self, site: Site) -> Option<&crate::layers::AdapterLayer<R, E>> {
        self.adapter.as_ref()?.layer(site)
    }

    /// The group's rows of `[B, ..]`.
    fn take(&self, batch: &Tensor<3>) -> Tensor<3> {
        match &self.range {
            Some(range) if range.len() == batch.dims()[0] => batch.clone(),
            Some(range) => batch.clone().narrow(0, range.start, range.len()),
            None => batch.clone().select(0, self.indices.clone()),
        }
    }

    /// The output of the group's rows with what its adapter adds to a linear.
    fn onto(
        &self,
        base: &BaseLinear,
        base_output: Tensor<3>,
        x: impl FnOnce() -> Tensor<3>,
        site: Site,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        match self.layer(site) {
            None => base_output,
            Some(layer) => layer.forward(base, base_output, x(), site, tape),
        }
    }
}
