use super::zip::{CENTRAL, END, LOCAL};

/// PyTorch lets the data of an entry start at a multiple of it, so that files can be mapped.
const ALIGNMENT: usize = 64;
/// The version of the format that stored entries need.
const VERSION: u16 = 20;
/// The first date that zip archives have: 1 January 1980. The same content gives the same bytes.
const DATE: u16 = 0x21;

/// Writes an uncompressed zip archive.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

impl Archive {
    /// Adds an entry; `None` where the archive would be too large for 32-bit offsets.
    pub(super) fn push(&mut self, name: &str, data: &[u8]) -> Option<()> {
        let offset = u32::try_from(self.bytes.len()).ok()?;
        let size = u32::try_from(data.len()).ok()?;
        let name_len = u16::try_from(name.len()).ok()?;
        let start = self.bytes.len() + 30 + name.len() + 4;
        let padding = start.next_multiple_of(ALIGNMENT) - start;
        let extra_len = 4 + padding as u16;

        let mut common = Vec::with_capacity(26);
        for short in [VERSION, 0, 0, 0, DATE] {
            common.extend(short.to_le_bytes());
        }
        for long in [crc32fast::hash(data), size, size] {
            common.extend(long.to_le_bytes());
        }
        common.extend(name_len.to_le_bytes());

        self.bytes.extend(LOCAL.to_le_bytes());
        self.bytes.extend(&common);
        self.bytes.extend(extra_len.to_le_bytes());
        self.bytes.extend(name.as_bytes());
        // A field that readers pass over, as PyTorch writes it: "FB", its length, and filling.
        self.bytes.extend(b"FB");
        self.bytes.extend((padding as u16).to_le_bytes());
        self.bytes.extend(std::iter::repeat_n(b'Z', padding));
        self.bytes.extend(data);

        self.directory.extend(CENTRAL.to_le_bytes());
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(&common);
        // Neither extra field nor comment; the first disk; no attributes.
        self.directory.extend([0; 12]);
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.entries = self.entries.checked_add(1)?;
        Some(())
    }

    /// The archive; `None` where it is too large for 32-bit offsets.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        let offset = u32::try_from(self.bytes.len()).ok()?;
        let size = u32::try_from(self.directory.len()).ok()?;
        self.bytes.extend(self.directory);
        self.bytes.extend(END.to_le_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(self.entries.to_le_bytes());
        self.bytes.extend(self.entries.to_le_bytes());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(offset.to_le_bytes());
        self.bytes.extend([0; 2]);
        Some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pytorch::zip::entries;

    #[test]
    fn entries_come_back_aligned() {
        let mut archive = Archive::default();
        archive.push("a/data.pkl", b"program").unwrap();
        archive.push("a/data/0", &[7; 100]).unwrap();
        let bytes = archive.finish().unwrap();
        let entries = entries(&bytes).unwrap();
        assert_eq!(&bytes[entries["a/data.pkl"].clone()], b"program");
        assert_eq!(&bytes[entries["a/data/0"].clone()], [7; 100]);
        assert!(entries.values().all(|range| range.start.is_multiple_of(ALIGNMENT)));
    }
}
