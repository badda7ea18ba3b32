use moe_adapter::{GatedFeedForward, Projection};

use crate::LlamaConfig;
use crate::parameters::ParameterSource;

/// The feed-forward block of a layer.
pub(super) fn build<P: Projection, S: ParameterSource>(
    config: &LlamaConfig,
    path: &str,
    source: &mut S,
) -> Result<GatedFeedForward<P>, S::Error> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let mut linear = |name: &str, inputs, outputs| {
        let path = format!("{path}.{name}");
        source.linear(&path, inputs, outputs, config.mlp_bias).map(P::from_linear)
    };
    Ok(GatedFeedForward::new(
        linear("gate_proj", hidden, inner)?,
        linear("up_proj", hidden, inner)?,
        linear("down_proj", inner, hidden)?,
    ))
}
