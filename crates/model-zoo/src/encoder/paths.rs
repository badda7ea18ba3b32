use moe_adapter::Projection;
use router::Site;

use super::{Mlp, SelfAttention};

/// Where the projections of an encoder are, as Hugging Face checkpoints name them.
#[derive(Debug)]
pub(crate) struct EncoderPaths {
    /// The list of layers.
    pub(crate) layers: &'static str,
    /// Queries, keys, values and output of attention, inside a layer.
    pub(crate) attention: [&'static str; 4],
    /// The two linears of the feed-forward block, inside a layer.
    pub(crate) mlp: [&'static str; 2],
}

impl EncoderPaths {
    fn all(&self) -> impl Iterator<Item = &'static str> {
        self.attention.into_iter().chain(self.mlp)
    }
}

/// Visits the projections of all layers in the order of the forward pass.
pub(crate) fn visit_layers<'a, P: Projection + 'a>(
    paths: &EncoderPaths,
    layers: impl Iterator<Item = (&'a SelfAttention<P>, &'a Mlp<P>)>,
    visit: &mut dyn FnMut(&str, Site, &P),
) {
    for (i, (attention, mlp)) in layers.enumerate() {
        let projections = attention.projections().into_iter().chain(mlp.projections());
        for (path, projection) in paths.all().zip(projections) {
            visit(&format!("{}.{i}.{path}", paths.layers), Site::new(i, path), projection);
        }
    }
}

/// As [`visit_layers`], to change them.
pub(crate) fn visit_layers_mut<'a, P: Projection + 'a>(
    paths: &EncoderPaths,
    layers: impl Iterator<Item = (&'a mut SelfAttention<P>, &'a mut Mlp<P>)>,
    visit: &mut dyn FnMut(&str, Site, &mut P),
) {
    for (i, (attention, mlp)) in layers.enumerate() {
        let projections = attention.projections_mut().into_iter().chain(mlp.projections_mut());
        for (path, projection) in paths.all().zip(projections) {
            visit(&format!("{}.{i}.{path}", paths.layers), Site::new(i, path), projection);
        }
    }
}
