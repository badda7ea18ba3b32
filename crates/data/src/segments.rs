use super::{DataError, Origin, TextEncoder};

/// Token ids under construction, piece by piece, with a mask that is exact at every boundary.
#[derive(Debug, Default)]
pub(super) struct Segments {
    pub ids: Vec<u32>,
    pub mask: Vec<bool>,
    pub splits: usize,
}

impl Segments {
    /// Appends `text`, cut at the byte offsets `cuts` (each with whether the piece that ends there
    /// is a target); what follows the last cut is left out.
    ///
    /// A piece's tokens are what encoding everything up to its end adds to the tokens before it.
    /// Where the tokenizer merges across the boundary, so that this is no continuation, the piece
    /// is encoded alone: generation continues from the prompt's own tokens and never sees such a
    /// merge.
    pub fn append(
        &mut self,
        text: &str,
        cuts: &[(usize, bool)],
        add_special_tokens: bool,
        encoder: &dyn TextEncoder,
        origin: &Origin,
    ) -> Result<(), DataError> {
        let encode = |text: &str, special: bool| {
            encoder.encode(text, special).map_err(|source| DataError::Encoder {
                origin: origin.clone(),
                action: "tokenising",
                source,
            })
        };
        // Text and ids since the last split: what is encoded in one go.
        let mut text_start = 0;
        let mut ids_start = self.ids.len();
        let mut begin = 0;
        for &(end, target) in cuts {
            let special = add_special_tokens && text_start == 0;
            let whole = encode(&text[text_start..end], special)?;
            if whole.starts_with(&self.ids[ids_start..]) {
                let known = self.ids.len() - ids_start;
                self.push(&whole[known..], target);
            } else {
                self.splits += 1;
                let alone = encode(&text[begin..end], false)?;
                text_start = begin;
                ids_start = self.ids.len();
                self.push(&alone, target);
            }
            begin = end;
        }
        Ok(())
    }

    /// Appends tokens that are all targets or all not.
    pub fn push(&mut self, ids: &[u32], target: bool) {
        self.ids.extend_from_slice(ids);
        self.mask.resize(self.ids.len(), target);
    }
}
