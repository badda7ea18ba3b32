use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use super::{DemoReport, ResultRow, report_html};

/// Writes `results.json`: the list of rows and nothing else.
///
/// # Errors
/// When the file cannot be written; an earlier one is then left as it was.
pub fn write_results(path: &Path, rows: &[ResultRow]) -> io::Result<()> {
    let mut json = serde_json::to_string_pretty(rows)?;
    json.push('\n');
    write_text(path, &json)
}

/// Reads what [`write_results`] wrote.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn read_results(path: &Path) -> io::Result<Vec<ResultRow>> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

/// Writes the page of the report.
///
/// # Errors
/// When the file cannot be written; an earlier one is then left as it was.
pub fn write_report(path: &Path, report: &DemoReport) -> io::Result<()> {
    write_text(path, &report_html(report))
}

/// Writes a picture.
///
/// # Errors
/// When the file cannot be written; an earlier one is then left as it was.
pub fn write_svg(path: &Path, svg: &str) -> io::Result<()> {
    write_text(path, svg)
}

/// Writes a file whole or not at all.
pub(crate) fn write_text(path: &Path, text: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut builder = tempfile::Builder::new();
    // Temporary files are private by default; this one becomes an ordinary file, subject to the umask.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
