use std::{path::Path, sync::Arc};

use serde_json::Value;

use crate::{FileRow, Origin, Row, RowValue, SampleBy};

/// The rows of a text file, each with the one column `text`.
pub(crate) fn read<V: RowValue>(
    file: &Arc<Path>,
    text: &str,
    sample_by: SampleBy,
) -> Vec<FileRow<V>> {
    let text = text.replace("\r\n", "\n");
    let samples: Vec<(usize, &str)> = match sample_by {
        SampleBy::Line => text.lines().enumerate().map(|(line, text)| (line + 1, text)).collect(),
        SampleBy::Document if text.is_empty() => Vec::new(),
        SampleBy::Document => vec![(1, text.as_str())],
        SampleBy::Paragraph => paragraphs(&text),
    };
    let row = |(index, (line, text)): (usize, (usize, &str))| {
        let mut row = Row::default();
        row.insert("text", Value::from(text));
        FileRow { row, origin: Origin { file: file.clone(), row: index, line: Some(line) } }
    };
    samples.into_iter().enumerate().map(row).collect()
}

fn paragraphs(text: &str) -> Vec<(usize, &str)> {
    let mut line = 1;
    let mut paragraphs = Vec::new();
    for part in text.split("\n\n") {
        let trimmed = part.trim_matches('\n');
        if !trimmed.is_empty() {
            let before = part.len() - part.trim_start_matches('\n').len();
            paragraphs.push((line + before, trimmed));
        }
        line += part.matches('\n').count() + 2;
    }
    paragraphs
}
