use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use model_zoo::{CausalLm, KvCache, TokenInput};
use moe_adapter::{RowAdapters, RowGroup};
use router::RoutingTape;

use super::{Adapter, LayerRouting};

/// The rows of a pass: of each, what it has in place of the base model.
pub(super) struct PassRow<'a> {
    /// Its adapter.
    pub(super) adapter: Option<&'a Arc<Adapter>>,
}

/// What a pass computed.
pub(super) struct Passed {
    /// `[B, S, H]`.
    pub(super) hidden: Tensor<3>,
    /// For each row where its routings are in the records of the tape: the number of its group,
    /// and its number there.
    groups: Vec<(usize, usize)>,
    tape: RoutingTape,
    seq_len: usize,
    sizes: Vec<usize>,
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
    let seq_len = context.seq_len;
    // In the order of the numbers of adapters; those that are alone each for itself.
    let mut by_adapter: BTreeMap<(Option<u64>, usize), Vec<usize>> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        let alone = row.adapter.is_some_and(|adapter| adapter.is_alone());
        let own = if alone { i } else { usize::MAX };
        by_adapter.entry((row.adapter.map(|adapter| adapter.number), own)).or_default().push(i);
    }
    let mut places = vec![(0, 0); rows.len()];
    let mut sizes = Vec::new();
    let mut groups = Vec::new();
    for (number, members) in by_adapter.into_values().enumerate() {
        for (at, row) in members.iter().enumerate() {
            places[*row] = (number, at);
        }
        sizes.push(members.len());
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
    Passed { hidden, groups: places, tape, seq_len, sizes }
}

/// Of each layer how many routings were added up, and the sums of the experts' weights.
type ByLayer = BTreeMap<usize, (usize, Vec<f32>)>;

impl Passed {
    /// The scores after position `at` of every row, `B * V` numbers.
    pub(super) fn logits_at<M: CausalLm>(&self, model: &M, at: usize) -> Vec<f32> {
        floats(model.logits(self.hidden.clone().narrow(1, at, 1)))
    }

    /// How the experts were weighted at position `at` of each row that asks for it.
    pub(super) fn routings(&self, wanted: &[bool], at: usize) -> Vec<Option<Vec<LayerRouting>>> {
        let mut all: Vec<Option<ByLayer>> =
            wanted.iter().map(|wanted| wanted.then(ByLayer::new)).collect();
        for record in self.tape.records() {
            let members = self.groups.iter().enumerate().filter(|(row, (group, _))| {
                *group == record.group && wanted.get(*row) == Some(&true)
            });
            let members: Vec<(usize, usize)> = members.map(|(row, (_, own))| (row, *own)).collect();
            if members.is_empty() {
                continue;
            }
            let experts = record.routing.num_experts();
            let rows = self.sizes[record.group];
            let weights = record.routing.weights.clone();
            let weights = weights.reshape([rows, self.seq_len, experts]).narrow(1, at, 1);
            let weights = floats(weights);
            for (row, own) in members {
                let Some(layers) = &mut all[row] else { continue };
                let (count, sums) =
                    layers.entry(record.site.layer).or_insert_with(|| (0, vec![0.0; experts]));
                // A layer whose linears have different numbers of experts has the first one's.
                if sums.len() == experts {
                    *count += 1;
                    let own = &weights[own * experts..][..experts];
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

/// A batch `[B, S]` of rows of equal length.
pub(super) fn input(rows: &[&[u32]], device: &Device) -> TokenInput {
    let len = rows.first().map_or(0, |row| row.len());
    let ids: Vec<i64> = rows.iter().flat_map(|row| row.iter().map(|id| i64::from(*id))).collect();
    let data = TensorData::new(ids, [rows.len(), len]);
    TokenInput::new(Tensor::<2, Int>::from_data(data, device))
}
