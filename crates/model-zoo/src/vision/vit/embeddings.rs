use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::VitConfig;
use crate::parameters::{ParameterSource, Start};
use crate::vision::PatchEmbedding;
use crate::vision::patches::with_class_token;

/// The class token and the patches of an image, with their positions.
#[derive(Module, Debug)]
pub struct VitEmbeddings {
    /// `[1, 1, H]`.
    pub cls_token: Param<Tensor<3>>,
    /// `[1, positions, H]`.
    pub position_embeddings: Param<Tensor<3>>,
    /// From pixels to vectors.
    pub patch_embeddings: VitPatchEmbeddings,
}

/// The patches, under the name that they have in checkpoints.
#[derive(Module, Debug)]
pub struct VitPatchEmbeddings {
    /// From pixels to vectors.
    pub projection: PatchEmbedding,
}

impl VitEmbeddings {
    pub(super) fn build<S: ParameterSource>(
        config: &VitConfig,
        path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, p) = (config.hidden_size, config.patch_size);
        let mut tensor =
            |name: &str, shape| source.tensor(&format!("{path}.{name}"), shape, Start::Normal);
        let cls_token = tensor("cls_token", [1, 1, hidden])?;
        let position_embeddings =
            tensor("position_embeddings", [1, config.num_positions(), hidden])?;
        let path = format!("{path}.patch_embeddings.projection");
        let shape = [hidden, config.num_channels, p, p];
        let projection = PatchEmbedding::build(&path, shape, true, source)?;
        let patch_embeddings = VitPatchEmbeddings { projection };
        Ok(Self { cls_token, position_embeddings, patch_embeddings })
    }

    /// `[B, C, H, W]` to `[B, positions, H]`.
    pub(super) fn forward(&self, pixel_values: Tensor<4>) -> Tensor<3> {
        let patches = self.patch_embeddings.projection.forward(pixel_values);
        with_class_token(patches, self.cls_token.val(), self.position_embeddings.val())
    }
}
