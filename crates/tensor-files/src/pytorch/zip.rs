use std::collections::BTreeMap;
use std::ops::Range;

pub(super) const END: u32 = 0x0605_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;
const END_64: u32 = 0x0606_4b50;
pub(super) const CENTRAL: u32 = 0x0201_4b50;
pub(super) const LOCAL: u32 = 0x0403_4b50;
/// The longest end record: 22 bytes and a comment.
const END_SEARCH: usize = 22 + 0xffff;
/// The extra field with sizes and offsets that do not fit into 32 bits.
const EXTRA_64: u16 = 1;

/// Where the uncompressed entries of a zip archive are; `Err` says what is wrong. No two entries
/// have one name or share bytes: what a reader finds must not depend on the reader.
pub(super) fn entries(bytes: &[u8]) -> Result<BTreeMap<String, Range<usize>>, String> {
    let (mut at, count) = central_directory(bytes).ok_or("the end of the archive is missing")?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let (name, entry, next) = central_entry(bytes, at).ok_or("the directory is damaged")?;
        if entry.method != 0 {
            return Err(format!("`{name}` is compressed, which PyTorch never does"));
        }
        let data = local_data(bytes, entry.offset)
            .and_then(|start| Some(start..start.checked_add(entry.size)?))
            .filter(|range| range.end <= bytes.len())
            .ok_or_else(|| format!("`{name}` lies outside of the file"))?;
        if entries.contains_key(&name) {
            return Err(format!("there are two entries `{name}`"));
        }
        entries.insert(name, data);
        at = next;
    }
    let mut ranges: Vec<(&Range<usize>, &String)> =
        entries.iter().map(|(name, range)| (range, name)).collect();
    ranges.sort_unstable_by_key(|(range, _)| (range.start, range.end));
    match ranges.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
        Some(pair) => Err(format!("`{}` and `{}` share bytes", pair[0].1, pair[1].1)),
        None => Ok(entries),
    }
}

struct Entry {
    method: u16,
    size: usize,
    offset: usize,
}

/// The offset of the directory and the number of its entries.
fn central_directory(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = bytes.len().saturating_sub(END_SEARCH);
    let end =
        (first..bytes.len().checked_sub(21)?).rev().find(|at| u32_at(bytes, *at) == Some(END))?;
    let (count, offset) = (u16_at(bytes, end + 10)?, u32_at(bytes, end + 16)?);
    if count != u16::MAX && offset != u32::MAX {
        return Some((offset as usize, count.into()));
    }
    let locator = end.checked_sub(20).filter(|at| u32_at(bytes, *at) == Some(END_64_LOCATOR))?;
    let end = usize_at(bytes, locator + 8)?;
    (u32_at(bytes, end)? == END_64)
        .then_some((usize_at(bytes, end.checked_add(48)?)?, usize_at(bytes, end.checked_add(32)?)?))
}

fn central_entry(bytes: &[u8], at: usize) -> Option<(String, Entry, usize)> {
    if u32_at(bytes, at)? != CENTRAL {
        return None;
    }
    let length = |offset| u16_at(bytes, at + offset).map(usize::from);
    let (name_len, extra_len, comment_len) = (length(28)?, length(30)?, length(32)?);
    let name = bytes.get(at + 46..at + 46 + name_len)?;
    let extra_start = at + 46 + name_len;
    let mut extra = bytes.get(extra_start..extra_start + extra_len)?;
    let mut wide: &[u8] = &[];
    while let (Some(id), Some(len)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let field = extra.get(4..4 + usize::from(len))?;
        if id == EXTRA_64 {
            wide = field;
        }
        extra = &extra[4 + usize::from(len)..];
    }
    // Those that do not fit follow each other in the extra field, in this order.
    let mut value = |offset: usize| -> Option<usize> {
        match u32_at(bytes, at + offset)? {
            u32::MAX => {
                let value = usize_at(wide, 0)?;
                wide = &wide[8..];
                Some(value)
            }
            value => Some(value as usize),
        }
    };
    let (size, _compressed, offset) = (value(24)?, value(20)?, value(42)?);
    let entry = Entry { method: u16_at(bytes, at + 10)?, size, offset };
    let name = String::from_utf8(name.to_vec()).ok()?;
    Some((name, entry, extra_start + extra_len + comment_len))
}

/// Where the data of an entry start.
fn local_data(bytes: &[u8], at: usize) -> Option<usize> {
    if u32_at(bytes, at)? != LOCAL {
        return None;
    }
    let (name, extra) = (u16_at(bytes, at.checked_add(26)?)?, u16_at(bytes, at.checked_add(28)?)?);
    at.checked_add(30 + usize::from(name) + usize::from(extra))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn usize_at(bytes: &[u8], at: usize) -> Option<usize> {
    array(bytes, at).map(u64::from_le_bytes).and_then(|value| usize::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of one entry, with its size in 32 or in 64 bits.
    fn archive(wide: bool, method: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(LOCAL.to_le_bytes());
        bytes.extend([0; 22]);
        bytes.extend(1u16.to_le_bytes());
        bytes.extend(2u16.to_le_bytes());
        bytes.extend(b"n\0\0data");
        let directory = bytes.len();
        bytes.extend(CENTRAL.to_le_bytes());
        bytes.extend([0; 6]);
        bytes.extend(method.to_le_bytes());
        bytes.extend([0; 8]);
        let extra: Vec<u8> = if wide {
            let sizes = [4u64, 4, 0].map(u64::to_le_bytes).concat();
            [&EXTRA_64.to_le_bytes()[..], &24u16.to_le_bytes(), &sizes].concat()
        } else {
            Vec::new()
        };
        let short = |value: u32| if wide { u32::MAX } else { value }.to_le_bytes();
        bytes.extend([short(4), short(4)].concat());
        bytes.extend(1u16.to_le_bytes());
        bytes.extend((extra.len() as u16).to_le_bytes());
        bytes.extend([0; 10]);
        bytes.extend(short(0));
        bytes.extend(b"n");
        bytes.extend(extra);
        if wide {
            let end = bytes.len() as u64;
            bytes.extend(END_64.to_le_bytes());
            bytes.extend([0; 28]);
            bytes.extend(1u64.to_le_bytes());
            bytes.extend([0; 8]);
            bytes.extend((directory as u64).to_le_bytes());
            bytes.extend(END_64_LOCATOR.to_le_bytes());
            bytes.extend([0; 4]);
            bytes.extend(end.to_le_bytes());
            bytes.extend([0; 4]);
        }
        bytes.extend(END.to_le_bytes());
        bytes.extend([0; 6]);
        bytes.extend(if wide { u16::MAX } else { 1 }.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(short(directory as u32));
        bytes.extend([0; 2]);
        bytes
    }

    #[test]
    fn entries_are_found_with_short_and_long_sizes() {
        for wide in [false, true] {
            let bytes = archive(wide, 0);
            let entries = entries(&bytes).unwrap();
            assert_eq!(&bytes[entries["n"].clone()], b"data", "{wide}");
        }
    }

    #[test]
    fn damaged_archives_are_refused_without_a_panic() {
        assert!(entries(&archive(false, 8)).unwrap_err().contains("compressed"));
        for wide in [false, true] {
            let whole = archive(wide, 0);
            for len in 0..whole.len() {
                assert!(entries(&whole[..len]).is_err(), "{len}");
            }
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 0xff;
                let _ = entries(&bytes);
            }
        }
    }
}
