use std::collections::HashMap;
use std::rc::Rc;

use safetensors::Dtype;

/// Tuples may contain each other so often; those of tensors do twice.
const MAX_DEPTH: usize = 8;

/// Tensors have so many dimensions at most. A shape is copied for every tensor that refers to it, so
/// that long ones would make a small file large.
const MAX_DIMS: usize = 8;

/// A tensor of a state dictionary.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorRef {
    pub(super) dtype: Dtype,
    /// The name of the storage, which is the file `data/<key>` of the archive.
    pub(super) key: String,
    /// The first element in the storage.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Reads the pickle of a dictionary of tensors; `Err` says what is wrong or not allowed.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(String, TensorRef)>, String> {
    let mut machine =
        Machine { bytes, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    match machine.run()? {
        Value::Dict(entries) => entries
            .into_iter()
            .map(|(name, tensor)| match tensor {
                Some(tensor) => Ok((name.to_string(), (*tensor).clone())),
                None => Err(format!("`{name}` is not a tensor; only flat dictionaries are read")),
            })
            .collect(),
        _ => Err("it is not a dictionary of tensors".to_owned()),
    }
}

/// What is on the stack. Nothing is ever called: names stand for themselves.
#[derive(Debug, Clone)]
enum Value {
    /// Something whose content does not matter.
    Opaque,
    Int(i64),
    Text(Rc<str>),
    Tuple(Rc<[Value]>, usize),
    Name(Name),
    Storage(Dtype, Rc<str>),
    Tensor(Rc<TensorRef>),
    /// The entries of a dictionary, with their tensors.
    Dict(Vec<(Rc<str>, Option<Rc<TensorRef>>)>),
}

/// The names that a dictionary of tensors needs.
#[derive(Debug, Clone, Copy)]
enum Name {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Name {
    fn find(module: &str, name: &str) -> Result<Self, String> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "DoubleStorage") => Self::Storage(Dtype::F64),
            ("torch", "FloatStorage") => Self::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Self::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Dtype::BF16),
            ("torch", "LongStorage") => Self::Storage(Dtype::I64),
            ("torch", "IntStorage") => Self::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Self::Storage(Dtype::I16),
            ("torch", "CharStorage") => Self::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Self::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Self::Storage(Dtype::BOOL),
            _ => {
                return Err(format!(
                    "it refers to `{module}.{name}`; only dictionaries of plain tensors are read"
                ));
            }
        })
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value, String> {
        loop {
            let at = self.at;
            match self.byte()? {
                0x80 => match self.byte()? {
                    2..=3 => {}
                    other => return Err(format!("pickle protocol {other} is not supported")),
                },
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'N' | 0x88 | 0x89 | b']' => self.stack.push(Value::Opaque),
                b'}' => self.stack.push(Value::Dict(Vec::new())),
                b')' => self.push_tuple(Vec::new())?,
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Value::Opaque);
                }
                b'K' => {
                    let value = self.byte()?;
                    self.stack.push(Value::Int(value.into()));
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(value.into()));
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(value.into()));
                }
                0x8a => self.long()?,
                b'X' => {
                    let len = u32::from_le_bytes(self.array()?) as usize;
                    let text = self.text(len)?;
                    self.stack.push(Value::Text(text));
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.stack.push(Value::Name(Name::find(&module, &name)?));
                }
                b'q' => {
                    let index = self.byte()?;
                    self.remember(index.into())?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.remember(index)?;
                }
                b'h' => {
                    let index = self.byte()?;
                    self.recall(index.into())?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.recall(index)?;
                }
                0x85 => self.tuple_of(1)?,
                0x86 => self.tuple_of(2)?,
                0x87 => self.tuple_of(3)?,
                b't' => {
                    let items = self.since_mark()?;
                    self.push_tuple(items)?;
                }
                b'a' => {
                    self.pop()?;
                }
                b'e' => {
                    self.since_mark()?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(vec![key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set_items(items)?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.stack.push(storage(&id)?);
                }
                b'R' => {
                    let (arguments, name) = (self.pop()?, self.pop()?);
                    self.stack.push(build(&name, &arguments)?);
                }
                // The state of a dictionary: the versions of modules.
                b'b' => {
                    self.pop()?;
                }
                other => return Err(format!("instruction {other:#04x} at {at} is not allowed")),
            }
        }
    }

    fn take(&mut self, len: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let bytes = &self.bytes[self.at..end.ok_or("the pickle is cut off")?];
        self.at += len;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        bytes.first_chunk().copied().ok_or_else(|| "the pickle is cut off".to_owned())
    }

    fn text(&mut self, len: usize) -> Result<Rc<str>, String> {
        std::str::from_utf8(self.take(len)?).map(Rc::from).map_err(|error| error.to_string())
    }

    fn line(&mut self) -> Result<Rc<str>, String> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\n').ok_or("the pickle is cut off")?;
        let line = self.text(len)?;
        self.at += 1;
        Ok(line)
    }

    /// An integer of up to 8 bytes, in two's complement.
    fn long(&mut self) -> Result<(), String> {
        let len = self.byte()? as usize;
        let bytes = self.take(len)?;
        if len > 8 {
            return Err("an integer is longer than 64 bits".to_owned());
        }
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut all = [sign; 8];
        all[..len].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(all)));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| "the stack is empty".to_owned())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        Ok(self.stack.split_off(mark.ok_or("a mark is missing")?))
    }

    fn tuple_of(&mut self, len: usize) -> Result<(), String> {
        let start = self.stack.len().checked_sub(len).ok_or("the stack is empty")?;
        let items = self.stack.split_off(start);
        self.push_tuple(items)
    }

    fn push_tuple(&mut self, items: Vec<Value>) -> Result<(), String> {
        let depth = items.iter().map(|item| match item {
            Value::Tuple(_, depth) => depth + 1,
            _ => 1,
        });
        let depth = depth.max().unwrap_or(1);
        if depth > MAX_DEPTH {
            return Err("tuples are nested too deeply".to_owned());
        }
        // A dictionary as an argument does not matter, and must not be copied with the tuple.
        let items = items.into_iter().map(without_entries).collect();
        self.stack.push(Value::Tuple(items, depth));
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<(), String> {
        match self.stack.last_mut() {
            Some(Value::Dict(entries)) => {
                for pair in items.chunks(2) {
                    let [Value::Text(key), value] = pair else {
                        return Err("a key of a dictionary is not a string".to_owned());
                    };
                    let tensor = match value {
                        Value::Tensor(tensor) => Some(tensor.clone()),
                        _ => None,
                    };
                    entries.push((key.clone(), tensor));
                }
                Ok(())
            }
            _ => Err("entries are set outside of a dictionary".to_owned()),
        }
    }

    fn remember(&mut self, index: u32) -> Result<(), String> {
        let value = self.stack.last().ok_or("the stack is empty")?;
        let value = match value {
            // They still change, and nothing that matters refers to them.
            Value::Dict(_) => Value::Opaque,
            value => value.clone(),
        };
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), String> {
        let value = self.memo.get(&index).ok_or("it recalls what was not remembered")?;
        self.stack.push(value.clone());
        Ok(())
    }
}

fn without_entries(value: Value) -> Value {
    match value {
        Value::Dict(_) => Value::Opaque,
        value => value,
    }
}

/// `("storage", type, key, location, length)`.
fn storage(id: &Value) -> Result<Value, String> {
    if let Value::Tuple(items, _) = id
        && let [Value::Text(kind), Value::Name(Name::Storage(dtype)), Value::Text(key), ..] =
            items.as_ref()
        && kind.as_ref() == "storage"
    {
        return Ok(Value::Storage(*dtype, key.clone()));
    }
    Err("a persistent object is not a storage of known type".to_owned())
}

/// What a call would give, of the three that are known.
fn build(name: &Value, arguments: &Value) -> Result<Value, String> {
    let (Value::Name(name), Value::Tuple(arguments, _)) = (name, arguments) else {
        return Err("it calls something that has no name".to_owned());
    };
    match (name, arguments.as_ref()) {
        (Name::OrderedDict, []) => Ok(Value::Dict(Vec::new())),
        (Name::RebuildParameter, [Value::Tensor(tensor), ..]) => Ok(Value::Tensor(tensor.clone())),
        (
            Name::RebuildTensor,
            [
                Value::Storage(dtype, key),
                Value::Int(offset),
                Value::Tuple(shape, _),
                Value::Tuple(strides, _),
                ..,
            ],
        ) if shape.len() == strides.len() && shape.len() <= MAX_DIMS => {
            Ok(Value::Tensor(Rc::new(TensorRef {
                dtype: *dtype,
                key: key.to_string(),
                offset: size(&Value::Int(*offset))?,
                shape: shape.iter().map(size).collect::<Result<_, _>>()?,
                strides: strides.iter().map(size).collect::<Result<_, _>>()?,
            })))
        }
        _ => Err(format!("{name:?} has arguments that are not known")),
    }
}

fn size(value: &Value) -> Result<usize, String> {
    match value {
        Value::Int(value) => usize::try_from(*value).map_err(|error| error.to_string()),
        _ => Err("a size is not an integer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"w": tensor}` as `pickle.dumps(.., protocol=2)` writes it.
    fn pickle(function: &str, storage: &str) -> Vec<u8> {
        let mut bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00wq\x01".to_vec();
        bytes.extend(format!("c{function}\nq\x02((X\x07\x00\x00\x00storageq\x03").bytes());
        bytes.extend(format!("c{storage}\nq\x04X\x01\x00\x00\x007q\x05").bytes());
        bytes.extend(b"X\x03\x00\x00\x00cpuq\x06K\x08tq\x07QK\x02K\x02K\x03\x86q\x08");
        bytes.extend(b"K\x03K\x01\x86q\x09\x89ccollections\nOrderedDict\nq\x0a)Rq\x0btq\x0cR");
        bytes.extend(b"q\x0du.");
        bytes
    }

    const REBUILD: &str = "torch._utils\n_rebuild_tensor_v2";

    #[test]
    fn tensors_are_views_of_storages() {
        let read = read(&pickle(REBUILD, "torch\nHalfStorage")).unwrap();
        let expected = TensorRef {
            dtype: Dtype::F16,
            key: "7".to_owned(),
            offset: 2,
            shape: vec![2, 3],
            strides: vec![3, 1],
        };
        assert_eq!(read, [("w".to_owned(), expected)]);
    }

    #[test]
    fn programs_are_refused_by_name() {
        let error = read(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.").unwrap_err();
        assert!(error.contains("`os.system`"), "{error}");
        let error = read(&pickle("torch._utils\n_rebuild_qtensor", "torch\nHalfStorage"));
        assert!(error.unwrap_err().contains("_rebuild_qtensor"));
        let error = read(&pickle(REBUILD, "torch\nQInt8Storage")).unwrap_err();
        assert!(error.contains("QInt8Storage"), "{error}");
        // An instance of a class, which protocol 2 has an instruction for.
        let error = read(b"\x80\x02ccollections\nOrderedDict\n)\x81.").unwrap_err();
        assert!(error.contains("0x81"), "{error}");
        assert!(read(b"\x80\x04.").unwrap_err().contains("protocol 4"));
        let error = read(b"\x80\x02}X\x01\x00\x00\x00aK\x01s.").unwrap_err();
        assert!(error.contains("`a` is not a tensor"), "{error}");
    }

    #[test]
    fn damaged_pickles_are_refused_without_a_panic() {
        let whole = pickle(REBUILD, "torch\nFloatStorage");
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "{len}");
        }
        for at in 0..whole.len() {
            for change in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                let _ = read(&bytes);
            }
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let mut bytes = b"\x80\x02)".to_vec();
        bytes.extend([0x85; 100_000]);
        assert!(read(&bytes).unwrap_err().contains("too deeply"));
    }
}
