use std::fs;
use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Image, ImageError};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// Decodes a file by its first bytes, whatever its name.
pub(super) fn open(path: &Path) -> Result<Image, ImageError> {
    let bytes =
        fs::read(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    let decoded = match &bytes[..] {
        bytes if bytes.starts_with(PNG) => png(bytes),
        bytes if bytes.starts_with(JPEG) => jpeg(bytes),
        _ => Err("is neither a PNG nor a JPEG file".to_owned()),
    };
    let file = |message| ImageError::File { path: path.to_owned(), message };
    let (shape, data) = decoded.map_err(file)?;
    Image::new(shape, data).map_err(|error| file(error.to_string()))
}

type Decoded = Result<([usize; 3], Vec<u8>), String>;

fn png(bytes: &[u8]) -> Decoded {
    let failed = |error: png::DecodingError| format!("not a valid PNG file: {error}");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(failed)?;
    let (color, depth) = reader.output_color_type();
    if depth != BitDepth::Eight {
        return Err("has 16 bits a channel; save it with 8".to_owned());
    }
    let size = reader.output_buffer_size().ok_or("is too large")?;
    let mut data = vec![0; size];
    let frame = reader.next_frame(&mut data).map_err(failed)?;
    data.truncate(frame.buffer_size());
    let opaque = |data: Vec<u8>, of: usize| -> Vec<u8> {
        data.chunks_exact(of).flat_map(|pixel| &pixel[..of - 1]).copied().collect()
    };
    let (data, channels) = match color {
        ColorType::Grayscale => (data, 1),
        ColorType::GrayscaleAlpha => (opaque(data, 2), 1),
        ColorType::Rgba => (opaque(data, 4), 3),
        ColorType::Rgb | ColorType::Indexed => (data, 3),
    };
    Ok(([frame.height as usize, frame.width as usize, channels], data))
}

fn jpeg(bytes: &[u8]) -> Decoded {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    let data = decoder.decode().map_err(|error| format!("not a valid JPEG file: {error}"))?;
    let (width, height) = decoder.dimensions().ok_or("has no size")?;
    Ok(([height, width, 3], data))
}
