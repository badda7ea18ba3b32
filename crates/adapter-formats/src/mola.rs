use lora_expert::DropoutMask;
use moe_adapter::{AdapterFiles, LayerSizes, Preset, StoredAdapter};
use router::{RouterConfig, TopKRouterConfig};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::common::{decoded, encoded, layer_of, num_layers, with_rank, write_lora};
use crate::keys::Keys;
use crate::layout::{Layout, Slot};
use crate::overlay::Overlay;
use crate::{AdapterFormat, FormatError};

const LAYOUT: Layout = Layout {
    prefix: "base_model.model.",
    root: "",
    slots: &[
        ("lora_A_{e}.weight", Slot::A),
        ("lora_B_{e}.weight", Slot::B),
        ("router.router.weight", Slot::Router),
    ],
    duplicates: &[],
    write_duplicates: false,
};

/// A number for every layer, or one for all.
#[derive(Deserialize)]
#[serde(untagged)]
enum ByLayer {
    One(usize),
    Each(Vec<usize>),
}

impl ByLayer {
    /// The number where it is the same for all, and the list where it is not.
    fn split(self) -> (usize, Option<Vec<usize>>) {
        match self {
            Self::One(value) => (value, None),
            Self::Each(values) => {
                let last = values.last().copied().unwrap_or(0);
                let same = values.iter().all(|value| *value == last);
                (last, (!same || values.is_empty()).then_some(values))
            }
        }
    }
}

pub(crate) fn decode(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let mut keys = Keys::of(raw);
    keys.passive(&["init_lora_weights"]);
    let (r, r_by_layer) = keys.required::<ByLayer>("r")?.split();
    let targets = keys.required("target_modules")?;
    let mut config = with_rank(&mut keys, r, targets)?;
    config.r_by_layer = r_by_layer;
    let (experts, experts_by_layer) = keys.required::<ByLayer>("number_experts")?.split();
    config.num_experts = experts;
    config.num_experts_by_layer = experts_by_layer;
    let (k, top_k_by_layer) = keys.required::<ByLayer>("top_k")?.split();
    config.router = RouterConfig::TopK(TopKRouterConfig { k, ..TopKRouterConfig::default() });
    config.top_k_by_layer = top_k_by_layer;
    config.balance_loss = Preset::MolaRectangle.config().balance_loss;
    if config.lora_dropout > 0.0 {
        config.dropout_mask = DropoutMask::PerExpert;
    }
    let by_layer = config.num_experts_by_layer.clone();
    let of_path = move |path: &str| match (&by_layer, layer_of(path)) {
        (Some(list), Some(layer)) => list.get(layer).copied().unwrap_or(experts),
        _ => experts,
    };
    decoded(raw, keys, config, &LAYOUT, AdapterFormat::Mola, &of_path)
}

pub(crate) fn encode(adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
    let config = &adapter.config;
    let layers = num_layers(adapter);
    let each = |of: &dyn Fn(&LayerSizes) -> usize| -> Value {
        let sizes = (0..layers).map(|layer| config.sizes(layer, layers));
        json!(sizes.map(|sizes| of(&sizes)).collect::<Vec<_>>())
    };
    let mut keys = Overlay::new(adapter, AdapterFormat::Mola);
    write_lora(&mut keys, adapter, "LORA", "");
    keys.set("r", each(&|sizes| sizes.total_rank));
    keys.set("number_experts", each(&|sizes| sizes.num_experts));
    if let RouterConfig::TopK(router) = &config.router {
        keys.set("top_k", each(&|sizes| sizes.top_k.unwrap_or(router.k)));
    }
    Ok(encoded(adapter, keys, &LAYOUT, AdapterFormat::Mola))
}
