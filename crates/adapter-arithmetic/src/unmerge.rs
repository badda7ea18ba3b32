use std::collections::BTreeSet;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use moe_adapter::{Adaptable, AdaptedLinear, AdapterError, Projection, load_named_state};

use crate::{ArithmeticError, MergeRecord};

/// Takes out of a model what merging put in; returns how many linears have their weights back.
///
/// `W = (W' - B A - c I) o 1 / g` in f32, so that a weight comes back up to rounding; what is
/// recorded as it was comes back so.
///
/// # Errors
///
/// [`ArithmeticError::MergeRecord`] when the record is of another model, and
/// [`AdapterError::MissingTensor`] when it lacks what a parameter was. The model is then unchanged.
pub fn unmerge_adapters<M>(model: &mut M, record: &MergeRecord) -> Result<usize, ArithmeticError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    let refused =
        |name: &str, found: String| ArithmeticError::MergeRecord { name: name.into(), found };
    if let Some(name) = record.replaced.iter().find(|name| !record.base.contains_key(*name)) {
        return Err(AdapterError::MissingTensor {
            origin: "the record of the merge".into(),
            name: name.clone(),
            nearest: Vec::new(),
        }
        .into());
    }
    let mut undone = model.clone();
    let of_parameter = |path: &String| path.ends_with(".gate_up_proj") && undone.is_of_expert(path);
    if record.updates.keys().any(of_parameter) {
        undone.fuse_experts()?;
    }
    let mut left: BTreeSet<&String> = record.updates.keys().collect();
    let mut failed = None;
    let mut whole = record.base.clone();
    undone.visit_projections_mut(&mut |path, _, projection| {
        let Some(update) = record.updates.get(path) else { return };
        left.remove(&path.to_owned());
        let linear = projection.linear();
        let [in_features, out_features] = linear.dims();
        let fits = update.factors.as_ref().is_none_or(|(a, b)| {
            a.dims() == [b.dims()[1], in_features] && b.dims()[0] == out_features
        }) && [&update.scale, &update.bias_scale]
            .into_iter()
            .flatten()
            .all(|scale| scale.dims() == [out_features])
            && (update.identity == 0.0 || in_features == out_features);
        if !fits {
            let found = format!("its weight is [{out_features}, {in_features}]");
            failed.get_or_insert(refused(path, found));
            return;
        }
        let mut linear = update.undo(linear);
        let device = linear.weight.val().device();
        if let Some(weight) = whole.remove(&format!("{path}.weight")) {
            if weight.shape().as_slice() != [out_features, in_features] {
                let found = format!("its weight is [{out_features}, {in_features}]");
                failed.get_or_insert(refused(path, found));
                return;
            }
            let dtype = linear.weight.val().dtype();
            let weight = Tensor::<2>::from_data(weight, &device).transpose().cast(dtype);
            linear.weight = Param::from_tensor(weight).no_grad();
        }
        projection.replace_linear(linear);
    });
    if let Some(name) = left.first() {
        failed.get_or_insert(refused(name, "the model has no such linear".into()));
    }
    if let Some(error) = failed {
        return Err(error);
    }
    load_named_state(&mut undone, whole, "the record of the merge")?;
    *model = undone.no_grad();
    Ok(record.updates.len())
}
