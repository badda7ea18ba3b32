//! Files of `torch.save` as nobody means well would make them.

/// The pickle of a tensor of `shape`, in the storage `key`, which says it has `len` elements.
fn tensor(key: &str, shape: &[i32], offset: i32, len: i32) -> Vec<u8> {
    let int = |value: i32| [&b"J"[..], &value.to_le_bytes()].concat();
    let tuple = |values: &[i32]| {
        let items: Vec<u8> = values.iter().flat_map(|value| int(*value)).collect();
        [&b"("[..], &items, b"t"].concat()
    };
    let strides: Vec<i32> = (0..shape.len())
        .map(|at| shape[at + 1..].iter().fold(1, |product: i32, size| product.wrapping_mul(*size)))
        .collect();
    [
        &b"ctorch._utils\n_rebuild_tensor_v2\n(("[..],
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text(key),
        &text("cpu"),
        &int(len),
        b"tQ",
        &int(offset),
        &tuple(shape),
        &tuple(&strides),
        b"\x89ccollections\nOrderedDict\n)RtR",
    ]
    .concat()
}

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// The pickle of a dictionary with these values.
fn dictionary(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> =
        entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
    [&b"\x80\x02}("[..], &items, b"u."].concat()
}

/// An entry of an archive, and what its headers say of it.
#[derive(Clone)]
struct Entry {
    name: String,
    stored: Vec<u8>,
    method: u16,
    size: u64,
    /// Whose data the directory says it has: its own, or those of an earlier entry.
    at: Option<usize>,
}

fn entry(name: &str, data: &[u8]) -> Entry {
    let (name, stored, size) = (name.to_owned(), data.to_vec(), data.len() as u64);
    Entry { name, stored, method: 0, size, at: None }
}

/// A zip archive of these entries; `wide` gives sizes and offsets 64 bits.
fn archive(entries: &[Entry], wide: bool) -> Vec<u8> {
    let (mut bytes, mut directory, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        starts.push(bytes.len() as u64);
        let start = starts[entry.at.unwrap_or(index)];
        let (stored, size) = (entry.stored.len() as u64, entry.size);
        let short = |value: u64| if wide { u32::MAX } else { value as u32 }.to_le_bytes();
        let common = [
            &20u16.to_le_bytes()[..],
            &[0; 2],
            &entry.method.to_le_bytes(),
            &[0, 0, 0x21, 0],
            &crc(&entry.stored, entry.method).to_le_bytes(),
            &short(stored),
            &short(size),
            &(entry.name.len() as u16).to_le_bytes(),
        ]
        .concat();
        let extra = |values: &[u64]| -> Vec<u8> {
            if !wide {
                return Vec::new();
            }
            let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            [&1u16.to_le_bytes()[..], &(values.len() as u16).to_le_bytes(), &values].concat()
        };
        let local = extra(&[size, stored]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend((local.len() as u16).to_le_bytes());
        bytes.extend(entry.name.as_bytes());
        bytes.extend(local);
        bytes.extend(&entry.stored);
        let central = extra(&[size, stored, start]);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&common);
        directory.extend((central.len() as u16).to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(short(start));
        directory.extend(entry.name.as_bytes());
        directory.extend(central);
    }
    let (offset, count) = (bytes.len() as u64, entries.len() as u64);
    bytes.extend(&directory);
    let end = bytes.len() as u64;
    if wide {
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for value in [count, count, directory.len() as u64, offset] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend(end.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
    }
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    let count = if wide { u16::MAX } else { count as u16 };
    bytes.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(if wide { u32::MAX } else { offset as u32 }.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

/// CRC-32 of stored data; of compressed ones it does not matter here.
fn crc(data: &[u8], method: u16) -> u32 {
    if method != 0 {
        return 0;
    }
    !data.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}

fn with_pickle(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    archive(&[entry("a/data.pkl", pickle), entry("a/data/0", storage)], false)
}

/// A good file, for comparison.
pub fn good(wide: bool) -> Vec<u8> {
    let pickle = dictionary(&[("w", tensor("0", &[2, 3], 0, 6))]);
    archive(&[entry("a/data.pkl", &pickle), entry("a/data/0", &[1; 24])], wide)
}

/// Hostile files that must be refused, by name.
pub fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let one = |value: Vec<u8>| dictionary(&[("w", value)]);
    let program = one(tensor("0", &[2, 3], 0, 6));
    let good_entries = [entry("a/data.pkl", &program), entry("a/data/0", &[1; 24])];
    let changed = |index: usize, change: &dyn Fn(&mut Entry)| {
        let mut entries = good_entries.clone();
        change(&mut entries[index]);
        entries
    };
    // Deflate: a stored block of nothing, marked as the last.
    let deflated = changed(1, &|entry| {
        entry.stored = b"\x01\0\0\xff\xff".to_vec();
        (entry.method, entry.size) = (8, 1 << 40);
    });
    let huge = |index, size| changed(index, &|entry| entry.size = size);
    let twice = [&good_entries[..], &[entry("a/data.pkl", b"\x80\x02}.")]].concat();
    let nested = [b"\x80\x02".to_vec(), vec![b']'; 1_000_000], vec![b'a'; 999_999], b".".to_vec()];
    // A shape of many sizes, used again by every tensor: the memory is their product.
    let repeated: Vec<u8> = [
        b"\x80\x02}(".to_vec(),
        text("first"),
        b"ctorch._utils\n_rebuild_tensor_v2\nq\x00((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        [text("0"), text("cpu"), b"K\x01tQK\x00(".to_vec()].concat(),
        b"K\x01".repeat(20_000),
        b"tq\x01h\x01\x89ccollections\nOrderedDict\n)Rtq\x02R".to_vec(),
        (0..20_000)
            .flat_map(|at| [text(&at.to_string()), b"h\x00h\x02R".to_vec()].concat())
            .collect(),
        b"u.".to_vec(),
    ]
    .concat();
    // One storage under many names, of which each gets a copy.
    let copies: Vec<u8> = [
        b"\x80\x02}(".to_vec(),
        text("first"),
        tensor("0", &[1 << 20], 0, 1 << 20),
        b"q\x00".to_vec(),
        (0..100_000).flat_map(|at| [text(&at.to_string()), b"h\x00".to_vec()].concat()).collect(),
        b"u.".to_vec(),
    ]
    .concat();
    vec![
        (
            "a global that runs a command",
            with_pickle(b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.", &[]),
        ),
        ("a global of a command as a value", with_pickle(&one(b"cos\nsystem\n".to_vec()), &[])),
        (
            "an instruction for instances",
            with_pickle(&one(b"ccollections\nOrderedDict\n)\x81".to_vec()), &[]),
        ),
        (
            "a pickle in a pickle",
            with_pickle(
                &one([&b"B"[..], &(program.len() as u32).to_le_bytes(), &program].concat()),
                &[],
            ),
        ),
        ("lists nested a million deep", with_pickle(&nested.concat(), &[])),
        ("a text of 4 GiB", with_pickle(b"\x80\x02X\xff\xff\xff\xff", &[])),
        ("a dictionary that ends early", with_pickle(&program[..program.len() - 30], &[1; 24])),
        (
            "a shape beyond its storage",
            with_pickle(&one(tensor("0", &[1 << 20, 1 << 10], 0, 1 << 30)), &[1; 24]),
        ),
        (
            "a shape beyond 64 bits",
            with_pickle(&one(tensor("0", &[i32::MAX, i32::MAX, i32::MAX], 0, 6)), &[1; 24]),
        ),
        (
            "an offset beyond its storage",
            with_pickle(&one(tensor("0", &[2, 3], i32::MAX, 6)), &[1; 24]),
        ),
        ("a negative size", with_pickle(&one(tensor("0", &[-2, 3], 0, 6)), &[1; 24])),
        (
            "a storage outside of the folder",
            with_pickle(&one(tensor("../../../etc/passwd", &[1], 0, 1)), &[1; 24]),
        ),
        ("a compressed storage of 1 TiB", archive(&deflated, false)),
        ("a compressed pickle", archive(&changed(0, &|entry| entry.method = 8), false)),
        ("a storage of 4 GiB in the directory", archive(&huge(1, 0xffff_fff0), false)),
        ("a storage of 1 EiB in the directory", archive(&huge(1, 1 << 60), true)),
        ("a pickle of 4 GiB in the directory", archive(&huge(0, 0xffff_fff0), false)),
        ("two entries of one name", archive(&twice, false)),
        (
            "a storage that is the pickle",
            archive(&changed(1, &|entry| (entry.at, entry.size) = (Some(0), 24)), false),
        ),
        ("20,000 tensors with one shape of 20,000 sizes", with_pickle(&repeated, &[1; 24])),
        ("100,000 copies of 4 MiB", with_pickle(&copies, &vec![0; 4 << 20])),
    ]
}
