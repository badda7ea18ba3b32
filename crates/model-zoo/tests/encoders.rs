//! Properties of encoders: files, names, heads, padding, dropout, adapters.

#![allow(clippy::unwrap_used)]

mod encoder;

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use encoder::{
    Parameters, Reference, Tensors, golden, logits, relative_error, tensors, values, write_folder,
};
use half::bf16;
use model_zoo::{
    ClassificationTask, Classifier, ClipClassifier, ClipVision, ConfigError, ImageClassifier,
    LoadOptions, ModelError, PaddingSide, ProblemType, RobertaClassifier, RobertaConfig,
    SequenceClassifier, TokenInput, VitClassifier, WeightDType, WeightError,
};
use moe_adapter::BaseLinear;
use moe_adapter::{Adaptable, AdaptedLinear, AdaptedProjection, Preset, TargetModules, attach};
use router::RoutingTape;
use safetensors::Dtype;

type Roberta = RobertaClassifier<BaseLinear>;
type Vit = VitClassifier<BaseLinear>;

fn options() -> LoadOptions {
    LoadOptions::default()
}

fn roberta() -> Roberta {
    Roberta::load(golden("roberta_cls"), &options(), &Device::flex()).unwrap()
}

fn tiny_roberta() -> RobertaConfig {
    let task = ClassificationTask::new(["no", "yes", "perhaps"]);
    let mut config = RobertaConfig::new(40, 24, 36, 2, 6, task);
    (config.max_position_embeddings, config.initializer_range) = (20, 0.3);
    config
}

fn two_labels() -> ClassificationTask {
    ClassificationTask::with_num_labels(2)
}

fn weights(folder: &Path) -> Tensors {
    tensors(&folder.join("model.safetensors"))
}

#[test]
fn saved_folders_have_the_names_and_bits_of_those_loaded() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    let path = folder.path();
    roberta().save(path).unwrap();
    assert_eq!(weights(path), weights(&golden("roberta_cls")));
    assert_eq!(Roberta::load(path, &options(), &device).unwrap().config(), roberta().config());

    let vit = Vit::load(golden("vit_cls"), &options(), &device).unwrap();
    vit.save(path).unwrap();
    assert_eq!(weights(path), weights(&golden("vit_cls")));
    assert_eq!(Vit::load(path, &options(), &device).unwrap().config(), vit.config());

    let clip = ClipVision::<BaseLinear>::load(golden("clip_vision"), &options(), &device).unwrap();
    clip.save(path).unwrap();
    assert_eq!(weights(path), weights(&golden("clip_vision")));
    let again = ClipVision::<BaseLinear>::load(path, &options(), &device).unwrap();
    assert_eq!(again.config(), clip.config());
}

#[test]
fn random_models_survive_their_files() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    let path = folder.path();
    let model = Roberta::init_random(&tiny_roberta(), 5, &device).unwrap();
    model.save(path).unwrap();
    let input = TokenInput::from_sequences(&[[0, 5, 9, 2]], 1, PaddingSide::Right, &device);
    let again = Roberta::load(path, &options(), &device).unwrap();
    assert_eq!(logits(&again, &input), logits(&model, &input));
    assert_eq!(again.task().labels, ["no", "yes", "perhaps"]);

    let config = ClipVision::<BaseLinear>::load(golden("clip_vision"), &options(), &device);
    let config = config.unwrap().config().clone();
    let task = ClassificationTask::new(["cat", "dog"]);
    let model = ClipClassifier::<BaseLinear>::init_random(&config, &task, 5, &device).unwrap();
    model.save(path).unwrap();
    let images = Reference::read("clip_vision").images();
    let again = ClipClassifier::<BaseLinear>::load(path, &options(), &device).unwrap();
    assert_eq!(logits(&again, &images), logits(&model, &images));
    assert_eq!((again.task(), again.config()), (&task, &config));
}

#[test]
fn seeds_decide_random_weights() {
    let input = || TokenInput::new(Tensor::<2, Int>::from_data([[0, 5, 9, 2]], &Device::flex()));
    let run = |seed| {
        let model = Roberta::init_random(&tiny_roberta(), seed, &Device::flex()).unwrap();
        logits(&model, &input())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn random_models_train_and_loaded_ones_are_frozen() {
    let model = Roberta::init_random(&tiny_roberta(), 3, &Device::flex()).unwrap().train();
    let parameters = Parameters::of(&model);
    assert_eq!(parameters.count(), tiny_roberta().parameter_count());
    assert_eq!(parameters.trainable().len(), parameters.found.len());
    assert!(Parameters::of(&roberta().train()).trainable().is_empty());
}

#[test]
fn every_random_weight_gets_a_gradient() {
    let model = Roberta::init_random(&tiny_roberta(), 3, &Device::flex()).unwrap().train();
    let data = TensorData::new(vec![0i64, 5, 9, 2, 0, 7, 8, 2], [2, 4]);
    let input = TokenInput::new(Tensor::<2, Int>::from_data(data, &model.device()));
    let mut tape = RoutingTape::new(model.context(&input));
    let gradients = model.logits(&input, &mut tape).square().mean().backward();
    model.visit_projections(&mut |path, _, linear| {
        let gradient = linear.weight().grad(&gradients).unwrap_or_else(|| panic!("{path}"));
        let size: f32 = gradient.abs().max().into_scalar();
        assert!(size > 0.0 && size.is_finite(), "{path}: {size}");
    });
    assert!(model.classifier.out_proj.weight.val().grad(&gradients).is_some());
    let embeddings = &model.roberta.embeddings;
    assert!(embeddings.word_embeddings.weight.val().grad(&gradients).is_some());
    assert!(embeddings.LayerNorm.weight.val().grad(&gradients).is_some());
}

#[test]
fn a_new_head_is_trainable_and_all_else_is_as_before() {
    let load = |seed| {
        let device = Device::flex();
        Roberta::load_with_new_head(golden("roberta_cls"), two_labels(), seed, &options(), &device)
    };
    let model = load(7).unwrap();
    assert_eq!(model.task(), &two_labels());
    let trained = model.clone().train();
    let parameters = Parameters::of(&trained);
    let names = ["dense.bias", "dense.weight", "out_proj.bias", "out_proj.weight"];
    assert_eq!(parameters.trainable(), names.map(|name| format!("classifier.{name}")));

    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let (mut found, mut expected) = (weights(folder.path()), weights(&golden("roberta_cls")));
    found.retain(|name, _| !name.starts_with("classifier."));
    expected.retain(|name, _| !name.starts_with("classifier."));
    assert_eq!(found, expected);

    let head = |model: &Roberta| values(model.classifier.dense.weight.val());
    assert_eq!(head(&model), head(&load(7).unwrap()));
    assert_ne!(head(&model), head(&load(8).unwrap()));
    let error = Roberta::load_with_new_head(
        golden("roberta_cls"),
        ClassificationTask::with_num_labels(0),
        7,
        &options(),
        &Device::flex(),
    );
    let error = error.unwrap_err();
    assert!(matches!(error, ModelError::Config(ConfigError::Invalid { .. })), "{error}");
}

#[test]
fn one_label_is_a_regression() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    let source = golden("roberta_cls");
    let task = ClassificationTask::new(["similarity"]);
    let model = Roberta::load_with_new_head(source, task, 7, &options(), &device).unwrap();
    assert_eq!(model.task().problem_type(), ProblemType::Regression);
    let input = Reference::read("roberta_cls").tokens();
    let scores = logits(&model, &input);
    assert_eq!(scores.len(), 3);
    model.save(folder.path()).unwrap();
    let again = Roberta::load(folder.path(), &options(), &device).unwrap();
    assert_eq!(again.task().problem_type(), ProblemType::Regression);
    assert_eq!(logits(&again, &input), scores);
}

/// As `roberta-large` (a language model) and `vit-base-patch16-224-in21k` (a bare encoder) are.
#[test]
fn checkpoints_of_other_heads_and_bare_encoders_take_a_new_head() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    let zeros = || (Dtype::F32, vec![2], vec![0; 8]);
    let expect = |expected: &Roberta| {
        let found =
            Roberta::load_with_new_head(folder.path(), two_labels(), 7, &options(), &device);
        let input = Reference::read("roberta_cls").tokens();
        assert_eq!(logits(&found.unwrap(), &input), logits(expected, &input));
    };
    let source = golden("roberta_cls");
    let expected =
        Roberta::load_with_new_head(&source, two_labels(), 7, &options(), &device).unwrap();

    let mut language_model = weights(&source);
    language_model.retain(|name, _| !name.starts_with("classifier."));
    language_model.insert("lm_head.bias".to_owned(), zeros());
    language_model.insert("lm_head.layer_norm.weight".to_owned(), zeros());
    write_folder(folder.path(), &language_model, &source, |_| ());
    expect(&expected);

    let mut bare: Tensors = language_model
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("roberta.")?.into(), tensor.clone())))
        .collect();
    bare.insert("pooler.dense.bias".to_owned(), zeros());
    bare.insert("embeddings.position_ids".to_owned(), (Dtype::I64, vec![1], vec![0; 8]));
    write_folder(folder.path(), &bare, &source, |_| ());
    expect(&expected);
}

/// As `openai/clip-vit-base-patch32` is.
#[test]
fn the_vision_tower_is_taken_out_of_all_of_clip() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    let source = golden("clip_vision");
    let mut clip = weights(&source);
    for name in ["text_model.final_layer_norm.bias", "text_projection.weight", "logit_scale"] {
        clip.insert(name.to_owned(), (Dtype::F32, vec![2], vec![0; 8]));
    }
    write_folder(folder.path(), &clip, &source, |config| {
        let vision = config.take();
        *config = serde_json::json!({
            "model_type": "clip",
            "projection_dim": vision["projection_dim"],
            "vision_config": vision,
        });
    });
    let images = Reference::read("clip_vision").images();
    let embeds = |folder: &Path| {
        let model = ClipVision::<BaseLinear>::load(folder, &options(), &device).unwrap();
        let mut tape = RoutingTape::new(model.context(&images));
        values(model.forward(&images, &mut tape).image_embeds)
    };
    assert_eq!(embeds(folder.path()), embeds(&source));
    let classifier = |folder: &Path| {
        ClipClassifier::<BaseLinear>::load_with_new_head(
            folder,
            two_labels(),
            7,
            &options(),
            &device,
        )
    };
    let found = logits(&classifier(folder.path()).unwrap(), &images);
    assert_eq!(found, logits(&classifier(&source).unwrap(), &images));
}

#[test]
fn tensors_that_are_missing_or_left_over_are_named() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    let source = golden("vit_cls");
    let name = "vit.encoder.layer.1.output.dense.bias";
    let mut changed = weights(&source);
    let tensor = changed.remove(name).unwrap();
    write_folder(folder.path(), &changed, &source, |_| ());
    let error = Vit::load(folder.path(), &options(), &device).unwrap_err();
    let ModelError::Weights(WeightError::MissingTensor { name: missing, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(missing, name);

    changed.insert(name.to_owned(), tensor.clone());
    changed.insert("vit.encoder.layer.2.output.dense.bias".to_owned(), tensor);
    write_folder(folder.path(), &changed, &source, |_| ());
    let error = Vit::load(folder.path(), &options(), &device).unwrap_err();
    assert!(error.to_string().contains("vit.encoder.layer.2.output.dense.bias"), "{error}");

    let change = |config: &mut serde_json::Value| config["hidden_size"] = 36.into();
    write_folder(folder.path(), &weights(&source), &source, change);
    let error = Vit::load(folder.path(), &options(), &device).unwrap_err();
    assert!(matches!(error, ModelError::Weights(WeightError::Shape { .. })), "{error}");
}

#[test]
fn padding_changes_nothing() {
    let model = roberta();
    let device = Device::flex();
    let pad = model.pad_token_id();
    let batch = |sequences: &[Vec<u32>]| {
        logits(&model, &TokenInput::from_sequences(sequences, pad, PaddingSide::Right, &device))
    };
    let (long, short) = (vec![0, 23, 81, 85, 45, 74, 2], vec![0, 35, 84, 2]);
    let alone = batch(std::slice::from_ref(&short));
    let together = batch(&[long, short]);
    assert!(relative_error(&together[3..], &alone) < 1e-5);
}

#[test]
#[should_panic(expected = "65 tokens, but the model has 64 positions")]
fn sequences_beyond_the_positions_are_refused() {
    let model = roberta();
    assert_eq!(model.max_positions(), 64);
    let ids = Tensor::<2, Int>::ones([1, 65], &Device::flex()) * 5;
    logits(&model, &TokenInput::new(ids));
}

#[test]
#[should_panic(expected = "images of [3, 16, 12], but the model reads [3, 16, 16]")]
fn images_of_another_shape_are_refused() {
    let model = Vit::load(golden("vit_cls"), &options(), &Device::flex()).unwrap();
    assert_eq!(model.image_shape(), [3, 16, 16]);
    logits(&model, &Tensor::zeros([1, 3, 16, 12], &Device::flex()));
}

#[test]
fn dropout_is_part_of_training_and_follows_its_seed() {
    let model = roberta();
    let input = Reference::read("roberta_cls").tokens();
    let training = |seed| {
        let context = model.context(&input).with_training(seed);
        values(model.logits(&input, &mut RoutingTape::new(context)))
    };
    assert_eq!(training(1), training(1));
    assert_ne!(training(1), training(2));
    assert_ne!(training(1), logits(&model, &input));
}

#[test]
fn half_precision_weights_may_stay_so() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    for name in ["roberta_cls", "vit_cls"] {
        let mut halves = weights(&golden(name));
        for (dtype, _, data) in halves.values_mut() {
            *dtype = Dtype::BF16;
            let values = data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
            *data = values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect();
        }
        write_folder(folder.path(), &halves, &golden(name), |_| ());
        let mut options = options();
        options.dtype = WeightDType::BF16;
        let reference = Reference::read(name);
        let (found, again) = (tempfile::tempdir().unwrap(), reference.floats("logits"));
        let logits = if name == "vit_cls" {
            let model = Vit::load(folder.path(), &options, &device).unwrap();
            model.save(found.path()).unwrap();
            logits(&model, &reference.images())
        } else {
            let model = Roberta::load(folder.path(), &options, &device).unwrap();
            model.save(found.path()).unwrap();
            logits(&model, &reference.tokens())
        };
        let error = relative_error(&logits, &again);
        assert!(error < 0.05, "{name}: {error}");
        assert_eq!(weights(found.path()), halves, "{name}");

        // Without being asked to, an encoder does not compute in halves.
        let model =
            model_zoo::AnyModel::load(folder.path(), &LoadOptions::default(), &device).unwrap();
        model.save_in(found.path(), None).unwrap();
        let mut held = weights(found.path()).into_values();
        assert!(held.all(|(dtype, ..)| dtype == Dtype::F32), "{name}");
    }
}

fn paths<M: Adaptable>(model: &mut M) -> Vec<String> {
    let mut paths = Vec::new();
    model.visit_projections(&mut |path, site, _| {
        assert!(path.ends_with(&format!("{}.{}", site.layer, site.module)), "{path} at {site}");
        paths.push(path.to_owned());
    });
    let mut again = Vec::new();
    model.visit_projections_mut(&mut |path, _, _| again.push(path.to_owned()));
    assert_eq!(paths, again);
    paths
}

#[test]
fn projections_have_the_paths_of_checkpoints_in_the_order_of_the_forward_pass() {
    let device = Device::flex();
    let expect = |found: Vec<String>, name: &str, layers: &str, modules: [&str; 6]| {
        let layer = |i: usize| modules.map(|module| format!("{layers}.{i}.{module}"));
        assert_eq!(found, [layer(0), layer(1)].concat());
        let stored = weights(&golden(name));
        assert!(found.iter().all(|path| stored.contains_key(&format!("{path}.weight"))));
    };
    let names = |attention: &str| {
        ["query", "key", "value"].map(|name| format!("attention.{attention}.{name}"))
    };
    let bert = |qkv: &[String; 3]| -> [String; 6] {
        let [q, k, v] = qkv.clone();
        [
            q,
            k,
            v,
            "attention.output.dense".into(),
            "intermediate.dense".into(),
            "output.dense".into(),
        ]
    };
    let modules = bert(&names("self"));
    let modules = modules.each_ref().map(String::as_str);
    expect(paths(&mut roberta()), "roberta_cls", "roberta.encoder.layer", modules);
    let mut vit = Vit::load(golden("vit_cls"), &options(), &device).unwrap();
    let modules = bert(&names("attention"));
    let modules = modules.each_ref().map(String::as_str);
    expect(paths(&mut vit), "vit_cls", "vit.encoder.layer", modules);
    let mut clip =
        ClipVision::<BaseLinear>::load(golden("clip_vision"), &options(), &device).unwrap();
    let modules = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
        "mlp.fc1",
        "mlp.fc2",
    ];
    expect(paths(&mut clip), "clip_vision", "vision_model.encoder.layers", modules);
}

#[test]
fn an_adapted_model_starts_as_its_base_and_reports_its_routings() {
    let device = Device::flex();
    let mut config = Preset::LoramoePaper.config();
    config.target_modules = TargetModules::all_linear();
    let input = Reference::read("roberta_cls").tokens();
    let mut model =
        RobertaClassifier::<AdaptedLinear>::load(golden("roberta_cls"), &options(), &device)
            .unwrap();
    let base = logits(&model, &input);
    assert_eq!(attach(&mut model, &config, 3).unwrap(), 12);
    let mut tape = RoutingTape::recording(model.context(&input));
    let found = values(model.logits(&input, &mut tape));
    assert_eq!(found, base);
    assert_eq!(tape.records().len(), 12);
    assert_eq!(tape.records()[0].site.module, "attention.self.query");
    assert_eq!(tape.records()[0].routing.weights.dims(), [3 * 13, 6]);

    let names = ["query".to_owned(), "output.dense".to_owned()];
    config.target_modules = TargetModules::Names(names.to_vec());
    assert_eq!(attach(&mut model, &config, 3).unwrap(), 6, "as in PEFT, both `output.dense`");
    let mut adapted = 0;
    model.visit_projections(&mut |_, _, p| adapted += usize::from(p.adapter().is_some()));
    assert_eq!(adapted, 6);

    let images = Reference::read("vit_cls").images();
    let mut vit =
        VitClassifier::<AdaptedLinear>::load(golden("vit_cls"), &options(), &device).unwrap();
    config.target_modules = TargetModules::all_linear();
    attach(&mut vit, &config, 3).unwrap();
    let mut tape = RoutingTape::recording(vit.context(&images));
    let error = Reference::read("vit_cls").error("logits", vit.logits(&images, &mut tape));
    assert!(error < 1e-4, "{error}");
    assert_eq!(tape.records().len(), 12);
}
