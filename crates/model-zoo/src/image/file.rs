use std::fs;
use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_png::PngDecoder;
use zune_png::error::PngDecodeErrors;
use zune_png::zune_core::bytestream::ZCursor;
use zune_png::zune_core::colorspace::ColorSpace;
use zune_png::zune_core::options::DecoderOptions;
use zune_png::zune_core::result::DecodingResult;

use super::{Image, ImageError};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// Decodes a file by its first bytes, whatever its name.
pub(super) fn open(path: &Path) -> Result<Image, ImageError> {
    let bytes =
        fs::read(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    decoded(&bytes).map_err(|message| ImageError::File { path: path.to_owned(), message })
}

/// Decodes the bytes of a file.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, ImageError> {
    decoded(bytes).map_err(|message| ImageError::Encoded { message })
}

fn decoded(bytes: &[u8]) -> Result<Image, String> {
    let (shape, data) = match bytes {
        bytes if bytes.starts_with(PNG) => png(bytes),
        bytes if bytes.starts_with(JPEG) => jpeg(bytes),
        _ => Err("is neither a PNG nor a JPEG file".to_owned()),
    }?;
    Image::new(shape, data).map_err(|error| error.to_string())
}

type Decoded = Result<([usize; 3], Vec<u8>), String>;

fn png(bytes: &[u8]) -> Decoded {
    let failed = |error: PngDecodeErrors| format!("not a valid PNG file: {error:?}");
    let mut decoder = PngDecoder::new(ZCursor::new(bytes));
    let DecodingResult::U8(data) = decoder.decode().map_err(failed)? else {
        return Err("has 16 bits a channel; save it with 8".to_owned());
    };
    let (width, height) = decoder.dimensions().ok_or("has no size")?;
    let colors = decoder.colorspace().ok_or("has no colours")?;
    let opaque = |data: Vec<u8>, of: usize| -> Vec<u8> {
        data.chunks_exact(of).flat_map(|pixel| &pixel[..of - 1]).copied().collect()
    };
    let (data, channels) = match colors {
        ColorSpace::Luma => (data, 1),
        ColorSpace::LumaA => (opaque(data, 2), 1),
        ColorSpace::RGB => (data, 3),
        ColorSpace::RGBA => (opaque(data, 4), 3),
        other => return Err(format!("has colours of an unknown kind, {other:?}")),
    };
    Ok(([height, width, channels], data))
}

fn jpeg(bytes: &[u8]) -> Decoded {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let data = decoder.decode().map_err(|error| format!("not a valid JPEG file: {error}"))?;
    let (width, height) = decoder.dimensions().ok_or("has no size")?;
    Ok(([height, width, 3], data))
}
