//! Pixels as transformers' image processors make them with Pillow.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use model_zoo::{Image, ImageError, ImageProcessor};
use serde_json::{Value, json};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/image_processor").join(name)
}

fn read(name: &str) -> Value {
    serde_json::from_slice(&fs::read(golden(name)).unwrap()).unwrap()
}

#[test]
fn pixels_are_those_of_transformers() {
    let cases = read("cases.json");
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 7);
    for (i, case) in cases.iter().enumerate() {
        let processor = ImageProcessor::from_json(&case["config"], "case", None).unwrap();
        let image = Image::from_numbers(&case["image"]).unwrap();
        let shape: [usize; 3] = serde_json::from_value(case["shape"].clone()).unwrap();
        let expected: Vec<f32> = serde_json::from_value(case["pixel_values"].clone()).unwrap();
        let found = processor.process(image, shape).unwrap();
        assert_eq!(found.len(), expected.len());
        let error = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        eprintln!("case {i}: {error:e}");
        let largest = expected.iter().fold(1.0, |largest: f32, value| largest.max(value.abs()));
        assert!(error <= 1e-6 * largest, "case {i}: {error}");
    }
}

#[test]
fn a_processor_that_does_not_fit_the_model_is_refused() {
    let config = json!({"image_processor_type": "ViTImageProcessor", "size": 8});
    let processor = ImageProcessor::from_json(&config, "test", None).unwrap();
    let image = || Image::from_numbers(&json!([[1, 2], [3, 4]])).unwrap();
    let error = processor.process(image(), [3, 16, 16]).unwrap_err();
    assert!(matches!(error, ImageError::Size { new_height: 8, model_width: 16, .. }), "{error}");
    let error = processor.process(image(), [1, 8, 8]).unwrap_err();
    assert!(matches!(error, ImageError::Statistics { found: 3, expected: 1 }), "{error}");
    let line = Image::new([1, 1 << 20, 1], vec![0; 1 << 20]).unwrap();
    let config = json!({"image_processor_type": "CLIPImageProcessor"});
    let processor = ImageProcessor::from_json(&config, "test", None).unwrap();
    assert!(matches!(processor.process(line, [3, 224, 224]), Err(ImageError::Size { .. })));
}

#[test]
fn folders_are_read_in_both_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: Value| {
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    };
    let error = ImageProcessor::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("preprocessor_config.json"), "{error}");
    write("config.json", json!({"model_type": "clip"}));
    write("processor_config.json", json!({"image_processor": {"size": 7}}));
    let nested = ImageProcessor::from_folder(folder.path()).unwrap();
    write("preprocessor_config.json", json!({"size": {"shortest_edge": 7}, "resample": 3}));
    assert_eq!(ImageProcessor::from_folder(folder.path()).unwrap(), nested);
}

#[cfg(not(feature = "images"))]
#[test]
fn files_need_a_feature() {
    let error = Image::open(golden("pixels.png")).unwrap_err().to_string();
    assert!(error.contains("`images`") && error.contains("pixels.png"), "{error}");
}

#[cfg(feature = "images")]
#[test]
fn files_are_decoded() {
    for (name, allowed) in [("pixels.png", 0), ("pixels.jpg", 2)] {
        let expected = Image::from_numbers(&read("files.json")[name]).unwrap();
        let found = Image::open(golden(name)).unwrap();
        assert_eq!(found.shape(), expected.shape());
        let differences = found.data().iter().zip(expected.data()).map(|(a, b)| a.abs_diff(*b));
        let largest = differences.max().unwrap();
        eprintln!("{name}: {largest} of 255");
        assert!(largest <= allowed, "{name}: {largest}");
    }
    let folder = tempfile::tempdir().unwrap();
    let [png, jpg] = ["pixels.png", "pixels.jpg"].map(|name| fs::read(golden(name)).unwrap());
    for (bytes, part) in [(&b"GIF89a"[..], "neither"), (&png[..60], "PNG"), (&jpg[..200], "JPEG")] {
        let path = folder.path().join("broken");
        fs::write(&path, bytes).unwrap();
        let error = Image::open(&path).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("broken"), "{error}");
    }
}
