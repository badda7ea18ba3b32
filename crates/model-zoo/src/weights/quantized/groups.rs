//! The forms of GPTQ and AWQ: integers of 4 bits packed in words of 32, with a scale and a zero for
//! a group of inputs and an output, `w = (code - zero) * scale`. Inputs are in groups one after the
//! other, or with GPTQ's `desc_act` input `i` is in group `g_idx[i]`: those of the largest activations
//! were quantised first, and fill the first groups (Frantar et al., *GPTQ*, 2210.17323, and its code).

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
    let order = match source.has(&part("g_idx")) {
        true => {
            let index = source.take_bytes(&part("g_idx"))?;
            order_of_groups(&index, [inputs, group_size])
                .map_err(|message| source.refused(&part("g_idx"), &message))?
        }
        false => None,
    };
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
    let input = |place: usize| order.as_ref().map_or(place, |order| order[place] as usize);
    for output in 0..outputs {
        let of_place = |place| of_weight(input(place), output);
        let pairs = (0..inputs).step_by(2);
        bytes.extend(pairs.map(|place| of_place(place) << 4 | of_place(place + 1)));
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
        order,
        quantization: None,
    }))
}

/// The inputs group by group, within one as they come; none where they lie so already. `index` holds
/// the group of each input, 32-bit integers.
///
/// Every group has as many inputs: GPTQ takes them in runs, whatever their order.
fn order_of_groups(
    index: &[u8],
    [inputs, group_size]: [usize; 2],
) -> Result<Option<Vec<u32>>, String> {
    if index.len() != 4 * inputs {
        return Err(format!("has {} bytes, expected {inputs} 32-bit integers", index.len()));
    }
    let mut groups = vec![Vec::new(); inputs / group_size];
    let last = groups.len().saturating_sub(1);
    for (input, group) in (0u32..).zip(index.as_chunks::<4>().0) {
        let group = i32::from_le_bytes(*group);
        match usize::try_from(group).ok().and_then(|group| groups.get_mut(group)) {
            Some(members) => members.push(input),
            None => {
                return Err(format!("puts input {input} in group {group}; allowed: 0 to {last}"));
            }
        }
    }
    let other = groups.iter().enumerate().find(|(_, members)| members.len() != group_size);
    if let Some((group, members)) = other {
        let found = members.len();
        return Err(format!(
            "puts {found} inputs in group {group}; supported: `group_size` of them, {group_size}"
        ));
    }
    let order = groups.concat();
    Ok(Some(order).filter(|order| !order.is_sorted()))
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
