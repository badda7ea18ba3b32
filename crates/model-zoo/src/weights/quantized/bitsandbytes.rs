//! The form of bitsandbytes: for `w.weight`, codes of 4 bits with `w.weight.absmax` and more, or
//! codes of 8 bits with `w.SCB`.

use quantization::{NestedScales, Quantization, QuantizedParts};
use safetensors::Dtype;
use serde::Deserialize;

use super::super::{WeightError, WeightSource};

/// What `quant_state` says; it is JSON in a tensor of bytes.
#[derive(Deserialize)]
struct State {
    quant_type: String,
    blocksize: usize,
    shape: Vec<usize>,
    #[serde(default)]
    nested_offset: f32,
    #[serde(default)]
    nested_blocksize: Option<usize>,
}

pub(super) fn take(
    source: &mut WeightSource,
    path: &str,
    dims: [usize; 2],
) -> Result<Option<QuantizedParts>, WeightError> {
    let state = ["nf4", "fp4"]
        .map(|kind| format!("{path}.weight.quant_state.bitsandbytes__{kind}"))
        .into_iter()
        .find(|name| source.has(name));
    match state {
        Some(state) => four_bits(source, path, &state, dims).map(Some),
        None if source.has(&format!("{path}.SCB")) => eight_bits(source, path, dims).map(Some),
        None => Ok(None),
    }
}

fn four_bits(
    source: &mut WeightSource,
    path: &str,
    state: &str,
    [inputs, outputs]: [usize; 2],
) -> Result<QuantizedParts, WeightError> {
    let bytes = source.take_bytes(state)?;
    let state: State = serde_json::from_slice(&bytes)
        .map_err(|error| source.refused(state, &format!("makes no sense: {error}")))?;
    if state.shape != [outputs, inputs] {
        return Err(WeightError::Shape {
            folder: source.folder.clone(),
            name: format!("{path}.weight"),
            expected: vec![outputs, inputs],
            found: state.shape,
        });
    }
    if state.nested_blocksize.is_some_and(|size| size != 256) {
        return Err(source.refused(path, "has scales in blocks of another size than 256"));
    }
    let part = |name: &str| format!("{path}.weight.{name}");
    let bytes = source.take_bytes(&format!("{path}.weight"))?;
    let table = source.take_floats(&part("quant_map"), Dtype::F32)?;
    let nested = source.has(&part("nested_absmax"));
    let (scales, nested) = if nested {
        let codes = source.take_bytes(&part("absmax"))?;
        let scales = source.take_floats(&part("nested_absmax"), Dtype::F32)?;
        let map = source.take_floats(&part("nested_quant_map"), Dtype::F32)?;
        (scales, Some(NestedScales { codes, map, offset: state.nested_offset }))
    } else {
        (source.take_floats(&part("absmax"), Dtype::F32)?, None)
    };
    let quantization = match (state.quant_type.as_str(), state.blocksize, &nested) {
        ("nf4", 64, None) => Some(Quantization::Nf4),
        ("nf4", 64, Some(_)) => Some(Quantization::Nf4Double),
        ("fp4", 64, None) => Some(Quantization::Fp4),
        _ => None,
    };
    let (block_size, dims) = (state.blocksize, [inputs, outputs]);
    let table = Some(table);
    Ok(QuantizedParts {
        bytes,
        table,
        scales,
        nested,
        offsets: None,
        block_size,
        dims,
        order: None,
        quantization,
    })
}

fn eight_bits(
    source: &mut WeightSource,
    path: &str,
    [inputs, outputs]: [usize; 2],
) -> Result<QuantizedParts, WeightError> {
    let bytes = source.take_bytes(&format!("{path}.weight"))?;
    let absmax = source.take_floats(&format!("{path}.SCB"), Dtype::F32)?;
    // Which order the codes are in; 0 is by rows, the only one that is saved.
    let format = format!("{path}.weight_format");
    if source.has(&format) && source.take_bytes(&format)?.iter().any(|byte| *byte != 0) {
        return Err(source.refused(&format, "is not 0, which is the order by rows"));
    }
    Ok(QuantizedParts {
        bytes,
        table: None,
        scales: absmax.iter().map(|absmax| absmax / 127.0).collect(),
        nested: None,
        offsets: None,
        block_size: inputs.max(1),
        dims: [inputs, outputs],
        order: None,
        quantization: Some(Quantization::Int8),
    })
}
