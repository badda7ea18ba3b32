//! Rows of different adapters in one batch.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use model_zoo::{CausalLm, Decoder, PaddingSide, TokenInput};
use moe_adapter::{AdapterLayers, Preset, RouterScope, RowAdapters, RowGroup, save_adapter};
use router::RoutingTape;
use serve::adapter_loader;

fn values(tensor: Tensor<3>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The presets that have experts, and need no statistics of a calibration.
fn presets() -> Vec<Preset> {
    let with_experts = |preset: &Preset| {
        let config = preset.config();
        // One that decides for the whole model from a first pass has no rows.
        let by_layer = config.router_scope != RouterScope::Model;
        config.has_experts() && !config.needs_statistics() && by_layer
    };
    Preset::ALL.into_iter().filter(with_experts).collect()
}

#[test]
fn an_adapter_with_a_router_of_the_whole_model_is_refused_by_name() {
    let (base, _) = support::model();
    let config = support::config(Preset::XLora);
    let adapted = support::adapted(&base, &config, 3);
    let folder = tempfile::tempdir().unwrap();
    save_adapter(&adapted, &config, None, folder.path()).unwrap();
    let error = adapter_loader(&base)(folder.path()).unwrap_err();
    assert!(error.contains("whole model") && error.contains("first pass"), "{error}");
}

#[test]
fn a_row_of_any_preset_is_computed_as_by_the_model_that_has_its_adapter() {
    let device = Device::flex();
    let (base, _) = support::model();
    let rows: Vec<Vec<u32>> = (0..3).map(|seed| support::prompt(seed, 9)).collect();
    let plain = |model: &Decoder, row: usize| {
        let input = TokenInput::from_sequences(&rows[row..row + 1], 0, PaddingSide::Left, &device);
        let mut tape = RoutingTape::recording(input.context());
        let hidden = values(model.hidden_states(&input, None, &mut tape));
        (hidden, tape)
    };
    let of_base = plain(&base, 1).0;
    let mut other: Option<Arc<AdapterLayers>> = None;
    for preset in presets() {
        let adapted = support::adapted(&base, &support::config(preset), 3);
        let layers = Arc::new(AdapterLayers::of(&adapted));
        let (expected, alone) = plain(&adapted, 0);
        // The rows are first that of the preset, then one of the base, then one of another preset.
        let input = TokenInput::from_sequences(&rows, 0, PaddingSide::Left, &device);
        let groups = vec![
            RowGroup { rows: vec![1], adapter: None },
            RowGroup { rows: vec![0], adapter: Some(Arc::clone(&layers)) },
            RowGroup { rows: vec![2], adapter: other.clone() },
        ];
        let carried = RowAdapters::new(groups, &input.context(), &device);
        let tape = RoutingTape::recording(input.context());
        let mut tape = tape.with_carried(Arc::new(carried));
        let all = values(base.hidden_states(&input, None, &mut tape));
        let size = all.len() / 3;
        let name = preset.name();
        let error = difference(&all[..size], &expected);
        assert!(error < 1e-4, "{name}: {error}");
        assert!(difference(&all[size..2 * size], &of_base) < 1e-4, "{name}: the base's row");
        assert!(difference(&expected, &plain(&base, 0).0) > 1e-2, "{name} does nothing");
        // The same routings, each under the number of its group.
        let own = tape.records().iter().filter(|record| record.group == 1);
        let own: Vec<_> = own.map(|record| (record.site, record.routing.weights.clone())).collect();
        assert_eq!(own.len(), alone.records().len(), "{name}");
        for ((site, weights), record) in own.into_iter().zip(alone.records()) {
            assert_eq!(site, record.site, "{name}");
            let weights = weights.into_data().try_to_vec::<f32>().unwrap();
            let expected = record.routing.weights.clone().into_data().try_to_vec::<f32>().unwrap();
            assert!(difference(&weights, &expected) < 1e-4, "{name} at {site}");
        }
        other = Some(layers);
    }
}
