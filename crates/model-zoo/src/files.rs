use std::path::{Path, PathBuf};
use std::{fs, io, process};

/// Lets `write` fill a temporary file beside `path`, which then replaces it; so that nobody sees
/// half a file, even where the program is stopped.
pub(crate) fn replace_file<E>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
    io_error: impl Fn(io::Error) -> E,
) -> Result<(), E> {
    let temporary = temporary_name(path);
    let result = write(&temporary).and_then(|()| fs::rename(&temporary, path).map_err(io_error));
    if result.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Writes `bytes` to `path` as [`replace_file`] does.
pub(crate) fn replace_with(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_file(path, |temporary| fs::write(temporary, bytes), |error| error)
}

fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace_with(&path, b"old").unwrap();
        let failing = replace_file(
            &path,
            |temporary| {
                fs::write(temporary, b"half")?;
                Err(io::Error::other("no space"))
            },
            |error| error,
        );
        assert!(failing.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
