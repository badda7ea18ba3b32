use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::digest::{bytes_of, xxh64};
use crate::{InitError, TripletPlan, Triplets};

/// A folder of decompositions, so that the next run with the same weights starts at once.
///
/// A file holds the triplets of one plan of one weight, `(O + I) k` values, as safetensors; its
/// name is made of the weight's digest and the plan's. A file is written whole or not at all.
/// What is read is checked: that it is for this weight and plan, has the right shapes, and is as
/// it was written. A file that fails is an error rather than made anew: files are not torn by an
/// interrupted run, so something else is wrong with the folder, and the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SvdCache {
    folder: PathBuf,
}

impl SvdCache {
    /// A cache in `folder`, which is made when the first file is written.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file for a plan of a weight.
    pub fn path(&self, digest: u64, plan: &TripletPlan) -> PathBuf {
        self.folder.join(format!("{digest:016x}-{:016x}.safetensors", plan.digest()))
    }

    /// The triplets of a weight `[in_features, out_features]`; `None` where they are not stored.
    ///
    /// # Errors
    ///
    /// [`InitError::Cache`] when the file cannot be read or fails a check.
    pub(crate) fn load(
        &self,
        digest: u64,
        plan: &TripletPlan,
        [in_features, out_features]: [usize; 2],
    ) -> Result<Option<Triplets>, InitError> {
        let path = self.path(digest, plan);
        let failed = |problem: String| InitError::Cache { path: path.clone(), problem };
        let broken = |what: &str| failed(format!("{what}; delete the file to have it made again"));
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let (_, header) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| broken(&format!("not a complete safetensors file: {error}")))?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| broken(&format!("not a complete safetensors file: {error}")))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        if metadata.get("weight").map(String::as_str) != Some(&hex(digest)) {
            return Err(broken("holds the triplets of another weight"));
        }
        let stored = metadata.get("plan").and_then(|text| serde_json::from_str(text).ok());
        if stored.as_ref() != Some(plan) {
            return Err(broken("holds other triplets"));
        }
        let mut parts = Vec::with_capacity(3);
        let count = plan.indices().len();
        for (name, size) in [("values", 1), ("left", out_features), ("right", in_features)] {
            let view = tensors.tensor(name).map_err(|_| broken(&format!("has no `{name}`")))?;
            if view.dtype() != Dtype::F32 || view.shape() != [count, size] {
                let (dtype, shape) = (view.dtype(), view.shape());
                return Err(broken(&format!("`{name}` is {dtype:?} {shape:?}")));
            }
            let (chunks, _) = view.data().as_chunks::<4>();
            parts.push(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect());
        }
        let [values, left, right]: [Vec<f32>; 3] =
            parts.try_into().map_err(|_| broken("is incomplete"))?;
        let triplets = Triplets { digest, plan: plan.clone(), values, left, right };
        if metadata.get("checksum").map(String::as_str) != Some(&checksum(&triplets)) {
            return Err(broken("is not as it was written: the checksum differs"));
        }
        Ok(Some(triplets))
    }

    /// Writes the file of `triplets`, atomically.
    ///
    /// # Errors
    ///
    /// [`InitError::Cache`] when it cannot be written.
    pub(crate) fn store(&self, triplets: &Triplets) -> Result<(), InitError> {
        let path = self.path(triplets.digest, &triplets.plan);
        let failed = |problem: String| InitError::Cache { path: path.clone(), problem };
        let plan = serde_json::to_string(&triplets.plan).map_err(|e| failed(e.to_string()))?;
        let metadata = HashMap::from([
            ("weight".to_owned(), hex(triplets.digest)),
            ("plan".to_owned(), plan),
            ("checksum".to_owned(), checksum(triplets)),
        ]);
        let count = triplets.values.len();
        let parts = [
            ("values", bytes_of(&triplets.values)),
            ("left", bytes_of(&triplets.left)),
            ("right", bytes_of(&triplets.right)),
        ];
        let mut views = Vec::with_capacity(parts.len());
        for (name, bytes) in &parts {
            let shape = vec![count, bytes.len() / 4 / count.max(1)];
            let view =
                TensorView::new(Dtype::F32, shape, bytes).map_err(|e| failed(e.to_string()))?;
            views.push((*name, view));
        }
        let bytes =
            safetensors::serialize(views, Some(metadata)).map_err(|e| failed(e.to_string()))?;
        self.write(&path, &bytes).map_err(|error| failed(error.to_string()))
    }

    /// To a temporary file of the same folder, which is then renamed.
    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(&self.folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

fn hex(digest: u64) -> String {
    format!("{digest:016x}")
}

fn checksum(triplets: &Triplets) -> String {
    let parts = [&triplets.values, &triplets.left, &triplets.right];
    hex(parts.into_iter().fold(triplets.digest, |seed, part| xxh64(&bytes_of(part), seed)))
}
