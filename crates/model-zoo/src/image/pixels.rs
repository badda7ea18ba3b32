use std::path::Path;

use serde_json::Value;

use super::ImageError;

const ARRAY: &str = "whole numbers from 0 to 255 in equal rows: [rows, columns], [channels, rows, \
                     columns] or [rows, columns, channels], with 1 or 3 channels and at least one \
                     pixel";

/// An image with 8 bits for each channel of a pixel, grey or red, green and blue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `[height, width, channels]`.
    shape: [usize; 3],
    data: Vec<u8>,
}

impl Image {
    /// An image of `data` in the order `[height, width, channels]`.
    ///
    /// # Errors
    ///
    /// [`ImageError::Value`] when the data do not fill the shape, it has no pixel, or channels are
    /// neither 1 nor 3.
    pub fn new(shape: [usize; 3], data: Vec<u8>) -> Result<Self, ImageError> {
        let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
        if count != Some(data.len()) || data.is_empty() || !matches!(shape[2], 1 | 3) {
            let found = format!("{} values for [rows, columns, channels] = {shape:?}", data.len());
            return Err(ImageError::Value { found, allowed: ARRAY });
        }
        Ok(Self { shape, data })
    }

    /// Reads a PNG or JPEG file; what is transparent is taken for opaque, as Pillow's
    /// `convert("RGB")` does. Needs the feature `images`.
    ///
    /// # Errors
    ///
    /// [`ImageError`] when the file cannot be read, is of another kind or has 16 bits a channel,
    /// and always without the feature.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ImageError> {
        let path = path.as_ref();
        #[cfg(feature = "images")]
        return super::file::open(path);
        #[cfg(not(feature = "images"))]
        Err(ImageError::NoFiles { path: path.to_owned() })
    }

    /// Reads the bytes of a PNG or JPEG file, as [`open`](Self::open) does.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        #[cfg(feature = "images")]
        return super::file::decode(bytes);
        #[cfg(not(feature = "images"))]
        Err(ImageError::NoFiles { path: format!("{} bytes of an image", bytes.len()).into() })
    }

    /// An array of numbers from 0 to 255: `[rows, columns]`, which is grey, `[channels, rows,
    /// columns]` or `[rows, columns, channels]`. Three rows of three numbers could be either of
    /// the latter, and are taken for channels first, as in transformers.
    ///
    /// # Errors
    ///
    /// [`ImageError::Value`] when it is something else.
    pub fn from_numbers(value: &Value) -> Result<Self, ImageError> {
        let mut numbers = Numbers::default();
        numbers.read(value, 0)?;
        let data = numbers.data;
        match *numbers.shape.as_slice() {
            [rows, columns] => Self::new([rows, columns, 1], data),
            [channels @ (1 | 3), rows, columns] => {
                let size = rows * columns;
                let interleaved = (0..size).flat_map(|i| (0..channels).map(move |c| c * size + i));
                let data = interleaved.map(|i| data[i]).collect();
                Self::new([rows, columns, channels], data)
            }
            [rows, columns, channels @ (1 | 3)] => Self::new([rows, columns, channels], data),
            ref shape => {
                let found = format!("an array of shape {shape:?}");
                Err(ImageError::Value { found, allowed: ARRAY })
            }
        }
    }

    /// `[height, width, channels]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The values in the order `[height, width, channels]`.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The same with so many channels: grey becomes red, green and blue alike.
    pub(super) fn with_channels(self, channels: usize) -> Result<Self, ImageError> {
        let [height, width, found] = self.shape;
        match (found, channels) {
            _ if found == channels => Ok(self),
            (1, 3) => {
                let data = self.data.iter().flat_map(|value| [*value; 3]).collect();
                Self::new([height, width, 3], data)
            }
            _ => Err(ImageError::Channels { found, expected: channels }),
        }
    }
}

/// The numbers of a nested array.
#[derive(Default)]
struct Numbers {
    shape: Vec<usize>,
    complete: bool,
    data: Vec<u8>,
}

impl Numbers {
    fn read(&mut self, value: &Value, depth: usize) -> Result<(), ImageError> {
        let refused = |found: String| Err(ImageError::Value { found, allowed: ARRAY });
        let Value::Array(items) = value else {
            self.complete = true;
            if depth != self.shape.len() {
                return refused("an array whose parts have different depths".to_owned());
            }
            let number = value.as_f64().filter(|x| x.fract() == 0.0 && (0.0..=255.0).contains(x));
            let Some(number) = number else {
                let what = value.to_string();
                return refused(format!(
                    "an array with {}",
                    what.chars().take(40).collect::<String>()
                ));
            };
            self.data.push(number as u8);
            return Ok(());
        };
        match self.shape.get(depth) {
            Some(size) if *size == items.len() => {}
            None if !self.complete && depth < 3 => self.shape.push(items.len()),
            Some(_) => return refused("an array whose rows have different lengths".to_owned()),
            None => return refused("an array whose parts have different depths".to_owned()),
        }
        items.iter().try_for_each(|item| self.read(item, depth + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arrays_are_read_in_their_three_layouts() {
        let grey = Image::from_numbers(&json!([[0, 1, 2], [3.0, 4, 255]])).unwrap();
        assert_eq!((grey.shape(), grey.data()), ([2, 3, 1], [0, 1, 2, 3, 4, 255].as_slice()));
        let first = json!([[[1, 2], [7, 8]], [[3, 4], [9, 10]], [[5, 6], [11, 12]]]);
        let last = json!([[[1, 3, 5], [2, 4, 6]], [[7, 9, 11], [8, 10, 12]]]);
        let [first, last] = [first, last].map(|value| Image::from_numbers(&value).unwrap());
        assert_eq!(first.shape(), [2, 2, 3]);
        assert_eq!(first.data(), [1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12]);
        assert_eq!(first, last);
        let colours = grey.with_channels(3).unwrap();
        assert_eq!(
            (colours.shape(), &colours.data()[..6]),
            ([2, 3, 3], [0, 0, 0, 1, 1, 1].as_slice())
        );
        assert!(matches!(first.with_channels(1), Err(ImageError::Channels { found: 3, .. })));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for value in [
            json!(null),
            json!(7),
            json!([]),
            json!([1, 2]),
            json!([[]]),
            json!([[1, 2], [3]]),
            json!([[1, 2], 3]),
            json!([1, [2]]),
            json!([[0.5]]),
            json!([[256]]),
            json!([[-1]]),
            json!([["a"]]),
            json!([[[1, 2], [1, 2]], [[1, 2], [1, 2]]]),
            json!([[[[1]]]]),
        ] {
            let found = Image::from_numbers(&value);
            assert!(matches!(found, Err(ImageError::Value { .. })), "{value}: {found:?}");
        }
        assert!(Image::new([2, 2, 3], vec![0; 11]).is_err());
        assert!(Image::new([2, 2, 2], vec![0; 8]).is_err());
    }
}
