//! Linears that a folder stores quantised: by bitsandbytes, GPTQ and AWQ.

mod bitsandbytes;
mod form;
mod groups;

use quantization::{Quantization, QuantizedParts};

use super::{WeightError, WeightSource};

pub(super) use form::StoredForm;
pub use form::StoredQuantization;

impl WeightSource {
    /// Quantises the linears that are taken by [`take_quantized`](Self::take_quantized).
    ///
    /// # Errors
    ///
    /// [`WeightError::Quantized`] when they are stored quantised already.
    pub fn with_quantization(
        mut self,
        quantization: Option<Quantization>,
    ) -> Result<Self, WeightError> {
        if let (Some(quantization), Some(_)) = (quantization, self.form) {
            return Err(WeightError::quantized_already(&self.folder, quantization));
        }
        self.quantization = quantization;
        Ok(self)
    }

    /// Takes a linear `[in_features, out_features]` that is stored quantised, or to be held so;
    /// `None` for one that is to stay floats.
    ///
    /// # Errors
    ///
    /// [`WeightError`] when parts of it are missing or do not fit, or its form is not known.
    pub fn take_quantized(
        &mut self,
        path: &str,
        dims: [usize; 2],
    ) -> Result<Option<QuantizedParts>, WeightError> {
        let parts = match self.form {
            None => {
                let Some(quantization) = self.quantization else { return Ok(None) };
                let rows = [dims[1], dims[0]];
                let values = self.take_rows(&format!("{path}.weight"), rows)?;
                return Ok(Some(QuantizedParts::of_rows(&values, rows, quantization)));
            }
            Some(StoredForm::Bitsandbytes(_)) => bitsandbytes::take(self, path, dims)?,
            Some(StoredForm::Groups(form)) => groups::take(self, path, dims, form)?,
        };
        if let Some(parts) = &parts {
            let refused = |error| self.refused(path, &format!("does not fit: {error}"));
            parts.check().map_err(refused)?;
        }
        Ok(parts)
    }

    /// Takes one of the matrices `[count, rows, cols]` of a tensor, which is to be held quantised;
    /// `None` where it is to stay floats.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_slice_quantized(
        &mut self,
        name: &str,
        shape: [usize; 3],
        index: usize,
    ) -> Result<Option<QuantizedParts>, WeightError> {
        let Some(quantization) = self.quantization else { return Ok(None) };
        let values = self.take_slice_rows(name, shape, index)?;
        let [_, rows, cols] = shape;
        Ok(Some(QuantizedParts::of_rows(&values, [rows, cols], quantization)))
    }

    /// The error of a quantised linear that cannot be read.
    fn refused(&self, path: &str, message: &str) -> WeightError {
        let (folder, name) = (self.folder.clone(), path.to_owned());
        WeightError::Quantized { folder, name, message: message.to_owned() }
    }
}
