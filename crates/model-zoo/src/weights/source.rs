use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::decode::{Order, all_finite, decode, finite_halves};
use super::file::WeightFile;
use super::index::ShardIndex;
use super::quantized::StoredForm;
use super::stored_tensor::StoredTensor;
use super::{WeightDType, WeightError};
use fused_ops::{StoredHalves, reads_columns, widened};
use quantization::Quantization;
use safetensors::Dtype;
use tensor_files::nearest;

/// The files of weights, the preferred first; each may be sharded, with an index beside it.
const SINGLE: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// The weights in a Hugging Face folder, taken one tensor at a time.
///
/// Reads `model.safetensors`, or the shards that `model.safetensors.index.json` names; where there
/// is neither, `pytorch_model.bin` or its shards, as `torch.save` writes them since PyTorch 1.6.
/// Files are mapped, so that only the tensor being taken needs memory. When everything is taken,
/// [`finish`](Self::finish) tells what was left over.
#[derive(Debug)]
pub struct WeightSource {
    pub(super) folder: PathBuf,
    shards: Vec<WeightFile>,
    /// Tensors not yet taken, with the index of their shard.
    left: BTreeMap<String, usize>,
    taken: BTreeSet<String>,
    dtype: WeightDType,
    /// How linears are stored, where not as floats.
    pub(super) form: Option<StoredForm>,
    /// How linears are to be held, where not as they are stored.
    pub(super) quantization: Option<Quantization>,
}

impl WeightSource {
    /// Opens the weights in `folder`.
    ///
    /// # Errors
    ///
    /// [`WeightError`] when there are none, or a file is unreadable, truncated or missing.
    pub fn open(folder: impl AsRef<Path>, dtype: WeightDType) -> Result<Self, WeightError> {
        let folder = folder.as_ref().to_owned();
        let Some((single, index)) = SINGLE
            .map(|name| (folder.join(name), folder.join(format!("{name}.index.json"))))
            .into_iter()
            .find(|(single, index)| single.exists() || index.exists())
        else {
            return Err(WeightError::NoWeights { folder });
        };
        let mut shards = Vec::new();
        let mut left = BTreeMap::new();
        if single.exists() {
            let shard = WeightFile::open(&single)?;
            left.extend(shard.names().into_iter().map(|name| (name, 0)));
            shards.push(shard);
        } else {
            let weight_map = ShardIndex::read(&index)?.weight_map;
            let files: BTreeSet<_> = weight_map.values().cloned().collect();
            for (i, file) in files.into_iter().enumerate() {
                let path = folder.join(&file);
                if !path.exists() {
                    return Err(WeightError::ShardMissing { index, shard: file });
                }
                let shard = WeightFile::open(&path)?;
                left.extend(shard.names().into_iter().map(|name| (name, i)));
                shards.push(shard);
            }
            if let Some((name, file)) =
                weight_map.iter().find(|(name, _)| !left.contains_key(*name))
            {
                let message = format!("says that `{file}` holds `{name}`, but no shard does");
                return Err(WeightError::Index { path: index, message });
            }
        }
        let form = StoredForm::of_folder(&folder)?;
        Ok(Self { folder, shards, left, taken: BTreeSet::new(), dtype, form, quantization: None })
    }

    /// The names of the tensors that were not yet taken.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.left.keys().map(String::as_str)
    }

    /// The element type that most floats of the tensors not yet taken are stored in; f32 where there
    /// are none.
    pub fn stored_dtype(&self) -> DType {
        let mut elements = [(DType::F32, 0), (DType::F16, 0), (DType::BF16, 0)];
        for name in self.left.keys() {
            let Ok(StoredTensor { dtype, shape, .. }) = self.stored(name) else { continue };
            let of = match dtype {
                Dtype::F32 | Dtype::F64 => 0,
                Dtype::F16 => 1,
                Dtype::BF16 => 2,
                _ => continue,
            };
            elements[of].1 += shape.iter().product::<usize>();
        }
        let most = elements.iter().fold(elements[0], |a, b| if b.1 > a.1 { *b } else { a });
        most.0
    }

    /// Takes a tensor as it is stored.
    ///
    /// # Errors
    ///
    /// [`WeightError`] when it is missing, was taken before, has another shape, or is not of
    /// floats.
    pub fn take<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, WeightError> {
        self.read(name, shape, shape, Order::AsStored, device)
    }

    /// Takes a matrix stored as `[rows, cols]` as `[cols, rows]`, in the order that products read fastest.
    ///
    /// Linears are stored `[out, in]`, and most multiply fastest by a contiguous `[in, out]`; see
    /// [`reads_columns`].
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_transposed(
        &mut self,
        name: &str,
        [rows, cols]: [usize; 2],
        device: &Device,
    ) -> Result<Tensor<2>, WeightError> {
        let dtype = match self.dtype {
            WeightDType::F32 => DType::F32,
            WeightDType::F16 => DType::F16,
            WeightDType::BF16 => DType::BF16,
            WeightDType::AsStored if self.stored(name)?.dtype == Dtype::BF16 => DType::BF16,
            WeightDType::AsStored => DType::F32,
        };
        if reads_columns(dtype, device) {
            let shape = [rows, cols];
            return Ok(self.read(name, shape, shape, Order::AsStored, device)?.transpose());
        }
        self.read(name, [rows, cols], [cols, rows], Order::Transposed { rows, cols }, device)
    }

    /// Takes one of the matrices that a tensor `[count, rows, cols]` holds, as a contiguous
    /// `[cols, rows]`. The tensor counts as taken with the last of them.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_slice_transposed(
        &mut self,
        name: &str,
        shape: [usize; 3],
        index: usize,
        device: &Device,
    ) -> Result<Tensor<2>, WeightError> {
        let [_, rows, cols] = shape;
        let order = Order::Transposed { rows, cols };
        let part = Some((index, shape[0]));
        if let Some(matrix) = self.widened(name, &shape, part, [cols, rows], order, device)? {
            self.taken_slice(name, shape[0], index);
            return Ok(matrix);
        }
        let (data, dtype) = self.slice(name, shape, index, order, self.dtype)?;
        self.check_dtype(name, dtype, device)?;
        Ok(Tensor::from_data(data, (device, dtype)))
    }

    /// As [`take_slice_transposed`](Self::take_slice_transposed), the elements as they are stored,
    /// in f32, row by row.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_slice_rows(
        &mut self,
        name: &str,
        shape: [usize; 3],
        index: usize,
    ) -> Result<Vec<f32>, WeightError> {
        let (data, _) = self.slice(name, shape, index, Order::AsStored, WeightDType::F32)?;
        Ok(data.try_into_vec::<f32>().unwrap_or_default())
    }

    fn slice(
        &mut self,
        name: &str,
        [count, rows, cols]: [usize; 3],
        index: usize,
        order: Order,
        wanted: WeightDType,
    ) -> Result<(TensorData, DType), WeightError> {
        let shape = match order {
            Order::AsStored => vec![rows, cols],
            Order::Transposed { .. } => vec![cols, rows],
        };
        let part = Some((index, count));
        let taken = self.decoded_as(name, &[count, rows, cols], part, shape, order, wanted)?;
        self.taken_slice(name, count, index);
        Ok(taken)
    }

    /// Counts a part of a tensor as taken.
    fn taken_slice(&mut self, name: &str, count: usize, index: usize) {
        if index + 1 == count {
            self.done(name);
        }
    }

    /// Takes the elements of a matrix as it is stored, in f32, row by row.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_rows(
        &mut self,
        name: &str,
        [rows, cols]: [usize; 2],
    ) -> Result<Vec<f32>, WeightError> {
        let expected = [rows, cols];
        let (order, wanted) = (Order::AsStored, WeightDType::F32);
        let (data, _) = self.decoded_as(name, &expected, None, expected.to_vec(), order, wanted)?;
        self.done(name);
        Ok(data.try_into_vec::<f32>().unwrap_or_default())
    }

    /// Whether there is a tensor that was not yet taken.
    pub(super) fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Takes the bytes of a tensor of any type.
    pub(super) fn take_bytes(&mut self, name: &str) -> Result<Vec<u8>, WeightError> {
        let bytes = self.stored(name)?.bytes.to_vec();
        self.done(name);
        Ok(bytes)
    }

    /// Takes the elements of a vector or matrix of any shape, in f32; `usual` is the type to name
    /// where it is none of floats.
    pub(super) fn take_floats(
        &mut self,
        name: &str,
        usual: Dtype,
    ) -> Result<Vec<f32>, WeightError> {
        let shape = self.stored(name)?.shape.to_vec();
        let elements = vec![shape.iter().product()];
        let (order, wanted) = (Order::AsStored, WeightDType::F32);
        let decoded = self.decoded_as(name, &shape, None, elements, order, wanted);
        let (data, _) = decoded.map_err(|error| match error {
            WeightError::Dtype { dtype, .. } => WeightError::Quantized {
                folder: self.folder.clone(),
                name: name.to_owned(),
                message: format!("is stored as {dtype}, expected {usual:?}"),
            },
            error => error,
        })?;
        self.done(name);
        Ok(data.try_into_vec::<f32>().unwrap_or_default())
    }

    /// Leaves out the tensors whose names satisfy `unwanted`, so that [`finish`](Self::finish)
    /// does not complain of them.
    pub fn ignore(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.left.retain(|name, _| !unwanted(name));
    }

    /// Checks that no tensor is left over.
    ///
    /// # Errors
    ///
    /// [`WeightError::UnusedTensors`] when some are.
    pub fn finish(self) -> Result<(), WeightError> {
        if self.left.is_empty() {
            return Ok(());
        }
        let names = self
            .left
            .keys()
            .map(|name| (name.clone(), nearest(name, self.taken.iter().map(String::as_str))))
            .collect();
        Err(WeightError::UnusedTensors { folder: self.folder, names })
    }

    /// Takes a tensor without dimensions, as f32 whatever the dtype of the others.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_scalar(&mut self, name: &str) -> Result<f32, WeightError> {
        let (data, _) = self.decoded(name, &[], vec![1], Order::AsStored)?;
        self.done(name);
        Ok(data.convert::<f32>().iter::<f32>().next().unwrap_or_default())
    }

    fn read<const D: usize>(
        &mut self,
        name: &str,
        expected: [usize; D],
        shape: [usize; D],
        order: Order,
        device: &Device,
    ) -> Result<Tensor<D>, WeightError> {
        if let Some(tensor) = self.widened(name, &expected, None, shape, order, device)? {
            self.done(name);
            return Ok(tensor);
        }
        let (data, dtype) = self.decoded(name, &expected, shape.to_vec(), order)?;
        self.check_dtype(name, dtype, device)?;
        self.done(name);
        Ok(Tensor::from_data(data, (device, dtype)))
    }

    /// Some GPUs store a half type, but compute nothing sensible with it.
    fn check_dtype(&self, name: &str, dtype: DType, device: &Device) -> Result<(), WeightError> {
        match dtype == DType::F32 || device.supports_dtype(dtype) {
            true => Ok(()),
            false => Err(WeightError::DeviceDtype { name: name.to_owned(), dtype }),
        }
    }

    /// A tensor that is not taken yet, stored as `expected`, in the given `shape`.
    fn decoded(
        &self,
        name: &str,
        expected: &[usize],
        shape: Vec<usize>,
        order: Order,
    ) -> Result<(TensorData, DType), WeightError> {
        self.decoded_as(name, expected, None, shape, order, self.dtype)
    }

    /// A tensor that is not taken yet, as its file has it.
    fn stored(&self, name: &str) -> Result<StoredTensor<'_>, WeightError> {
        let found = self.left.get(name).map(|shard| &self.shards[*shard]);
        found.and_then(|shard| shard.tensor(name)).ok_or_else(|| WeightError::MissingTensor {
            folder: self.folder.clone(),
            name: name.to_owned(),
            nearest: nearest(name, self.names()),
        })
    }

    /// As [`decoded`](Self::decoded), or one of so many equal parts of it, in an element type.
    fn decoded_as(
        &self,
        name: &str,
        expected: &[usize],
        part: Option<(usize, usize)>,
        shape: Vec<usize>,
        order: Order,
        wanted: WeightDType,
    ) -> Result<(TensorData, DType), WeightError> {
        let (bytes, stored) = self.checked(name, expected, part)?;
        let (folder, name) = (|| self.folder.clone(), name.to_owned());
        match decode(bytes, stored, wanted, order, shape) {
            None => {
                let dtype = format!("{stored:?}");
                Err(WeightError::Dtype { folder: folder(), name, dtype })
            }
            Some((data, dtype)) if !all_finite(&data) => {
                Err(WeightError::NotFinite { folder: folder(), name, dtype })
            }
            Some(decoded) => Ok(decoded),
        }
    }

    /// The bytes of a tensor that is not taken yet, stored as `expected`, or of one of so many equal parts of it,
    /// and their element type.
    fn checked(
        &self,
        name: &str,
        expected: &[usize],
        part: Option<(usize, usize)>,
    ) -> Result<(&[u8], Dtype), WeightError> {
        let stored = self.stored(name)?;
        if stored.shape != expected {
            return Err(WeightError::Shape {
                folder: self.folder.clone(),
                name: name.to_owned(),
                expected: expected.to_vec(),
                found: stored.shape.to_vec(),
            });
        }
        let bytes = match part {
            Some((index, count)) => {
                let len = stored.bytes.len() / count;
                &stored.bytes[index * len..(index + 1) * len]
            }
            None => stored.bytes,
        };
        Ok((bytes, stored.dtype))
    }

    /// As [`decoded_as`](Self::decoded_as) in f32, by a device that widens halves itself; `None` for all else.
    fn widened<const D: usize>(
        &self,
        name: &str,
        expected: &[usize],
        part: Option<(usize, usize)>,
        shape: [usize; D],
        order: Order,
        device: &Device,
    ) -> Result<Option<Tensor<D>>, WeightError> {
        let (bytes, stored) = self.checked(name, expected, part)?;
        let dtype = match (self.dtype, stored) {
            (WeightDType::F32, Dtype::F16) => DType::F16,
            (WeightDType::F32, Dtype::BF16) => DType::BF16,
            _ => return Ok(None),
        };
        let columns = match order {
            Order::AsStored => None,
            Order::Transposed { cols, .. } => Some(cols),
        };
        let Some(tensor) = widened(StoredHalves { bytes, dtype, columns }, shape, device) else {
            return Ok(None);
        };
        match finite_halves(bytes, dtype) {
            true => Ok(Some(tensor)),
            false => Err(WeightError::NotFinite {
                folder: self.folder.clone(),
                name: name.to_owned(),
                dtype: DType::F32,
            }),
        }
    }

    /// Counts a tensor as taken.
    fn done(&mut self, name: &str) {
        if let Some(shard) = self.left.remove(name) {
            self.shards[shard].release(name);
            self.taken.insert(name.to_owned());
        }
    }
}
