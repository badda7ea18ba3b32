//! A study that nobody ran, of the kind that a real one gives.

use super::*;

const SEEDS: [u64; 3] = [0, 1, 2];
const SAMPLES: [usize; 2] = [1_200, 4_800];

/// Name, rank, knowledge and tasks after the larger amount of data, identity experts.
const METHODS: [(&str, Option<usize>, f64, f64, bool); 9] = [
    ("LoRA", Some(32), 0.71, 0.86, false),
    ("LoRAMoE", Some(4), 0.86, 0.84, false),
    ("MixLoRA", Some(4), 0.78, 0.87, false),
    ("MoLA", Some(4), 0.75, 0.85, false),
    ("HydraLoRA", Some(8), 0.74, 0.82, false),
    ("AdaMoLE", Some(4), 0.73, 0.79, false),
    ("GOAT", Some(4), 0.81, 0.89, false),
    ("SLIM", Some(4), 0.91, 0.71, true),
    ("full fine-tuning", None, 0.46, 0.93, false),
];

/// Nine methods, three seeds and two amounts of data. A run of AdaMoLE diverged, LoRA and full
/// fine-tuning route nothing, and the cost of HydraLoRA was not measured.
pub(crate) fn synthetic() -> StudyResults {
    let methods = METHODS.iter().enumerate().map(|(at, (name, rank, knowledge, tasks, _))| {
        let grid = [5e-4, 1e-3, 2e-3, 4e-3];
        let search = grid.iter().enumerate().map(|(i, rate)| SearchPoint {
            learning_rate: *rate,
            tasks: rounded(tasks - 0.05 * (i as f64 - 1.0).abs()),
            knowledge: rounded(knowledge - 0.04 * i as f64),
            diverged: *name == "AdaMoLE" && i == 3,
        });
        let speed = 2600.0 - 190.0 * at as f64 + 70.0 * (at * at % 7) as f64;
        MethodResults {
            name: (*name).to_owned(),
            description: match rank {
                Some(32) => "one adapter on every projection".to_owned(),
                Some(_) => "8 experts, token router, <2 selected>".to_owned(),
                None => "every weight is trained".to_owned(),
            },
            rank: *rank,
            trainable_parameters: rank.map_or(1_048_576, |_| 49_152 + 64 * at),
            equal_parameters: rank.is_some(),
            learning_rate: 1e-3,
            search: if rank.is_some() { search.collect() } else { Vec::new() },
            cost: (*name != "HydraLoRA").then_some(MethodCost {
                train_tokens_per_s: speed,
                generate_tokens_per_s: rounded(speed / 11.0),
                peak_rss_mb: 900.0 + 55.0 * at as f64,
            }),
        }
    });
    let base = SEEDS.iter().map(|seed| BaseResult {
        seed: *seed,
        knowledge: rounded(0.97 + 0.01 * *seed as f64),
        tasks: 0.01,
        text_loss: rounded(1.30 + 0.02 * *seed as f64),
        ..BaseResult::default()
    });
    let mut runs = Vec::new();
    for (at, method) in METHODS.iter().enumerate() {
        for samples in SAMPLES {
            runs.extend(SEEDS.iter().map(|seed| run(at, method, samples, *seed)));
        }
    }
    StudyResults {
        command: "lora-moe study --config study.toml --out report & co".to_owned(),
        version: "0.1.0".to_owned(),
        settings: vec![
            Setting::new("model", "Llama, 128 hidden, 4 layers, <tied>"),
            Setting::new("facts", 960),
        ],
        about: StudyAbout {
            setting: "A small model is tuned on <tasks>.".to_owned(),
            measures: "Knowledge, tasks: share answered exactly.".to_owned(),
        },
        baseline: "LoRA".to_owned(),
        seeds: SEEDS.to_vec(),
        samples: SAMPLES.to_vec(),
        methods: methods.collect(),
        base: base.collect(),
        runs,
        missing: Vec::new(),
    }
}

/// Few enough digits to be read from JSON as they were.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn run(
    at: usize,
    (name, rank, knowledge, tasks, identity): &(&str, Option<usize>, f64, f64, bool),
    samples: usize,
    seed: u64,
) -> RunRecord {
    let noise = ((at * 31 + seed as usize * 17 + samples / 100) % 11) as f64 / 5.0 - 1.0;
    let part = if samples == SAMPLES[1] { 1.0 } else { 0.45 };
    let diverged = *name == "AdaMoLE" && seed == 1 && samples == SAMPLES[1];
    let steps = samples / 24;
    let routed = rank.is_some_and(|rank| rank < 32);
    let mut curve: Vec<_> = (1..=if diverged { 61 } else { steps })
        .map(|step| {
            let wave = 0.04 * ((step * 7919 + at * 13) % 101) as f64 / 50.0;
            let slow = 12.0 + 3.0 * at as f64;
            let loss = 0.06 + 0.01 * at as f64 + 3.1 * (-(step as f64) / slow).exp() + wave;
            (step as f64, rounded(loss))
        })
        .collect();
    if diverged {
        curve[60].1 = f64::NAN;
    }
    let forgotten = (0.98 - knowledge) * part;
    RunRecord {
        method: (*name).to_owned(),
        seed,
        samples,
        learning_rate: 1e-3,
        diverged: diverged.then_some(Divergence::Loss { step: 61 }),
        measured: (!diverged).then(|| RunMeasures {
            knowledge: rounded(0.98 - forgotten + 0.012 * noise),
            tasks: rounded(tasks * part.sqrt() - 0.015 * noise),
            text_loss: rounded(1.30 + 0.02 * seed as f64 + 0.6 * forgotten + 0.01 * noise),
            routing: routed.then(|| routing(at, seed, *identity)),
            ..RunMeasures::default()
        }),
        curve,
        seconds: samples as f64 / 40.0 + at as f64,
    }
}

fn routing(at: usize, seed: u64, identity: bool) -> RoutingMeasures {
    let mut shares = Vec::new();
    for layer in 0..4 {
        for module in ["mlp.gate_proj", "mlp.down_proj"] {
            for (k, kind) in ["knowledge", "tasks", "text"].into_iter().enumerate() {
                let weight = |expert: usize| {
                    let favoured = (expert + 8 - (k * 3 + layer + at) % 8) % 8;
                    1.0 + 3.0 * (-(favoured as f64) / 1.5).exp() + 0.05 * seed as f64
                };
                let sum: f64 = (0..8).map(weight).sum();
                shares.push(ExpertShares {
                    layer,
                    module: module.to_owned(),
                    kind: kind.to_owned(),
                    shares: (0..8).map(|expert| rounded(weight(expert) / sum)).collect(),
                    load: vec![1.0; 8],
                });
            }
        }
    }
    let jitter = 0.01 * seed as f64;
    RoutingMeasures {
        entropy: rounded(0.9 - 0.05 * at as f64 + jitter),
        largest_share: rounded(0.2 + 0.03 * at as f64 + jitter),
        dead_experts: if at == 3 { 0.125 } else { 0.0 },
        specialisation: rounded(0.02 * at as f64 + jitter),
        identity_share: identity.then_some((rounded(0.31 + jitter), rounded(0.58 + jitter))),
        shares,
    }
}

/// Checks that tags nest and close, that attributes are quoted, and that no character is left unescaped.
pub(crate) fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        assert_entities(&rest[..start]);
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        assert!(!tag.contains('<'), "{tag}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        assert_entities(tag);
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
}

fn assert_entities(text: &str) {
    for part in text.split('&').skip(1) {
        let entity = part.split(';').next().unwrap();
        assert!(["amp", "lt", "gt", "quot", "apos", "#x27", "#x2f"].contains(&entity), "{part}");
    }
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}
