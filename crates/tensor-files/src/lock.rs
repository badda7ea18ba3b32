use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::atomic::UNFINISHED;

const FILE: &str = ".lock";

/// A folder that only this process writes to, as long as the value lives.
///
/// It is a lock of the file `.lock` in the folder, which stays there: the system releases the lock
/// when the process ends, however it ends. It is advisory, for processes that ask, and there is none
/// where the file system has no locks.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// A folder that cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process writes to it.
    #[error("{}: in use by {holder}; wait for it, or choose another folder", folder.display())]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The process and its host.
        holder: String,
    },
    /// The file cannot be made or locked.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl FolderLock {
    /// Locks a folder, which is made where it is missing, and removes the temporary files that
    /// [`write_atomically`](crate::write_atomically) left there when a process was killed.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] naming the process that has it, [`LockError::Io`] when it cannot be
    /// locked.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(FILE);
        let io = |source| LockError::Io { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        // Not truncated: what it says is of the process that has it.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if known { holder.trim() } else { "another process" }.to_owned();
                return Err(LockError::Held { folder: folder.into(), holder });
            }
            // Some file systems of clusters have no locks. A run there goes without.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let holder = format!("process {} on {}\n", std::process::id(), host());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()))
            .map_err(io)?;
        remove_unfinished(folder).map_err(io)?;
        Ok(Self { _file: file })
    }
}

/// Removes what processes have left that ended while they wrote. Whoever has the lock is the only
/// one who writes.
fn remove_unfinished(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1) && path.is_file() {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The name of this machine, as far as it is known without asking the network.
fn host() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = named.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    named.or_else(|| std::env::var("COMPUTERNAME").ok()).unwrap_or_else(|| "this host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_lock_which_ends_with_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("made");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join(".writing-x.tmp"), "half").unwrap();
        std::fs::write(inner.join("kept.tmp"), "whole").unwrap();
        let first = FolderLock::acquire(&inner).unwrap();
        let error = FolderLock::acquire(&inner).unwrap_err().to_string();
        let holder = format!("process {}", std::process::id());
        assert!(error.contains("made") && error.contains(&holder), "{error}");
        assert!(!inner.join(".writing-x.tmp").exists() && inner.join("kept.tmp").exists());
        drop(first);
        FolderLock::acquire(&inner).unwrap();
    }

    #[test]
    fn a_place_that_is_no_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = FolderLock::acquire(&file).unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
    }
}
