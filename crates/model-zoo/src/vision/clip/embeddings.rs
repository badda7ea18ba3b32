use burn::module::{Module, Param};
use burn::nn::Embedding;
use burn::tensor::Tensor;

use super::ClipVisionConfig;
use crate::parameters::{ParameterSource, Start};
use crate::vision::PatchEmbedding;
use crate::vision::patches::with_class_token;

/// The class token and the patches of an image, with their positions.
#[derive(Module, Debug)]
pub struct ClipVisionEmbeddings {
    /// `[H]`.
    pub class_embedding: Param<Tensor<1>>,
    /// From pixels to vectors.
    pub patch_embedding: PatchEmbedding,
    /// `[positions, H]`.
    pub position_embedding: Embedding,
}

impl ClipVisionEmbeddings {
    pub(super) fn build<S: ParameterSource>(
        config: &ClipVisionConfig,
        path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, p) = (config.hidden_size, config.patch_size);
        let name = format!("{path}.class_embedding");
        let class_embedding = source.tensor(&name, [hidden], Start::Normal)?;
        let name = format!("{path}.patch_embedding");
        let shape = [hidden, config.num_channels, p, p];
        let patch_embedding = PatchEmbedding::build(&name, shape, false, source)?;
        let name = format!("{path}.position_embedding");
        let position_embedding = source.embedding(&name, config.num_positions(), hidden)?;
        Ok(Self { class_embedding, patch_embedding, position_embedding })
    }

    /// `[B, C, H, W]` to `[B, positions, H]`.
    pub(super) fn forward(&self, pixel_values: Tensor<4>) -> Tensor<3> {
        let patches = self.patch_embedding.forward(pixel_values);
        let class = self.class_embedding.val().unsqueeze();
        with_class_token(patches, class, self.position_embedding.weight.val().unsqueeze())
    }
}
