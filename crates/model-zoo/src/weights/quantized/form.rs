use std::fs;
use std::path::Path;

use quantization::Quantization;
use serde::Deserialize;
use serde_json::Value;

use super::super::WeightError;

/// How the linears of a folder are stored in few bits, as its `config.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredQuantization(StoredForm);

/// How the linears of a folder are stored, where it is not as floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum StoredForm {
    /// 4 and 8 bits, as transformers saves them with bitsandbytes.
    Bitsandbytes(Quantization),
    /// Groups of 4-bit integers with a scale and a zero.
    Groups(Groups),
}

/// What the configuration says of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Groups {
    /// Who packed them.
    pub(super) packing: Packing,
    /// How many inputs share a scale; none for all.
    pub(super) group_size: Option<usize>,
    /// Whether inputs are in an order of their own.
    pub(super) desc_act: bool,
}

/// The order of the codes, and what a stored zero means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Eight inputs a word; zeros are stored less one, but in version 2.
    Gptq { zeros_less_one: bool },
    /// Eight outputs a word, in an order of their own.
    Awq,
}

#[derive(Deserialize)]
struct Fields {
    quant_method: Option<String>,
    #[serde(default)]
    load_in_4bit: bool,
    #[serde(default)]
    load_in_8bit: bool,
    bnb_4bit_quant_type: Option<String>,
    #[serde(default)]
    bnb_4bit_use_double_quant: bool,
    bits: Option<u32>,
    w_bit: Option<u32>,
    group_size: Option<i64>,
    q_group_size: Option<i64>,
    desc_act: Option<bool>,
    checkpoint_format: Option<String>,
    version: Option<String>,
}

impl StoredQuantization {
    /// Reads `quantization_config` of a folder's `config.json`; none where linears are floats.
    ///
    /// # Errors
    ///
    /// [`WeightError::Quantized`] where the form is not supported.
    pub fn of_folder(folder: &Path) -> Result<Option<Self>, WeightError> {
        Ok(StoredForm::of_folder(folder)?.map(Self))
    }

    /// As [`of_folder`](Self::of_folder), for linears that are to be held by `quantization`.
    ///
    /// # Errors
    ///
    /// [`WeightError::Quantized`] also where they are stored quantised already.
    pub fn beside(
        folder: &Path,
        quantization: Option<Quantization>,
    ) -> Result<Option<Self>, WeightError> {
        let stored = Self::of_folder(folder)?;
        match (quantization, stored) {
            (Some(quantization), Some(_)) => {
                Err(WeightError::quantized_already(folder, quantization))
            }
            _ => Ok(stored),
        }
    }

    /// The memory that a linear `[in_features, out_features]` takes, in bytes.
    pub fn bytes(&self, dims: [usize; 2]) -> usize {
        let [inputs, outputs] = dims;
        match self.0 {
            StoredForm::Bitsandbytes(quantization) => quantization.bytes(dims),
            StoredForm::Groups(Groups { group_size, desc_act, .. }) => {
                let groups = outputs * inputs.div_ceil(group_size.unwrap_or(inputs).max(1));
                let order = if desc_act { 4 * inputs } else { 0 };
                // Half a byte for an element, a scale and an offset for a group.
                (inputs * outputs).div_ceil(2) + 2 * 4 * groups + order
            }
        }
    }
}

impl Fields {
    /// What bitsandbytes made, with its defaults.
    fn bitsandbytes(&self) -> Quantization {
        match (self.load_in_8bit, self.bnb_4bit_quant_type.as_deref()) {
            (true, _) => Quantization::Int8,
            (false, Some("nf4")) if self.bnb_4bit_use_double_quant => Quantization::Nf4Double,
            (false, Some("nf4")) => Quantization::Nf4,
            (false, _) => Quantization::Fp4,
        }
    }
}

impl StoredForm {
    /// Reads `quantization_config` of a folder's `config.json`; none where there is no such thing.
    pub(in super::super) fn of_folder(folder: &Path) -> Result<Option<Self>, WeightError> {
        // A folder without a configuration is for those that read one.
        let Ok(text) = fs::read_to_string(folder.join("config.json")) else { return Ok(None) };
        let config = serde_json::from_str::<Value>(&text).unwrap_or_default();
        let Some(found) = config.get("quantization_config").filter(|found| !found.is_null()) else {
            return Ok(None);
        };
        let refused = |message: String| WeightError::Quantized {
            folder: folder.to_owned(),
            name: "quantization_config".to_owned(),
            message,
        };
        let fields: Fields =
            serde_json::from_value(found.clone()).map_err(|error| refused(error.to_string()))?;
        let bits = fields.bits.or(fields.w_bit);
        let group_size = match fields.group_size.or(fields.q_group_size) {
            None | Some(-1) => None,
            Some(size) => match usize::try_from(size) {
                Ok(size) if size > 0 => Some(size),
                _ => {
                    return Err(refused(format!(
                        "`group_size` is {size}; allowed: -1, or above 0"
                    )));
                }
            },
        };
        let groups = |packing| match bits {
            Some(4) => {
                // One group of all is the same in any order.
                let desc_act = fields.desc_act == Some(true) && group_size.is_some();
                Ok(Some(Self::Groups(Groups { packing, group_size, desc_act })))
            }
            bits => {
                let bits = bits.map_or("absent".to_owned(), |bits| bits.to_string());
                Err(refused(format!("`bits` is {bits}; supported: 4")))
            }
        };
        match fields.quant_method.as_deref() {
            Some("bitsandbytes") => Ok(Some(Self::Bitsandbytes(fields.bitsandbytes()))),
            None if fields.load_in_4bit || fields.load_in_8bit => {
                Ok(Some(Self::Bitsandbytes(fields.bitsandbytes())))
            }
            Some("gptq") => {
                let second = fields.checkpoint_format.as_deref() == Some("gptq_v2");
                groups(Packing::Gptq { zeros_less_one: !second })
            }
            Some("awq") => match fields.version.as_deref().map(str::to_lowercase).as_deref() {
                None | Some("gemm") => groups(Packing::Awq),
                Some(other) => Err(refused(format!("`version` is `{other}`; supported: gemm"))),
            },
            method => Err(refused(format!(
                "`quant_method` is `{}`; supported: bitsandbytes, gptq, awq",
                method.unwrap_or("absent")
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: &str) -> Result<Option<StoredForm>, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), config).unwrap();
        StoredForm::of_folder(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn forms_are_read_from_the_configuration() {
        assert_eq!(of("{}"), Ok(None));
        let of_method = |fields: &str| of(&format!(r#"{{"quantization_config": {{{fields}}}}}"#));
        let bits = |quantization| Ok(Some(StoredForm::Bitsandbytes(quantization)));
        let double = r#""quant_method": "bitsandbytes", "load_in_4bit": true,
            "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": true"#;
        assert_eq!(of_method(double), bits(Quantization::Nf4Double));
        assert_eq!(of_method(r#""quant_method": "bitsandbytes""#), bits(Quantization::Fp4));
        assert_eq!(of_method(r#""load_in_8bit": true"#), bits(Quantization::Int8));
        let gptq = |zeros_less_one, group_size| {
            let packing = Packing::Gptq { zeros_less_one };
            let desc_act = false;
            Ok(Some(StoredForm::Groups(Groups { packing, group_size, desc_act })))
        };
        let first = r#""quant_method": "gptq", "bits": 4, "group_size": 128"#;
        assert_eq!(of_method(first), gptq(true, Some(128)));
        let second = r#""quant_method": "gptq", "bits": 4, "group_size": -1, "checkpoint_format": "gptq_v2""#;
        assert_eq!(of_method(second), gptq(false, None));
        let reordered = of_method(&format!(r#"{first}, "desc_act": true"#)).unwrap();
        assert!(matches!(reordered, Some(StoredForm::Groups(Groups { desc_act: true, .. }))));
        let awq =
            of_method(r#""quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm""#);
        let expected = Groups { packing: Packing::Awq, group_size: Some(64), desc_act: false };
        assert_eq!(awq, Ok(Some(StoredForm::Groups(expected))));
    }

    #[test]
    fn memory_is_that_of_codes_scales_and_offsets() {
        let groups = |group_size, desc_act| {
            let packing = Packing::Gptq { zeros_less_one: true };
            StoredQuantization(StoredForm::Groups(Groups { packing, group_size, desc_act }))
        };
        assert_eq!(groups(Some(128), false).bytes([256, 64]), 256 * 64 / 2 + 8 * 2 * 64);
        assert_eq!(groups(None, false).bytes([256, 64]), 256 * 64 / 2 + 8 * 64);
        // And which input each place is of.
        assert_eq!(groups(Some(128), true).bytes([256, 64]), 256 * 64 / 2 + 8 * 2 * 64 + 4 * 256);
        let int8 = StoredQuantization(StoredForm::Bitsandbytes(Quantization::Int8));
        assert_eq!(int8.bytes([256, 64]), 256 * 64 + 4 * 64);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (fields, names) in [
            (r#""quant_method": "fp8""#, ["fp8", "gptq"]),
            (r#""quant_method": "gptq", "bits": 3"#, ["`bits` is 3", "4"]),
            (r#""quant_method": "awq", "bits": 4, "version": "gemv""#, ["gemv", "gemm"]),
            (r#""quant_method": "awq", "bits": 4, "group_size": 0"#, ["group_size", "0"]),
        ] {
            let error = of(&format!(r#"{{"quantization_config": {{{fields}}}}}"#)).unwrap_err();
            assert!(names.iter().all(|name| error.contains(name)), "{error}");
        }
    }
}
