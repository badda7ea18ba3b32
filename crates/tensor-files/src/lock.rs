use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::atomic::UNFINISHED;

const FILE: &str = ".lock";

/// A folder that only this process writes to, as long as the value lives.
///
/// It is a lock of the file `.lock` in the folder, which stays there unless it is
/// [removed](Self::remove): the system releases the lock
/// when the process ends, however it ends. It is advisory, for processes that ask, and there is none
/// where the file system has no locks.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    file: File,
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
    /// The folder is no longer where it was locked.
    #[error(
        "{}: was moved or removed while this process wrote to it; what was written is where the \
         folder is now", folder.display()
    )]
    Moved {
        /// Where it was.
        folder: PathBuf,
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
        let mut file = loop {
            let file = Self::locked(folder, &path, File::try_lock)?;
            // Whoever had it may have removed the file before it was locked here.
            match std::fs::metadata(&path) {
                Ok(found) if same_file(&found, &file.metadata().map_err(io)?) => break file,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(io(error)),
            }
        };
        let holder = format!("process {} on {}\n", std::process::id(), host());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()))
            .map_err(io)?;
        remove_unfinished(folder).map_err(io)?;
        Ok(Self { folder: folder.into(), file })
    }

    /// Locks a folder together with other processes that share it, which whoever wants it
    /// [alone](Self::acquire) waits for. Temporary files stay: they may be of others.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] where a process has it alone, [`LockError::Io`] when it cannot be locked.
    pub fn share(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(FILE);
        let io = |source| LockError::Io { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        let mut file = Self::locked(folder, &path, File::try_lock_shared)?;
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(b"processes that share it\n"))
            .map_err(io)?;
        Ok(Self { folder: folder.into(), file })
    }

    /// The locked file of a folder.
    fn locked(
        folder: &Path,
        path: &Path,
        lock: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<File, LockError> {
        let io = |source| LockError::Io { path: path.into(), source };
        // Not truncated: what it says is of the process that has it.
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        match lock(&file) {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if known { holder.trim() } else { "another process" }.to_owned();
                Err(LockError::Held { folder: folder.into(), holder })
            }
            // Some file systems of clusters have no locks. A run there goes without.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Ends the lock and removes its file, from a folder that nothing is written to again.
    ///
    /// # Errors
    ///
    /// [`LockError::Io`] when it cannot be removed.
    pub fn remove(self) -> Result<(), LockError> {
        let path = self.folder.join(FILE);
        std::fs::remove_file(&path).map_err(|source| LockError::Io { path, source })
    }

    /// Whether the folder is still the one that was locked. A file that is written by its path
    /// after the folder has been moved away would begin another folder there.
    ///
    /// # Errors
    ///
    /// [`LockError::Moved`] where it is not, [`LockError::Io`] when that cannot be found out.
    pub fn check(&self) -> Result<(), LockError> {
        let path = self.folder.join(FILE);
        let io = |source| LockError::Io { path: path.clone(), source };
        let same = match std::fs::metadata(&path) {
            Ok(found) => same_file(&found, &self.file.metadata().map_err(io)?),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(io(error)),
        };
        if same { Ok(()) } else { Err(LockError::Moved { folder: self.folder.clone() }) }
    }
}

#[cfg(unix)]
fn same_file(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Elsewhere a folder with an open file in it cannot be moved.
#[cfg(not(unix))]
fn same_file(_one: &std::fs::Metadata, _other: &std::fs::Metadata) -> bool {
    true
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
    fn a_folder_without_locks_goes_without_and_any_other_error_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let none = |_: &File| Err(TryLockError::Error(ErrorKind::Unsupported.into()));
        assert!(FolderLock::locked(folder.path(), &path, none).is_ok());
        let broken = |_: &File| Err(TryLockError::Error(ErrorKind::PermissionDenied.into()));
        let error = FolderLock::locked(folder.path(), &path, broken);
        assert!(matches!(error, Err(LockError::Io { .. })), "{error:?}");
    }

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
        FolderLock::acquire(&inner).unwrap().remove().unwrap();
        assert!(!inner.join(FILE).exists());
        FolderLock::acquire(&inner).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_that_is_moved_away_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("run");
        let lock = FolderLock::acquire(&inner).unwrap();
        lock.check().unwrap();
        std::fs::rename(&inner, folder.path().join("elsewhere")).unwrap();
        let error = lock.check().unwrap_err().to_string();
        assert!(error.contains("run: was moved or removed"), "{error}");
        // Another folder in its place is not the same one.
        let _other = FolderLock::acquire(&inner).unwrap();
        assert!(matches!(lock.check(), Err(LockError::Moved { .. })));
    }

    #[test]
    fn a_shared_folder_is_nobodys_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::share(folder.path()).unwrap();
        let second = FolderLock::share(folder.path()).unwrap();
        drop(first);
        assert!(matches!(FolderLock::acquire(folder.path()), Err(LockError::Held { .. })));
        second.check().unwrap();
        drop(second);
        let alone = FolderLock::acquire(folder.path()).unwrap();
        assert!(matches!(FolderLock::share(folder.path()), Err(LockError::Held { .. })));
        drop(alone);
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
