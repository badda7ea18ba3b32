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
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let (prefix, suffix) = UNFINISHED;
    let mut file = tempfile::Builder::new().prefix(prefix).suffix(suffix).tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    #[cfg(unix)]
    {
        // Temporary files are private by default; what is written here is meant to be shared.
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Makes renames in a folder last, where the system has folders that can be synced.
///
/// # Errors
///
/// Any error of the file system.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
