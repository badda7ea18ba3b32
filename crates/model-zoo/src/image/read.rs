//! The keys of `preprocessor_config.json`.

use std::path::Path;

use serde_json::Value;

use super::geometry::TargetSize;
use super::processor::Normalization;
use super::{ImageProcessor, Resample};
use crate::ConfigError;
use crate::encoder::{Keys, read_config};

const FILE: &str = "preprocessor_config.json";
const PROCESSORS: &str = "ViTImageProcessor, ViTImageProcessorFast, CLIPImageProcessor, \
                          CLIPImageProcessorFast";
const HALVES: [f64; 3] = [0.5; 3];
/// Of the images that CLIP was trained on.
const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// Whose defaults apply, and what one number as `size` means.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Vit,
    Clip,
}

impl ImageProcessor {
    /// Reads `preprocessor_config.json` in `folder`, or the `image_processor` in
    /// `processor_config.json`, which recent versions of transformers write for CLIP. Where
    /// neither says whose processor it is, `model_type` in `config.json` decides.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is no such file, or it asks for what is not done here.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let folder = folder.as_ref();
        let config = folder.join("config.json");
        let model_type = match config.exists() {
            true => read_config(&config)?["model_type"].as_str().map(str::to_owned),
            false => None,
        };
        let path = folder.join(FILE);
        let of_all = folder.join("processor_config.json");
        if !path.exists() && of_all.exists() {
            let origin = of_all.display().to_string();
            let value = read_config(&of_all)?;
            let keys = Keys::new(&value, &origin)?;
            let part =
                keys.get("image_processor").ok_or_else(|| keys.missing("image_processor"))?;
            return Self::from_json(part, &origin, model_type.as_deref());
        }
        Self::from_json(&read_config(&path)?, &path.display().to_string(), model_type.as_deref())
    }

    /// Reads a configuration that is already parsed; `origin` stands for the file in messages, and
    /// `model_type` (`vit`, `clip`, `clip_vision_model`) decides where the configuration does not
    /// say whose it is. What is absent has the default of transformers.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it asks for what is not done here, or makes no sense.
    pub fn from_json(
        value: &Value,
        origin: &str,
        model_type: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let keys = Keys::new(value, origin)?;
        let kind = kind(&keys, model_type)?;
        if keys.boolean("do_pad")? == Some(true) {
            return Err(keys.unsupported("do_pad", "true", "false"));
        }
        let asked = |key, default| keys.boolean(key).map(|asked| asked.unwrap_or(default));
        let size = match asked("do_resize", true)? {
            true => Some((size(&keys, kind)?, resample(&keys, kind)?)),
            false => None,
        };
        let crop_size = match asked("do_center_crop", kind == Kind::Clip)? {
            true => Some(crop_size(&keys, kind)?),
            false => None,
        };
        let rescale_factor = match asked("do_rescale", true)? {
            true => Some(keys.number("rescale_factor")?.unwrap_or(1.0 / 255.0)),
            false => None,
        };
        let normalize = match asked("do_normalize", true)? {
            true => Some(normalization(&keys, kind)?),
            false => None,
        };
        Ok(Self { size, crop_size, rescale_factor, normalize })
    }
}

fn kind(keys: &Keys, model_type: Option<&str>) -> Result<Kind, ConfigError> {
    for key in ["image_processor_type", "feature_extractor_type"] {
        match keys.text(key)? {
            Some(name) if name.starts_with("ViT") => return Ok(Kind::Vit),
            Some(name) if name.starts_with("CLIP") => return Ok(Kind::Clip),
            Some(name) => return Err(keys.unsupported(key, name, PROCESSORS)),
            None => {}
        }
    }
    match model_type {
        Some("vit") => Ok(Kind::Vit),
        Some("clip" | "clip_vision_model") => Ok(Kind::Clip),
        _ => Err(keys.missing("image_processor_type")),
    }
}

fn size(keys: &Keys, kind: Kind) -> Result<TargetSize, ConfigError> {
    let square = |edge| match kind {
        Kind::Vit => TargetSize::Exact { height: edge, width: edge },
        Kind::Clip => TargetSize::ShortestEdge(edge),
    };
    let Some(value) = keys.get("size") else { return Ok(square(224)) };
    if value.is_u64() {
        return Ok(square(positive(keys, "size")?));
    }
    let parts = keys.object("size", "size.")?.ok_or_else(|| keys.missing("size"))?;
    let others = ["longest_edge", "max_height", "max_width"];
    if let Some(other) = others.into_iter().find(|key| parts.get(key).is_some()) {
        return Err(parts.unsupported(other, "present", "height and width, or shortest_edge"));
    }
    if parts.get("shortest_edge").is_some() {
        return Ok(TargetSize::ShortestEdge(positive(&parts, "shortest_edge")?));
    }
    let [height, width] = both(&parts)?;
    Ok(TargetSize::Exact { height, width })
}

fn crop_size(keys: &Keys, kind: Kind) -> Result<[usize; 2], ConfigError> {
    match keys.get("crop_size") {
        None if kind == Kind::Clip => Ok([224; 2]),
        None => Err(keys.missing("crop_size")),
        Some(value) if value.is_u64() => positive(keys, "crop_size").map(|size| [size; 2]),
        Some(_) => {
            let parts = keys.object("crop_size", "crop_size.")?;
            both(&parts.ok_or_else(|| keys.missing("crop_size"))?)
        }
    }
}

fn both(parts: &Keys) -> Result<[usize; 2], ConfigError> {
    Ok([positive(parts, "height")?, positive(parts, "width")?])
}

/// A size in pixels; the limit keeps a broken file from asking for all memory.
fn positive(keys: &Keys, key: &str) -> Result<usize, ConfigError> {
    let size = keys.required_size(key)?;
    match size {
        1..=16_384 => Ok(size),
        _ => Err(keys.invalid(key, size, "1 to 16384 pixels")),
    }
}

fn resample(keys: &Keys, kind: Kind) -> Result<Resample, ConfigError> {
    match keys.size("resample")? {
        None if kind == Kind::Clip => Ok(Resample::Bicubic),
        None | Some(2) => Ok(Resample::Bilinear),
        Some(3) => Ok(Resample::Bicubic),
        Some(other) => {
            let allowed = "2 (bilinear), 3 (bicubic)";
            Err(keys.unsupported("resample", &other.to_string(), allowed))
        }
    }
}

fn normalization(keys: &Keys, kind: Kind) -> Result<Normalization, ConfigError> {
    let (mean, std) = match kind {
        Kind::Vit => (HALVES, HALVES),
        Kind::Clip => (CLIP_MEAN, CLIP_STD),
    };
    let values = |key, default: [f64; 3]| {
        let read = |value: &Value| match value {
            Value::Array(items) if matches!(items.len(), 1 | 3) => {
                items.iter().map(Value::as_f64).collect()
            }
            _ => value.as_f64().map(|value| vec![value]),
        };
        let values = keys.typed(key, "a number, or a list of 1 or 3 numbers", read)?;
        Ok::<_, ConfigError>(values.unwrap_or(default.to_vec()))
    };
    let (mean, std) = (values("image_mean", mean)?, values("image_std", std)?);
    if let Some(zero) = std.iter().find(|std| !(std.is_finite() && **std > 0.0)) {
        return Err(keys.invalid("image_std", zero, "finite numbers above 0"));
    }
    Ok(Normalization { mean, std })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<ImageProcessor, ConfigError> {
        ImageProcessor::from_json(&value, "test", None)
    }

    #[test]
    fn one_number_is_a_square_for_vit_and_the_shorter_edge_for_clip() {
        let vit =
            read(json!({"feature_extractor_type": "ViTFeatureExtractor", "size": 30})).unwrap();
        let square = TargetSize::Exact { height: 30, width: 30 };
        assert_eq!(vit.size, Some((square, Resample::Bilinear)));
        assert_eq!((vit.crop_size, vit.rescale_factor), (None, Some(1.0 / 255.0)));
        let clip =
            json!({"image_processor_type": "CLIPImageProcessorFast", "size": 30, "crop_size": 20});
        let clip = read(clip).unwrap();
        assert_eq!(clip.size, Some((TargetSize::ShortestEdge(30), Resample::Bicubic)));
        assert_eq!(clip.crop_size, Some([20; 2]));
        let old = json!({"size": 30, "image_mean": [0.1], "image_std": 0.3});
        let old = ImageProcessor::from_json(&old, "test", Some("vit")).unwrap();
        assert_eq!(old.normalize, Some(Normalization { mean: vec![0.1], std: vec![0.3] }));
    }

    #[test]
    fn what_is_not_done_here_is_refused_by_its_key() {
        let named = |change: Value, key: &str| {
            let mut config = json!({"image_processor_type": "CLIPImageProcessor"});
            for (name, value) in change.as_object().unwrap() {
                config[name] = value.clone();
            }
            let error = read(config).unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        };
        named(json!({"image_processor_type": "BlipImageProcessor"}), "image_processor_type");
        named(json!({"image_processor_type": null}), "image_processor_type");
        named(json!({"resample": 1}), "resample");
        named(json!({"size": {"longest_edge": 3}}), "size.longest_edge");
        named(json!({"size": {"height": 3}}), "size.width");
        named(json!({"size": 0}), "size");
        named(json!({"size": "big"}), "size");
        named(json!({"crop_size": {"height": 3, "width": 99999}}), "crop_size.width");
        named(json!({"image_std": [0.5, 0.0, 0.5]}), "image_std");
        named(json!({"image_mean": [0.5, 0.5]}), "image_mean");
        named(json!({"do_pad": true}), "do_pad");
        named(json!({"do_resize": "yes"}), "do_resize");
    }
}
