//! The forms of GPTQ and AWQ: integers of 4 bits packed in words of 32, with a scale and a zero for
//! a group of inputs and an output, `w = (code - zero) * scale`.

use quantization::QuantizedParts;
use safetensors::Dtype;

use super::super::{WeightError, WeightSource};
use super::form::{Groups, Packing};

/// The codes of a word.
const WORD: usize = 8;
/// Which of eight outputs each code of a word is of, from the lowest bits on, in AWQ.
const AWQ_ORDER: [usize; WORD] = [0, 2, 4, 6, 1, 3, 5, 7];

pub(super) fn take(
    source: &mut WeightSource,
    path: &str,
    [inputs, outputs]: [usize; 2],
    form: Groups,
) -> Result<Option<QuantizedParts>, WeightError> {
    let part = |name: &str| format!("{path}.{name}");
    if !source.has(&part("qweight")) {
        return Ok(None);
    }
    let group_size = form.group_size.unwrap_or(inputs).min(inputs).max(1);
    if !inputs.is_multiple_of(group_size) || !inputs.is_multiple_of(WORD) {
        let message = format!("{inputs} inputs are no whole groups of {group_size}");
        return Err(source.refused(path, &message));
    }
    if !outputs.is_multiple_of(WORD) {
        return Err(source.refused(path, &format!("{outputs} outputs are no whole words")));
    }
    let groups = inputs / group_size;
    if source.has(&part("g_idx")) {
        let index = source.take_bytes(&part("g_idx"))?;
        let in_order = index.as_chunks::<4>().0.iter().enumerate().all(|(input, group)| {
            usize::try_from(i32::from_le_bytes(*group)) == Ok(input / group_size)
        });
        if !in_order {
            let message =
                "was quantised in another order of its inputs (desc_act), which is not supported";
            return Err(source.refused(path, message));
        }
    }
    let weight_words = match form.packing {
        Packing::Gptq { .. } => [inputs / WORD, outputs],
        Packing::Awq => [inputs, outputs / WORD],
    };
    let words = take_words(source, &part("qweight"), weight_words)?;
    let zeros = take_words(source, &part("qzeros"), [groups, outputs / WORD])?;
    let scales = source.take_floats(&part("scales"), Dtype::F16)?;
    if scales.len() != groups * outputs {
        let message = format!("has {} scales, expected {groups} x {outputs}", scales.len());
        return Err(source.refused(path, &message));
    }
    let code = |word: u32, place: usize| (word >> (4 * place)) as u8 & 15;
    let place_of = |output: usize| match form.packing {
        Packing::Gptq { .. } => output % WORD,
        Packing::Awq => AWQ_ORDER.iter().position(|at| *at == output % WORD).unwrap_or_default(),
    };
    let of_weight = |input: usize, output: usize| match form.packing {
        Packing::Gptq { .. } => code(words[input / WORD * outputs + output], input % WORD),
        Packing::Awq => code(words[(input * outputs + output) / WORD], place_of(output)),
    };
    let added = match form.packing {
        Packing::Gptq { zeros_less_one: true } => 1.0,
        _ => 0.0,
    };
    let mut bytes = Vec::with_capacity(inputs * outputs / 2);
    let mut own_scales = Vec::with_capacity(groups * outputs);
    let mut offsets = Vec::with_capacity(groups * outputs);
    for output in 0..outputs {
        let pairs = (0..inputs).step_by(2);
        bytes.extend(pairs.map(|i| of_weight(i, output) << 4 | of_weight(i + 1, output)));
        for group in 0..groups {
            let scale = scales[group * outputs + output];
            let zero = code(zeros[(group * outputs + output) / WORD], place_of(output));
            own_scales.push(scale);
            offsets.push(-(f32::from(zero) + added) * scale);
        }
    }
    Ok(Some(QuantizedParts {
        bytes,
        table: Some((0u8..16).map(f32::from).collect()),
        scales: own_scales,
        nested: None,
        offsets: Some(offsets),
        block_size: group_size,
        dims: [inputs, outputs],
        quantization: None,
    }))
}

/// The words of a tensor of 32-bit integers.
fn take_words(
    source: &mut WeightSource,
    name: &str,
    [rows, columns]: [usize; 2],
) -> Result<Vec<u32>, WeightError> {
    let bytes = source.take_bytes(name)?;
    if bytes.len() != 4 * rows * columns {
        let message = format!("has {} bytes, expected {rows} x {columns} words", bytes.len());
        return Err(source.refused(name, &message));
    }
    Ok(bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
}
