use std::path::{Path, PathBuf};

use moe_adapter::{FolderLock, write_atomically};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StudyConfig;
use crate::StudyError;

const CONFIG_FILE: &str = "study.json";
/// The folders of what was measured, or is about to be.
const KINDS: [&str; 4] = ["search", "runs", "cost", CHECKPOINTS];
const CHECKPOINTS: &str = "checkpoints";
const VERSION_FILE: &str = "versions.json";
const DATA_FILE: &str = "data.json";

/// The version of Burn that the workspace is pinned to.
pub(super) const BURN_VERSION: &str = "0.22.1";

#[derive(Serialize)]
struct Version {
    #[serde(rename = "lora-moe")]
    lora_moe: &'static str,
    burn: &'static str,
}

/// The folder of a study: its configuration, and one file for each thing that was measured, so
/// that a study that was interrupted goes on where it was.
pub(super) struct Store {
    folder: PathBuf,
    lock: FolderLock,
}

impl Store {
    /// Opens the folder of a study, or makes it: for this process alone, or `shared` with others that
    /// share it too.
    ///
    /// # Errors
    ///
    /// [`StudyError`] when the folder holds another study or cannot be used.
    pub(super) fn open(
        folder: &Path,
        config: &StudyConfig,
        shared: bool,
    ) -> Result<Self, StudyError> {
        let lock = match shared {
            true => FolderLock::share(folder)?,
            false => FolderLock::acquire(folder)?,
        };
        let store = Self { folder: folder.to_owned(), lock };
        store.same(CONFIG_FILE, config, "a study of another configuration")?;
        let version = Version { lora_moe: env!("CARGO_PKG_VERSION"), burn: BURN_VERSION };
        store.same(VERSION_FILE, &version, "a study that another version of lora-moe began")?;
        Ok(store)
    }

    /// Notes what data the study rests on.
    ///
    /// # Errors
    ///
    /// [`StudyError`] when what was measured before rests on other data.
    pub(super) fn rests_on(&self, data: &[(String, String)]) -> Result<(), StudyError> {
        if data.is_empty() {
            return Ok(());
        }
        self.same(DATA_FILE, data, "a study of other data, or of data that has changed since")
    }

    /// Writes a file that says what the study is, or compares with the one that is there.
    fn same<T: Serialize + ?Sized>(
        &self,
        file: &str,
        value: &T,
        other: &str,
    ) -> Result<(), StudyError> {
        let path = self.folder.join(file);
        let state = |message: String| StudyError::state(&path, message);
        let text = serde_json::to_string_pretty(value).map_err(|error| state(error.to_string()))?;
        // As long as nothing was measured a mistake can be corrected.
        if !path.exists() || !self.holds_measures() {
            return write_atomically(&path, text.as_bytes()).map_err(StudyError::io(&path));
        }
        let found = std::fs::read_to_string(&path).map_err(StudyError::io(&path))?;
        match found == text {
            true => Ok(()),
            false => Err(state(format!(
                "the folder holds {other}; restore it, or choose another --output"
            ))),
        }
    }

    fn holds_measures(&self) -> bool {
        KINDS.iter().any(|kind| self.folder.join(kind).exists())
    }

    /// What was measured before, where it was.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<T>, StudyError> {
        let path = self.path(kind, name);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(StudyError::io(&path))?;
        serde_json::from_str(&text).map(Some).map_err(|error| {
            StudyError::state(&path, format!("{error}; delete the file to measure it again"))
        })
    }

    /// Keeps what was measured.
    pub(super) fn put<T: Serialize>(
        &self,
        kind: &str,
        name: &str,
        value: &T,
    ) -> Result<(), StudyError> {
        self.lock.check()?;
        let path = self.path(kind, name);
        let text = serde_json::to_string(value)
            .map_err(|error| StudyError::state(&path, error.to_string()))?;
        write_atomically(&path, text.as_bytes()).map_err(StudyError::io(&path))
    }

    /// A folder for what can be made again.
    pub(super) fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    /// The folder of the checkpoints of a run in progress.
    pub(super) fn checkpoints(&self, kind: &str, name: &str) -> PathBuf {
        self.folder.join(CHECKPOINTS).join(claim_name(kind, name))
    }

    fn path(&self, kind: &str, name: &str) -> PathBuf {
        path(&self.folder, kind, name)
    }
}

fn path(folder: &Path, kind: &str, name: &str) -> PathBuf {
    folder.join(kind).join(format!("{}.json", file_name(name)))
}

/// Whether the folder of a study holds something that was measured.
pub(super) fn holds(folder: &Path, kind: &str, name: &str) -> bool {
    path(folder, kind, name).is_file()
}

/// The name of the file by which something is claimed that is to be measured.
pub(super) fn claim_name(kind: &str, name: &str) -> String {
    format!("{kind}-{}", file_name(name))
}

/// A name with nothing in it that a path could not hold. Case is not told apart by all systems.
pub(super) fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' };
    name.chars().map(safe).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_burn_is_that_of_the_lock_file() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
        let lock = std::fs::read_to_string(path).unwrap();
        assert!(lock.contains(&format!("name = \"burn\"\nversion = \"{BURN_VERSION}\"")));
    }
}
