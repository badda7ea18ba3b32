use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{CausalLm, KvCache, TokenInput};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use moe_adapter::{RowAdapters, RowGroup};
use router::RoutingTape;

use super::{Adapter, LayerRouting};

/// A row of a pass.
#[derive(Clone, Copy)]
pub(super) struct PassRow<'a> {
    /// What it has in place of the base model.
    pub(super) adapter: Option<&'a Arc<Adapter>>,
    /// Whose it is.
    pub(super) own: usize,
}

/// What a pass computed.
pub(super) struct Passed {
    /// `[B * S, H]`.
    pub(super) hidden: Tensor<2>,
    /// For each row where its routings are in the records of the tape: the number of its group,
    /// and its number there.
    groups: Vec<(usize, usize)>,
    tape: RoutingTape,
    seq_len: usize,
}

/// One copy of the base model for rows of any adapters.
pub(super) fn pass<M: CausalLm>(
    model: &M,
    rows: &[PassRow<'_>],
    input: &TokenInput,
    cache: &mut KvCache,
    record: bool,
    device: &Device,
) -> Passed {
    let context = input.context();
    // In the order of the numbers of adapters; those that are alone each for itself.
    let mut by_adapter: BTreeMap<(Option<u64>, usize), Vec<usize>> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        let alone = row.adapter.is_some_and(|adapter| adapter.is_alone());
        let own = if alone { row.own } else { usize::MAX };
        by_adapter.entry((row.adapter.map(|adapter| adapter.number), own)).or_default().push(i);
    }
    let mut places = vec![(0, 0); rows.len()];
    let mut groups = Vec::new();
    for (number, members) in by_adapter.into_values().enumerate() {
        for (at, row) in members.iter().enumerate() {
            places[*row] = (number, at);
        }
        let adapter = rows[members[0]].adapter.map(|adapter| Arc::clone(&adapter.layers));
        groups.push(RowGroup { rows: members, adapter });
    }
    let adapted = groups.iter().any(|group| group.adapter.is_some());
    let mut tape = match record && adapted {
        true => RoutingTape::recording(context),
        false => RoutingTape::new(context),
    };
    if adapted {
        let rows = RowAdapters::new(groups, tape.context(), device);
        tape = tape.with_carried(Arc::new(rows));
    }
    let hidden = model.hidden_states(input, Some(cache), &mut tape);
    let [batch, seq_len, size] = hidden.dims();
    let hidden = hidden.reshape([batch * seq_len, size]);
    Passed { hidden, groups: places, tape, seq_len }
}

/// Of each layer how many routings were added up, and the sums of the experts' weights.
type ByLayer = BTreeMap<usize, (usize, Vec<f32>)>;

impl Passed {
    /// How the experts were weighted at the places asked for: rows, and positions in them.
    pub(super) fn routings(
        &self,
        places: &[Option<(usize, usize)>],
    ) -> Vec<Option<Vec<LayerRouting>>> {
        let mut all: Vec<Option<ByLayer>> =
            places.iter().map(|place| place.map(|_| ByLayer::new())).collect();
        for record in self.tape.records() {
            let in_group = |place: &Option<(usize, usize)>| {
                let (row, at) = (*place)?;
                let (group, own) = self.groups[row];
                (group == record.group).then_some((own, at))
            };
            let members: Vec<_> = places.iter().map(in_group).collect();
            if members.iter().all(Option::is_none) {
                continue;
            }
            let experts = record.routing.num_experts();
            let weights = floats(record.routing.weights.clone());
            for (place, layers) in members.into_iter().zip(&mut all) {
                let (Some((own, at)), Some(layers)) = (place, layers) else { continue };
                let (count, sums) =
                    layers.entry(record.site.layer).or_insert_with(|| (0, vec![0.0; experts]));
                // A layer whose linears have different numbers of experts has the first one's.
                if sums.len() == experts {
                    *count += 1;
                    let own = &weights[(own * self.seq_len + at) * experts..][..experts];
                    sums.iter_mut().zip(own).for_each(|(sum, weight)| *sum += weight);
                }
            }
        }
        let means = |(layer, (count, sums)): (usize, (usize, Vec<f32>))| LayerRouting {
            layer,
            weights: sums.into_iter().map(|sum| sum / count as f32).collect(),
        };
        all.into_iter()
            .map(|layers| layers.map(|all| all.into_iter().map(means).collect()))
            .collect()
    }
}

/// The numbers of a tensor.
pub(super) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().convert_dtype(DType::F32);
    data.try_to_vec().unwrap_or_else(|_| data.iter().collect())
}

/// A batch of tokens, `[B, S]`.
pub(super) fn input(tokens: &[u32], shape: [usize; 2], device: &Device) -> TokenInput {
    let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
    let data = TensorData::new(ids, shape);
    TokenInput::new(Tensor::<2, Int>::from_data(data, device))
}
