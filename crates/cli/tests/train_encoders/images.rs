//! Encoders of images: arrays, folders, CLIP's vision tower.

use std::fmt::Write;

use serde_json::json;

use super::{Place, glue_recipe};
use crate::support::{arg, lora_moe, succeeds};

/// Images of which the bright half, above or below, is the class; as columns of pixels.
fn digits(count: usize) -> String {
    let mut text = (1..=64).map(|at| format!("Block {at},")).collect::<String>() + "Class\n";
    for row in 0..count {
        for at in 0..64 {
            let bright = (at < 32) == (row % 2 == 0);
            let value = if bright { 12 + (row + at) % 5 } else { (row * at) % 4 };
            write!(text, "{value},").unwrap();
        }
        writeln!(text, "{}", if row % 2 == 0 { "above" } else { "below" }).unwrap();
    }
    text
}

const DIGITS: &str = "format = \"csv\", columns = { pixels = \"Block *\", label = \"Class\" }";

#[test]
fn an_image_classifier_is_trained_on_arrays() {
    let place = Place::new();
    place.vit();
    let train = place.write("digits.tra", &digits(64));
    place.recipe(&format!(
        "task = \"image_classification\"\ntrain = [{{ path = \"{}\", {DIGITS} }}]\n\
         validation_split = 0.25",
        arg(&train)
    ));
    let shown = succeeds(&["data", "--config", &place.text("run.toml")]);
    assert!(shown.contains("8 x 8 x 1 · "), "{shown}");
    let dry = succeeds(&["train", "--config", &place.text("run.toml"), "--dry-run", "--measure"]);
    assert!(dry.contains("48 samples") && dry.contains("16 x 17 tokens"), "{dry}");
    place.train(&[]);
    assert!(place.measured("run", "eval_accuracy") > 0.9);
    let found = place.predictions(&["--data", arg(&train)]);
    assert_eq!((found.len(), &found[1]["label"]), (64, &json!("below")));
    let merged = place.text("merged");
    let (base, run) = (place.text("model"), place.text("run"));
    succeeds(&["merge", "--model", &base, "--adapter", &run, "--output", &merged]);
    let again = place.predictions(&["--model", &merged, "--data", arg(&train)]);
    assert!(again.iter().zip(&found).all(|(one, other)| one["label"] == other["label"]));

    // Goes on from the merged model with its own head, and from its adapter.
    let model = format!("model.path={merged}");
    let output = format!("training.output_dir={}", place.text("on"));
    place.train(&["--set", &model, "--set", "model.new_head=false", "--set", &output]);
    let labels = "data.labels=[\"below\", \"above\"]";
    let error = place.refused(&["--set", &model, "--set", "model.new_head=false", "--set", labels]);
    assert!(error.contains("config.json") && error.contains("above, below"), "{error}");
    let from = format!("adapter.from={run}");
    let output = format!("training.output_dir={}", place.text("from"));
    place.train(&["--set", &from, "--set", &output]);
    let first = |run: &str| place.metrics(run).iter().find_map(|line| line["loss"].as_f64());
    assert!(first("from") < first("run"));
}

/// GOAT's experiments in small: its experts on CLIP's vision tower, and on RoBERTa.
#[test]
fn goat_is_trained_on_images_by_clip_and_on_texts() {
    let place = Place::new();
    place.model("model", &["evaluation/tests/golden/classification/clip"]);
    let mut rows = String::new();
    for row in 0..48_usize {
        let bright = |y: usize| (y < 8) == row.is_multiple_of(2);
        let value =
            |x: usize, y: usize| if bright(y) { 200 + (x * row) % 40 } else { x * row % 40 };
        let image: Vec<Vec<usize>> =
            (0..16).map(|y| (0..16).map(|x| value(x, y)).collect()).collect();
        let label = if row.is_multiple_of(2) { "above" } else { "below" };
        writeln!(rows, "{}", json!({ "image": image, "label": label })).unwrap();
    }
    let rows = place.write("rows.jsonl", &rows);
    place.recipe(&format!(
        "task = \"image_classification\"\ntrain = [{{ path = {:?} }}]\nvalidation_split = 16",
        arg(&rows)
    ));
    let goat = ["--set", "adapter.preset=goat-paper", "--set", "adapter.r=8"];
    let targets = ["--set", "adapter.target_modules=[\"q_proj\", \"v_proj\"]"];
    let longer = ["--set", "training.max_steps=64"];
    place.train(&[&goat[..], &targets, &longer].concat());
    assert!(place.measured("run", "eval_accuracy") > 0.7);
    let (base, run, merged) = (place.text("model"), place.text("run"), place.text("merged"));
    let merge = ["merge", "--model", &base, "--adapter", &run, "--output", &merged];
    succeeds(&[&merge[..], &["--weights", "0.5,0.5,0,0,0,0,0,0"]].concat());
    assert_eq!(place.predictions(&["--model", &merged, "--data", arg(&rows)]).len(), 48);

    let place = Place::new();
    glue_recipe(&place);
    place.train(&goat);
    let lines = place.metrics("run");
    assert!(lines.iter().any(|line| line["balance_loss"].is_number()), "{lines:?}");
    assert!(place.measured("run", "eval_loss") < 0.65);
}

/// A grey PNG of 8 x 8, not compressed.
fn png(value: impl Fn(usize, usize) -> u8) -> Vec<u8> {
    let mut raw = Vec::new();
    for y in 0..8 {
        raw.push(0);
        raw.extend((0..8).map(|x| value(x, y)));
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in &raw {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    let length = u16::try_from(raw.len()).unwrap();
    let mut data = vec![0x78, 0x01, 0x01];
    data.extend(length.to_le_bytes());
    data.extend((!length).to_le_bytes());
    data.extend(&raw);
    data.extend(((b << 16) | a).to_be_bytes());
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        let body = [kind, data].concat();
        let mut crc = u32::MAX;
        for byte in &body {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        file.extend(&body);
        file.extend((!crc).to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 8, 0, 0, 0, 8, 8, 0, 0, 0, 0]);
    chunk(b"IDAT", &data);
    chunk(b"IEND", &[]);
    file
}

#[test]
fn an_image_classifier_is_trained_on_a_folder() {
    let place = Place::new();
    place.vit();
    for row in 0..24_usize {
        let above = row.is_multiple_of(2);
        let image = png(|x, y| if (y < 4) == above { 14 + (x % 3) as u8 } else { (row % 4) as u8 });
        let name = format!("images/{}/{row}.png", if above { "above" } else { "below" });
        place.write(&name, "");
        std::fs::write(place.path(&name), image).unwrap();
    }
    place.recipe(&format!(
        "task = \"image_classification\"\ntrain = [{{ path = \"{}\" }}]\nvalidation_split = 8",
        place.text("images")
    ));
    let config = place.text("run.toml");
    let output = lora_moe(&["train", "--config", &config]);
    let error = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        // Without decoders of image files the feature is named that brings them.
        assert!(error.contains("build it with the feature `images`"), "{error}");
        assert!(error.contains(".png"), "{error}");
        println!("skipped: the command was built without the feature `images`");
        return;
    }
    assert!(place.measured("run", "eval_accuracy") > 0.9);
    let found = place.predictions(&["--data", &place.text("images")]);
    assert!(found[0]["file"].as_str().unwrap().ends_with("above/0.png"), "{}", found[0]);
    place.write("images/above/0.png", "not an image");
    let error = place.refused(&["--set", &format!("training.output_dir={}", place.text("x"))]);
    assert!(error.contains("above/0.png") && error.contains("neither a PNG"), "{error}");
}
