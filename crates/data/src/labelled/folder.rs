use std::path::{Path, PathBuf};
use std::sync::Arc;

use record_files::{OrderedValue, Origin};

use super::{ImageData, LabelledRow, RowInput};
use crate::DataError;

const IMAGES: [&str; 3] = ["png", "jpg", "jpeg"];

/// Whether a folder holds images by label: folders with images in them.
pub(super) fn is_image_folder(folder: &Path) -> bool {
    folder.is_dir() && labels(folder).is_ok_and(|labels| !labels.is_empty())
}

/// The images of a folder that holds one folder for each label, by label and name.
pub(super) fn read_folder(
    folder: &Path,
    task_type: Option<u32>,
) -> Result<Vec<LabelledRow>, DataError> {
    let mut rows = Vec::new();
    for (label, images) in labels(folder)? {
        for path in images {
            rows.push(LabelledRow {
                origin: Origin { file: Arc::from(path.as_path()), row: 0, line: None },
                input: RowInput::Image(ImageData::File(path)),
                label: Some(OrderedValue::String(label.clone())),
                task_type,
            });
        }
    }
    Ok(rows)
}

/// The images in each folder of a folder.
fn labels(folder: &Path) -> Result<Vec<(String, Vec<PathBuf>)>, DataError> {
    let mut found = Vec::new();
    for path in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let mut images = entries(&path)?;
        images.retain(|path| is_image(path));
        let Some(label) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !images.is_empty() {
            found.push((label.to_owned(), images));
        }
    }
    Ok(found)
}

/// What is in a folder and not hidden, in alphabetical order.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let wrong = |error: std::io::Error| DataError::Path {
        path: folder.display().to_string(),
        message: error.to_string(),
    };
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    path.is_file() && extension.is_some_and(|of| IMAGES.contains(&of.to_ascii_lowercase().as_str()))
}
