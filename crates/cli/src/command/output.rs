use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lora_moe::moe_adapter::{ADAPTER_CONFIG_FILE, FolderLock};

/// A folder that a command writes once. The file that it is known by is written last, so a folder
/// without it is of a command that was ended, and is written again.
pub struct OutputFolder {
    folder: PathBuf,
    known_by: &'static str,
    what: &'static str,
}

impl OutputFolder {
    /// The folder of an adapter, which holds none yet.
    pub fn of_adapter(folder: &Path) -> Result<Self> {
        Self::new(folder, ADAPTER_CONFIG_FILE, "an adapter")
    }

    /// The folder of a model, which holds none yet.
    pub fn of_model(folder: &Path) -> Result<Self> {
        Self::new(folder, "config.json", "a model")
    }

    fn new(folder: &Path, known_by: &'static str, what: &'static str) -> Result<Self> {
        let output = Self { folder: folder.to_owned(), known_by, what };
        output.check_free()?;
        Ok(output)
    }

    fn check_free(&self) -> Result<()> {
        if self.folder.join(self.known_by).exists() {
            bail!("{} already holds {}; choose another --output", self.folder.display(), self.what);
        }
        Ok(())
    }

    /// Makes the folder what `write` writes into it, while no other process does. Where nothing is written,
    /// there is no folder afterwards that was not there before.
    pub fn fill(&self, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let is_new = !self.folder.exists();
        let lock = FolderLock::acquire(&self.folder).context("cannot write to --output")?;
        self.check_free()?;
        let written = write(&self.folder);
        let removed = lock.remove();
        if written.is_err() && is_new {
            // One that holds something stays.
            std::fs::remove_dir(&self.folder).ok();
        }
        written.and(Ok(removed?))
    }
}
