use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::RunError;

/// The SHA-256 of a file, in hexadecimal digits.
///
/// # Errors
/// [`RunError::Io`] when the file cannot be read.
pub fn file_hash(path: &Path) -> Result<String, RunError> {
    let mut hasher = Sha256::new();
    add(path, &mut hasher).map_err(RunError::io(path))?;
    Ok(hex(hasher))
}

/// The SHA-256 of the configuration and the weights in a folder of a model or an adapter: of names
/// and contents of `*.json`, `*.safetensors` and `*.bin`, in the order of their names, without
/// folders in it.
///
/// # Errors
/// [`RunError::Io`] when the folder or a file in it cannot be read.
pub fn folder_hash(folder: &Path) -> Result<String, RunError> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>())
        .map_err(RunError::io(folder))?;
    let kind = |path: &PathBuf| path.extension().and_then(|kind| kind.to_str().map(str::to_owned));
    files.retain(|path| {
        path.is_file()
            && matches!(kind(path).as_deref(), Some("json" | "safetensors" | "bin"))
            // A training run writes on while its model is evaluated.
            && path.file_name() != Some("results.json".as_ref())
    });
    files.sort();
    let mut hasher = Sha256::new();
    for path in &files {
        if let Some(name) = path.file_name() {
            hasher.update(name.as_encoded_bytes());
            hasher.update([0]);
        }
        add(path, &mut hasher).map_err(RunError::io(path))?;
    }
    Ok(hex(hasher))
}

fn add(path: &Path, hasher: &mut Sha256) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256_and_change_with_content_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, "abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(file_hash(&path).unwrap(), known);
        let before = folder_hash(folder.path()).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
        assert_eq!(folder_hash(folder.path()).unwrap(), before);
        std::fs::rename(&path, folder.path().join("b.json")).unwrap();
        assert_ne!(folder_hash(folder.path()).unwrap(), before);
    }
}
