use super::*;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;

fn stepped(optimizer: &mut AdapterOptimizer, model: Linear) -> Linear {
    let x: Tensor<2> = Tensor::from_inner(Tensor::ones([2, 3], &Device::flex()));
    let loss = model.forward(x).powi_scalar(2).sum();
    let grads = GradientsParams::from_grads(loss.backward(), &model);
    optimizer.step(0.1, model, grads, 1.0)
}

fn config(kind: OptimizerKind) -> OptimizerConfig {
    OptimizerConfig { kind, epsilon: 1e-5, weight_decay: 1e-4, ..OptimizerConfig::default() }
}

const KINDS: [OptimizerKind; 6] = [
    OptimizerKind::Adamw,
    OptimizerKind::Adamw8bit,
    OptimizerKind::Adafactor,
    OptimizerKind::Lion,
    OptimizerKind::Muon,
    OptimizerKind::Sgd,
];

fn linear() -> Linear {
    LinearConfig::new(3, 4).init(&Device::flex()).train()
}

#[test]
fn states_come_back_by_name_and_go_on_with_the_same_numbers() {
    for kind in KINDS {
        let config = OptimizerConfig { momentum: Some(0.9), ..config(kind) };
        let model = linear();
        let mut before = AdapterOptimizer::new(&model, &config).unwrap();
        let model = stepped(&mut before, model);
        let table = before.table(&model);
        // Parameters of another process have other identities.
        let identified = |param: &Param<Tensor<2>>| Param::from_tensor(param.val());
        let other = Linear { weight: identified(&model.weight), ..model.clone() };
        assert_ne!(other.weight.id, model.weight.id);
        let mut after = AdapterOptimizer::new(&other, &config).unwrap();
        let other = after.load(other, table, Path::new("o")).unwrap();
        let next = |optimizer: &mut AdapterOptimizer, model| {
            stepped(optimizer, model).weight.val().into_data()
        };
        assert_eq!(next(&mut before, model), next(&mut after, other), "{kind:?}");
    }
}

#[test]
fn states_have_the_names_of_torch() {
    let names = |kind| {
        let model = linear();
        let config = OptimizerConfig { momentum: Some(0.9), ..config(kind) };
        let mut optimizer = AdapterOptimizer::new(&model, &config).unwrap();
        let model = stepped(&mut optimizer, model);
        let table = optimizer.table(&model);
        table.tensors.into_keys().filter(|name| !name.ends_with("step")).collect::<Vec<_>>()
    };
    let adamw = ["bias.exp_avg", "bias.exp_avg_sq", "weight.exp_avg", "weight.exp_avg_sq"];
    assert_eq!(names(OptimizerKind::Adamw), adamw);
    let adafactor = ["bias.exp_avg_sq", "weight.exp_avg_sq_col", "weight.exp_avg_sq_row"];
    assert_eq!(names(OptimizerKind::Adafactor), adafactor);
    assert_eq!(names(OptimizerKind::Lion), ["bias.exp_avg", "weight.exp_avg"]);
    let muon = ["bias.exp_avg", "bias.exp_avg_sq", "weight.momentum_buffer"];
    assert_eq!(names(OptimizerKind::Muon), muon);
    let sgd = ["bias.momentum_buffer", "weight.momentum_buffer"];
    assert_eq!(names(OptimizerKind::Sgd), sgd);
}

#[test]
fn a_table_of_another_model_is_refused_by_the_tensor() {
    let model = linear();
    let new = |model: &Linear| AdapterOptimizer::new(model, &config(OptimizerKind::Adamw)).unwrap();
    let mut trained = new(&model);
    let model = stepped(&mut trained, model);
    let refused = |change: fn(&mut TensorTable)| {
        let mut table = trained.table(&model);
        change(&mut table);
        let refused = new(&model).load(model.clone(), table, Path::new("o.safetensors"));
        refused.unwrap_err().to_string()
    };
    let missing = refused(|table| {
        table.tensors.remove("weight.exp_avg");
    });
    assert!(missing.contains("o.safetensors: `weight.exp_avg` is missing"), "{missing}");
    let left = refused(|table| {
        let tensor = table.tensors["bias.step"].clone();
        table.tensors.insert("other.step".into(), tensor);
    });
    assert!(left.contains("`other.step` is of no parameter"), "{left}");
    let shape = refused(|table| {
        table.tensors.insert("bias.exp_avg".into(), table.tensors["bias.step"].clone());
    });
    assert!(shape.contains("`bias.exp_avg` is"), "{shape}");
}

/// The weights after three steps on gradients that are not all alike.
fn trained(config: &OptimizerConfig) -> Vec<f32> {
    let values = [[0.5_f32, -1.0, 2.0], [0.25, 0.75, -0.5]];
    let weight = Tensor::<2>::from_data(values, &Device::flex());
    let linear = Linear { weight: Param::from_tensor(weight), bias: None };
    let mut model = linear.train();
    let mut optimizer = AdapterOptimizer::new(&model, config).unwrap();
    for step in 0..3 {
        let scale = 1.0 + step as f32;
        let grad = Tensor::<2>::from_data(
            [[0.1_f32 * scale, -0.2, 0.3], [-0.4 * scale, 0.5, 0.6 * scale]],
            &Device::flex(),
        );
        let mut grads = GradientsParams::new();
        grads.register(model.weight.id, grad);
        model = optimizer.step(0.1, model, grads, 1.0);
    }
    model.weight.val().into_data().iter::<f32>().collect()
}

fn close(found: &[f32], expected: &[f32], what: &str) {
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 2e-6, "{what}: {found:?}, expected {expected:?}");
    }
}

/// By torch 2.15 and, for Adafactor, transformers 5.24; Muon and Lion by their formulas in f64
/// (torch's Muon, which iterates in bf16, is within 5e-4).
#[test]
fn steps_are_those_of_torch() {
    let golden = [
        (OptimizerKind::Adamw, [0.2065001, -0.6973178, 1.6943159, 0.5412676, 0.4480581, -0.79052]),
        (
            OptimizerKind::Adafactor,
            [0.2412004, -0.6644238, 1.7207028, 0.5689866, 0.483216, -0.809314],
        ),
        (OptimizerKind::Lion, [0.1988014, -0.6973029, 1.6943059, 0.5489508, 0.4480521, -0.7982016]),
        (OptimizerKind::Muon, [0.4552017, -0.9439542, 1.9302259, 0.2890557, 0.7142363, -0.5531741]),
        (OptimizerKind::Sgd, [0.4021554, -0.8822907, 1.8206336, 0.6287668, 0.465536, -1.0674495]),
    ];
    for (kind, expected) in golden {
        let momentum = (kind == OptimizerKind::Sgd).then_some(0.9);
        let config = OptimizerConfig { weight_decay: 1e-2, momentum, ..config(kind) };
        close(&trained(&config), &expected, &format!("{kind:?}"));
    }
}

#[test]
fn groups_have_their_own_rates_and_weight_decay() {
    let model = linear();
    let group = |params: &str, learning_rate, weight_decay| ParamGroup {
        params: params.into(),
        learning_rate,
        weight_decay,
    };
    let config = OptimizerConfig {
        kind: OptimizerKind::Sgd,
        learning_rate: 0.1,
        weight_decay: 0.0,
        param_groups: vec![group("^bias$", Some(0.3), None), group("w", None, Some(0.5))],
        ..OptimizerConfig::default()
    };
    let mut optimizer = AdapterOptimizer::new(&model, &config).unwrap();
    let mut grads = GradientsParams::new();
    grads.register(model.weight.id, Tensor::<2>::ones([3, 4], &Device::flex()));
    let bias = model.bias.as_ref().unwrap();
    grads.register(bias.id, Tensor::<1>::ones([4], &Device::flex()));
    let values = |model: &Linear| {
        let bias = model.bias.as_ref().unwrap().val().into_data();
        let weight = model.weight.val().into_data();
        [bias.iter::<f32>().collect::<Vec<_>>(), weight.iter::<f32>().collect()]
    };
    let [bias, weight] = values(&model);
    // Half of the peak, as after a while of a schedule.
    let [bias_after, weight_after] = values(&optimizer.step(0.05, model, grads, 1.0));
    let expected: Vec<f32> = bias.iter().map(|x| x - 0.15).collect();
    close(&bias_after, &expected, "bias");
    let expected: Vec<f32> = weight.iter().map(|x| x - 0.05 * (1.0 + 0.5 * x)).collect();
    close(&weight_after, &expected, "weight");
}

#[test]
fn an_average_follows_what_is_trained_and_comes_back_with_it() {
    let config = OptimizerConfig { ema_decay: 0.5, ..config(OptimizerKind::Adamw) };
    let value = |model: &Linear| model.weight.val().into_data().iter::<f32>().collect::<Vec<_>>();
    let start = linear();
    let mut optimizer = AdapterOptimizer::new(&start, &config).unwrap();
    assert_eq!(value(&optimizer.averaged(&start)), value(&start));
    let model = stepped(&mut optimizer, start.clone());
    // After the first step the decay is 2 / 11.
    let expected = value(&start).into_iter().zip(value(&model));
    let expected: Vec<f32> = expected.map(|(a, b)| (2.0 * a + 9.0 * b) / 11.0).collect();
    let averaged = optimizer.averaged(&model);
    close(&value(&averaged), &expected, "average");

    // A checkpoint has the average as the model, and the state knows what it is an average of.
    let table = optimizer.table(&model);
    let mut resumed = AdapterOptimizer::new(&averaged, &config).unwrap();
    let back = resumed.load(averaged, table.clone(), Path::new("o")).unwrap();
    assert_eq!(value(&back), value(&model));
    let next = |optimizer: &mut AdapterOptimizer, model| {
        let model = stepped(optimizer, model);
        [value(&model), value(&optimizer.averaged(&model))]
    };
    assert_eq!(next(&mut optimizer, model), next(&mut resumed, back.clone()));

    let without = OptimizerConfig { ema_decay: 0.0, ..config };
    let mut other = AdapterOptimizer::new(&back, &without).unwrap();
    let left = other.load(back, table, Path::new("o")).unwrap_err().to_string();
    assert!(left.contains(".param"), "{left}");
}

#[test]
fn groups_that_name_nothing_are_refused() {
    let refused = |params: &str| {
        let group =
            ParamGroup { params: params.into(), learning_rate: Some(1.0), weight_decay: None };
        let config = OptimizerConfig { param_groups: vec![group], ..OptimizerConfig::default() };
        AdapterOptimizer::new(&linear(), &config).err().unwrap().to_string()
    };
    let nothing = refused("router");
    assert!(nothing.contains("training.param_groups[0].params"), "{nothing}");
    assert!(nothing.contains("is router") && nothing.contains("`weight`"), "{nothing}");
    assert!(refused("a(").contains("a regular expression"), "{}", refused("a("));
}

/// A weight of 64 x 64, whose moments are held in 8 bits, after steps on waves that fade.
struct Waves {
    model: Linear,
    optimizer: AdapterOptimizer,
    step: usize,
}

impl Waves {
    fn new(kind: OptimizerKind) -> Self {
        let values: Vec<f32> = (0..4096).map(|i| -1.0 + 2.0 * i as f32 / 4095.0).collect();
        let weight = TensorData::new(values, [64, 64]);
        let weight = Param::from_tensor(Tensor::<2>::from_data(weight, &Device::flex()));
        let model = Linear { weight, bias: None }.train();
        let config = OptimizerConfig { weight_decay: 1e-2, epsilon: 1e-8, ..config(kind) };
        let optimizer = AdapterOptimizer::new(&model, &config).unwrap();
        Self { model, optimizer, step: 0 }
    }

    fn go_on(&mut self) -> Vec<f32> {
        let wave = |i: usize| {
            let x = i as f64;
            ((x * 0.37 + self.step as f64).sin() * (-x / 700.0).exp()) as f32
        };
        let grad = TensorData::new((0..4096).map(wave).collect::<Vec<f32>>(), [64, 64]);
        let mut grads = GradientsParams::new();
        grads.register(self.model.weight.id, Tensor::<2>::from_data(grad, &Device::flex()));
        self.model = self.optimizer.step(0.01, self.model.clone(), grads, 1.0);
        self.step += 1;
        self.model.weight.val().into_data().iter::<f32>().collect()
    }
}

/// By bitsandbytes 0.50.2 on a CPU.
#[test]
fn steps_in_8_bits_are_those_of_bitsandbytes() {
    let mut waves = Waves::new(OptimizerKind::Adamw8bit);
    let weights = (0..3).map(|_| waves.go_on()).last().unwrap();
    let found = [0, 1, 5, 700, 2000, 4095].map(|at| weights[at]);
    let expected = [-1.015784, -1.027977, -1.0179374, -0.6836446, -0.00087283994, 0.9708781];
    close(&found, &expected, "weights");
    let table = waves.optimizer.table(&waves.model);
    let part = |name: &str| &table.tensors[&format!("weight.{name}")];
    assert_eq!(part("state1").bytes[..8], [247, 255, 253, 241, 222, 198, 59, 34]);
    assert_eq!(part("state2").bytes[..8], [251, 255, 255, 251, 245, 240, 239, 241]);
    let scales = |name: &str| to_data(part(name)).unwrap().iter::<f32>().collect::<Vec<_>>();
    close(&scales("absmax1")[..3], &[0.185_875_4, 0.130_698_3, 0.089_870_25], "first");
    close(&scales("absmax2")[..3], &[0.001_565_222, 0.000_759_41, 0.000_360_482], "second");
    let [eight, whole] = [OptimizerKind::Adamw8bit, OptimizerKind::Adamw].map(|kind| {
        let mut waves = Waves::new(kind);
        waves.go_on();
        waves
            .optimizer
            .table(&waves.model)
            .tensors
            .values()
            .map(|one| one.bytes.len())
            .sum::<usize>()
    });
    assert!(4 * eight < whole + 1024, "{eight} {whole}");
}

#[test]
fn states_in_8_bits_come_back_to_the_bit() {
    let mut before = Waves::new(OptimizerKind::Adamw8bit);
    before.go_on();
    let mut after = Waves::new(OptimizerKind::Adamw8bit);
    let table = before.optimizer.table(&before.model);
    let model = Linear { weight: Param::from_tensor(before.model.weight.val()), bias: None };
    after.model = model.train();
    let config =
        OptimizerConfig { weight_decay: 1e-2, epsilon: 1e-8, ..config(OptimizerKind::Adamw8bit) };
    after.optimizer = AdapterOptimizer::new(&after.model, &config).unwrap();
    after.model = after.optimizer.load(after.model, table.clone(), Path::new("o")).unwrap();
    after.step = 1;
    assert_eq!(before.go_on(), after.go_on());

    let mut cut = table;
    let scales = cut.tensors.get_mut("weight.absmax1").unwrap();
    (scales.shape, scales.bytes) = (vec![1], scales.bytes[..4].to_vec());
    let refused = after.optimizer.load(after.model, cut, Path::new("o")).unwrap_err().to_string();
    assert!(refused.contains("`weight.absmax1` is F32 [1], but must be F32 [16]"), "{refused}");
}
