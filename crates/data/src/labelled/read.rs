use std::path::Path;

use model_zoo::Image;
use record_files::{FileRow, OrderedValue, Origin, Row, excerpt, read_rows_as};
use serde_json::Value;

use super::folder::{is_image_folder, read_folder};
use super::{ImageData, LabelledColumns, LabelledFile, LabelledRow, RowInput};
use crate::{DataError, paths};

/// What the rows of a file hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// Texts, or pairs of texts.
    Text,
    /// Images.
    Image,
}

/// The usual names of texts, of one or of two that are compared; pairs first, because one of them
/// has the name of a single text.
const TEXTS: [(&str, Option<&str>); 7] = [
    ("sentence1", Some("sentence2")),
    ("premise", Some("hypothesis")),
    ("question1", Some("question2")),
    ("question", Some("sentence")),
    ("text", Some("text_pair")),
    ("sentence", None),
    ("text", None),
];
const IMAGES: [&str; 4] = ["image", "file_name", "img", "pixel_values"];
const LABELS: [&str; 3] = ["label", "labels", "score"];

/// Reads the rows of files, in the order given. Labels may be absent where the files have no column
/// of them.
///
/// # Errors
/// [`DataError`] naming the file, the row, and the column that is missing or holds something else.
pub fn read_labelled(
    files: &[LabelledFile],
    kind: InputKind,
) -> Result<Vec<LabelledRow>, DataError> {
    if files.is_empty() {
        return Err(DataError::NoRecords("an empty list of files".into()));
    }
    let mut rows = Vec::new();
    for file in files {
        if kind == InputKind::Image && is_image_folder(&file.path) {
            rows.extend(read_folder(&file.path, file.task_type)?);
            continue;
        }
        for path in paths(&file.path)? {
            read_file(file, &path, kind, &mut rows)?;
        }
    }
    let with = |row: &&LabelledRow| row.task_type.is_some();
    if let (Some(with), Some(without)) = (rows.iter().find(with), rows.iter().find(|r| !with(r))) {
        return Err(DataError::MixedTaskTypes {
            with: with.origin.to_string(),
            without: without.origin.to_string(),
        });
    }
    Ok(rows)
}

fn read_file(
    file: &LabelledFile,
    path: &Path,
    kind: InputKind,
    rows: &mut Vec<LabelledRow>,
) -> Result<(), DataError> {
    let found: Vec<FileRow<OrderedValue>> = read_rows_as(path, &file.options())?;
    let Some(first) = found.first() else {
        return Err(DataError::NoRecords(format!("`{}`", path.display())));
    };
    let reader = Reader::new(file, kind, &first.row, &first.origin)?;
    rows.reserve(found.len());
    for FileRow { row, origin } in found {
        rows.push(reader.row(&row, origin)?);
    }
    Ok(())
}

/// The columns of a file.
struct Reader<'a> {
    input: Columns,
    label: Option<String>,
    file: &'a LabelledFile,
}

enum Columns {
    Text(String, Option<String>),
    Image(String),
    /// One value of a pixel each.
    Pixels(Vec<String>),
}

impl<'a> Reader<'a> {
    fn new(
        file: &'a LabelledFile,
        kind: InputKind,
        first: &Row<OrderedValue>,
        origin: &Origin,
    ) -> Result<Self, DataError> {
        let columns = &file.columns;
        let has = |name: &str| first.get(name).is_some();
        let missing = |what: &str| DataError::NoColumn {
            origin: origin.clone(),
            what: what.to_owned(),
            columns: first.columns().map(|name| format!("`{}`", excerpt(name))).collect(),
        };
        let named = [&columns.text, &columns.text_pair, &columns.image, &columns.label];
        if let Some(name) = named.into_iter().flatten().find(|name| !has(name)) {
            return Err(missing(&format!("`{name}`, which `columns` names")));
        }
        let label = match &columns.label {
            Some(label) => Some(label.clone()),
            None => LABELS.iter().find(|name| has(name)).map(|name| (*name).to_owned()),
        };
        let input = match kind {
            InputKind::Text => Self::texts(columns, has).ok_or_else(|| {
                let usual: Vec<_> = TEXTS.iter().map(|(text, _)| format!("`{text}`")).collect();
                missing(&format!("of texts ({}, or `columns.text`)", usual.join(", ")))
            })?,
            InputKind::Image => Self::images(columns, has, first).ok_or_else(|| {
                let usual: Vec<_> = IMAGES.iter().map(|name| format!("`{name}`")).collect();
                let usual = usual.join(", ");
                missing(&format!("of images ({usual}, `columns.image` or `columns.pixels`)"))
            })?,
        };
        Ok(Self { input, label, file })
    }

    fn texts(columns: &LabelledColumns, has: impl Fn(&str) -> bool) -> Option<Columns> {
        if let Some(text) = &columns.text {
            return Some(Columns::Text(text.clone(), columns.text_pair.clone()));
        }
        let usual = TEXTS.iter().find(|(text, pair)| has(text) && pair.is_none_or(&has))?;
        let pair = columns.text_pair.clone().or(usual.1.map(str::to_owned));
        Some(Columns::Text(usual.0.to_owned(), pair))
    }

    fn images(
        columns: &LabelledColumns,
        has: impl Fn(&str) -> bool,
        first: &Row<OrderedValue>,
    ) -> Option<Columns> {
        if let Some(pattern) = &columns.pixels {
            let (before, after) = pattern.split_once('*').unwrap_or((pattern, ""));
            let fits = |name: &&str| {
                name.len() >= before.len() + after.len()
                    && name.starts_with(before)
                    && name.ends_with(after)
            };
            let names: Vec<_> = first.columns().filter(fits).map(str::to_owned).collect();
            return (!names.is_empty()).then_some(Columns::Pixels(names));
        }
        let usual = || IMAGES.iter().find(|name| has(name)).map(|name| (*name).to_owned());
        columns.image.clone().or_else(usual).map(Columns::Image)
    }

    fn row(&self, row: &Row<OrderedValue>, origin: Origin) -> Result<LabelledRow, DataError> {
        let label = self.label.as_deref().and_then(|name| row.get(name));
        let empty = |value: &OrderedValue| value.is_null() || value.as_str() == Some("");
        Ok(LabelledRow {
            input: match &self.input {
                Columns::Text(text, pair) => RowInput::Text {
                    text: self.text(row, text, &origin)?,
                    text_pair: match pair {
                        Some(pair) => Some(self.text(row, pair, &origin)?),
                        None => None,
                    },
                },
                Columns::Image(name) => RowInput::Image(self.image(row, name, &origin)?),
                Columns::Pixels(names) => RowInput::Image(self.pixels(row, names, &origin)?),
            },
            label: label.filter(|value| !empty(value)).cloned(),
            task_type: self.file.task_type,
            origin,
        })
    }

    fn text(
        &self,
        row: &Row<OrderedValue>,
        name: &str,
        origin: &Origin,
    ) -> Result<String, DataError> {
        match row.get(name) {
            Some(OrderedValue::String(text)) => Ok(text.clone()),
            other => Err(wrong(origin, name, crate::layout::found(other), "a text")),
        }
    }

    /// A file beside that of the row, the bytes of one, or lists of numbers.
    fn image(
        &self,
        row: &Row<OrderedValue>,
        name: &str,
        origin: &Origin,
    ) -> Result<ImageData, DataError> {
        const ALLOWED: &str = "the path of an image file, an object with its `bytes`, or whole numbers from 0 to 255 in equal \
                               rows: [rows, columns] or [channels, rows, columns]";
        let value = row.get(name);
        let refused = |found: String| wrong(origin, name, found, ALLOWED);
        let path = match value {
            // A list that stands in a table as text.
            Some(OrderedValue::String(text)) if text.trim_start().starts_with('[') => {
                let value: Value =
                    serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
                let image = Image::from_numbers(&value);
                return image.map(ImageData::Pixels).map_err(|error| refused(error.to_string()));
            }
            Some(OrderedValue::String(text)) => text,
            // As the hub's data sets have it.
            Some(OrderedValue::Object(fields)) => match fields.get("bytes") {
                Some(OrderedValue::Array(bytes)) => {
                    let byte = |of: &OrderedValue| match of {
                        OrderedValue::Number(number) => u8::try_from(number.as_u64()?).ok(),
                        _ => None,
                    };
                    let bytes: Option<Vec<u8>> = bytes.iter().map(byte).collect();
                    let bytes = bytes.ok_or_else(|| refused("`bytes` that are none".to_owned()))?;
                    return Ok(ImageData::Encoded(bytes.into()));
                }
                _ => match fields.get("path") {
                    Some(OrderedValue::String(path)) => path,
                    _ => return Err(refused("an object without `bytes` and `path`".to_owned())),
                },
            },
            Some(OrderedValue::Array(_)) => {
                let value = Value::from(value.cloned().unwrap_or_default());
                let image = Image::from_numbers(&value);
                return image.map(ImageData::Pixels).map_err(|error| refused(error.to_string()));
            }
            other => return Err(refused(crate::layout::found(other))),
        };
        let beside = origin.file.parent().unwrap_or(Path::new(""));
        Ok(ImageData::File(beside.join(path)))
    }

    fn pixels(
        &self,
        row: &Row<OrderedValue>,
        names: &[String],
        origin: &Origin,
    ) -> Result<ImageData, DataError> {
        let values = names.iter().map(|name| {
            let value = row.get(name);
            let number = match value {
                Some(OrderedValue::Number(number)) => number.as_f64(),
                Some(OrderedValue::String(text)) => text.trim().parse().ok(),
                _ => None,
            };
            let whole = number.filter(|of| of.fract() == 0.0 && (0.0..=255.0).contains(of));
            let refused = || crate::layout::found(value);
            whole
                .map(|number| number as u8)
                .ok_or_else(|| wrong(origin, name, refused(), "a whole number from 0 to 255"))
        });
        let values: Vec<u8> = values.collect::<Result<_, _>>()?;
        let shape = self.shape(values.len())?;
        let [channels, rows, columns] = shape;
        // From one channel after the other to one pixel after the other.
        let size = rows * columns;
        let data: Vec<u8> = (0..size)
            .flat_map(|at| (0..channels).map(move |of| of * size + at))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|at| values[at])
            .collect();
        let image = Image::new([rows, columns, channels], data);
        let refused = |error: model_zoo::ImageError| DataError::Setting {
            key: "image_shape",
            found: format!("{shape:?}"),
            allowed: error.to_string(),
        };
        image.map(ImageData::Pixels).map_err(refused)
    }

    /// Channels, rows and columns of an image of so many values.
    fn shape(&self, count: usize) -> Result<[usize; 3], DataError> {
        let wrong = |found: String| DataError::Setting {
            key: "image_shape",
            found,
            allowed: format!(
                "[rows, columns] or [channels, rows, columns] of {count} values, the columns that \
                 `columns.pixels` matches"
            ),
        };
        let shape = match self.file.image_shape.as_deref() {
            None => {
                let edge = count.isqrt();
                if edge * edge != count {
                    return Err(wrong("absent".into()));
                }
                [1, edge, edge]
            }
            Some([rows, columns]) => [1, *rows, *columns],
            Some([channels, rows, columns]) => [*channels, *rows, *columns],
            Some(other) => return Err(wrong(format!("{other:?}"))),
        };
        match shape.iter().try_fold(1_usize, |all, size| all.checked_mul(*size)) == Some(count) {
            true => Ok(shape),
            false => Err(wrong(format!("{:?}", self.file.image_shape))),
        }
    }
}

fn wrong(origin: &Origin, key: &str, found: String, allowed: &'static str) -> DataError {
    DataError::Value { origin: origin.clone(), key: key.to_owned(), found, allowed }
}
