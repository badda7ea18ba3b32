//! The files under `recipes`: each is a run that the command understands, and trains as many
//! parameters as its paper says, where it says so.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{arg, fails, succeeds};

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes")
}

fn llama2_7b() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096,
        "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
    })
}

fn llama3_8b() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096,
        "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
    })
}

fn roberta_large() -> Value {
    json!({
        "model_type": "roberta", "vocab_size": 50265, "hidden_size": 1024,
        "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
    })
}

fn clip_vit_b32() -> Value {
    json!({
        "model_type": "clip", "projection_dim": 512,
        "vision_config": {
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
            "num_attention_heads": 12, "image_size": 224, "patch_size": 32,
        },
    })
}

struct Recipe {
    file: &'static str,
    model: Value,
    /// The parameters of experts and of routers.
    trained: [usize; 2],
    /// What the paper prints, in percent of so many parameters, and how far we may be from it: the
    /// last digit, and half of it where it is not rounded alike.
    printed: Option<(f64, usize, f64)>,
}

/// Experts are `sum (I + O) r` over the adapted linears, routers `sum E I`.
fn all() -> Vec<Recipe> {
    vec![
        Recipe {
            file: "loramoe-llama2-7b",
            model: llama2_7b(),
            trained: [34_799_616, 3_686_400],
            printed: None,
        },
        Recipe {
            file: "goat-commonsense-llama2-7b",
            model: llama2_7b(),
            trained: [56_098_816, 7_012_352],
            // Table 3, of the model without its embeddings.
            printed: Some((0.96, 6_738_415_616 - 32_000 * 4096, 0.005)),
        },
        Recipe {
            file: "goat-math-llama2-7b",
            model: llama2_7b(),
            trained: [19_988_480, 9_109_504],
            printed: None,
        },
        Recipe {
            file: "goat-glue-roberta-large",
            model: roberta_large(),
            trained: [14_155_776, 1_769_472],
            // Table 4, of the model without its pooler; rounded up from 4.4947.
            printed: Some((4.50, 354_310_144, 0.006)),
        },
        Recipe {
            file: "goat-clip-vit-b32",
            model: clip_vit_b32(),
            trained: [1_327_104, 663_552],
            // Table 1, of the tower without its projection, and a LoRA of rank 8.
            printed: Some((2.24, 87_456_000 + 1_327_104, 0.005)),
        },
        Recipe {
            file: "slim-llama3-8b-instruct",
            model: llama3_8b(),
            // As many in the experts as in a LoRA of rank 128, with which the paper compares.
            trained: [32 * 3 * (4096 + 14336) * 128, 7_208_960],
            printed: None,
        },
    ]
}

/// The number behind a word, as in `experts 1,024`.
fn number(text: &str, word: &str) -> usize {
    let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("no {word} in {text}"));
    let digits = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == ',');
    digits.filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[test]
fn every_recipe_is_a_run_that_trains_what_its_paper_says() {
    let folder = tempfile::tempdir().unwrap();
    for Recipe { file, model, trained, printed } in all() {
        // Of a model only its configuration is needed.
        std::fs::write(folder.path().join("config.json"), model.to_string()).unwrap();
        let recipe = recipes().join(format!("{file}.toml"));
        let path = format!("model.path={}", arg(folder.path()));
        let run = ["train", "--config", arg(&recipe), "--dry-run", "--without-data"];
        let text = succeeds(&[&run[..], &["--set", &path]].concat());
        println!("{file}\n{text}");
        let found = [number(&text, "experts"), number(&text, "routers")];
        assert_eq!(found, trained, "{file}");
        if let Some((percent, of, within)) = printed {
            let computed = 100.0 * trained.iter().sum::<usize>() as f64 / of as f64;
            assert!((computed - percent).abs() <= within, "{file}: {computed}, printed {percent}");
        }
    }
}

#[test]
fn linears_that_a_folder_stores_in_few_bits_take_the_memory_of_those() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("model.path={}", arg(folder.path()));
    let recipe = recipes().join("slim-llama3-8b-instruct.toml");
    let run = ["train", "--config", arg(&recipe), "--dry-run", "--without-data", "--set", &path];
    let with = |stored: Value| {
        let mut model = llama3_8b();
        model["quantization_config"] = stored;
        std::fs::write(folder.path().join("config.json"), model.to_string()).unwrap();
    };
    let memory = |more: &[&str]| {
        let text = succeeds(&[&run[..], more].concat());
        text.lines().find(|line| line.starts_with("memory")).unwrap().to_owned()
    };
    let asked = ["--set", "model.quantization=nf4_double"];
    with(Value::Null);
    let (whole, made) = (memory(&[]), memory(&asked));
    assert!(whole.contains("weights 14.96 GiB") && made.contains("weights 5.31 GiB"), "{made}");
    with(json!({
        "quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": true,
    }));
    assert_eq!(memory(&[]), made);
    let twice = fails(&[&run[..], &asked].concat());
    assert!(twice.contains("quantised already; leave out the quantization nf4_double"), "{twice}");
    with(json!({ "quant_method": "gptq", "bits": 4, "group_size": 128 }));
    assert!(memory(&[]).contains("weights 5.61 GiB"), "{}", memory(&[]));
}

#[test]
fn every_recipe_is_tested_and_described() {
    let files: BTreeSet<String> = std::fs::read_dir(recipes())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let tested: BTreeSet<String> = all().iter().map(|recipe| recipe.file.to_owned()).collect();
    assert_eq!(files, tested);
    let page = std::fs::read_to_string(recipes().join("../docs/src/recipes.md")).unwrap();
    for Recipe { file, trained, .. } in all() {
        assert!(page.contains(&format!("recipes/{file}.toml")), "{file}");
        let digits = trained.iter().sum::<usize>().to_string();
        let mut total = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                total.push(',');
            }
            total.push(digit);
        }
        assert!(page.contains(&total), "{file}: {total}");
    }
}
