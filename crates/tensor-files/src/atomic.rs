use std::fs::File;
use std::io::Write;
use std::path::Path;

/// How the names of temporary files begin and end.
pub(crate) const UNFINISHED: (&str, &str) = (".writing-", ".tmp");

/// Writes a file so that a reader sees the old content or the new, never a part, though the power
/// fails: to a temporary file in the same folder, synced, renamed, and the folder synced. The folder
/// is made where it is missing.
///
/// # Errors
///
/// Any error of the file system; the old file is then untouched.
pub fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    fill_atomically(path, |file| file.write_all(content), |error| error)
}

/// As [`write_atomically`], with what `fill` writes to the temporary file.
///
/// # Errors
///
/// Those of `fill`, and of the file system as `io` makes them; the old file is then untouched.
pub fn fill_atomically<E>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<(), E>,
    io: impl Fn(std::io::Error) -> E,
) -> Result<(), E> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(&io)?;
    let (prefix, suffix) = UNFINISHED;
    let file = tempfile::Builder::new().prefix(prefix).suffix(suffix).tempfile_in(folder);
    let mut file = file.map_err(&io)?;
    fill(file.as_file_mut())?;
    file.as_file().sync_all().map_err(&io)?;
    #[cfg(unix)]
    {
        // Temporary files are private by default; what is written here is meant to be shared.
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(&io)?;
    }
    file.persist(path).map_err(|error| io(error.error))?;
    sync_folder(folder).map_err(io)
}

/// Makes renames in a folder last, where the system has folders that can be synced.
///
/// # Errors
///
/// Any error of the file system.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomically(&path, b"old").unwrap();
        let half = |file: &mut File| {
            file.write_all(b"half")?;
            Err(std::io::Error::other("no space"))
        };
        assert!(fill_atomically(&path, half, |error| error).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
