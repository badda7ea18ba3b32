//! How much of the time of sums over ranks is hidden behind the backward pass.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::thread;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::Device;
use data::{Collator, Sample};
use finetune::train::{Learner, LearnerConfig, Recompute, Share, TrainingConfig};
use model_zoo::{CausalLm, Decoder, DecoderConfig};
use moe_adapter::{AttachOptions, Preset, attach_with};
use ranks::{Ranks, ThreadRanks};
use support::BeforeSums;

/// The median time of a step of two ranks with a pass each, and of that what is spent waiting for sums.
fn seconds(bytes_a_second: f64, ddp_bucket_cap_mb: f64, recompute: Recompute) -> [f64; 2] {
    let found = ThreadRanks::run(2, Duration::from_secs(60), |inner| {
        // Of two ranks each sends and receives as many bytes as there are.
        let before = |bytes: usize| {
            thread::sleep(Duration::from_secs_f64(bytes as f64 / bytes_a_second));
        };
        let ranks = BeforeSums { inner, before };
        let shape = DecoderConfig::new(500, 128, 352, 16, 4);
        let mut model: Decoder =
            Decoder::init_random(&shape, 0, &Device::flex()).unwrap().no_grad();
        let adapter = Preset::LoramoePaper.config();
        let balance = adapter.balance_loss.as_ref().map(|loss| loss.init().unwrap());
        attach_with(&mut model, &adapter, AttachOptions::default()).unwrap();
        let training = TrainingConfig { ddp_bucket_cap_mb, recompute, ..TrainingConfig::default() };
        let mut learner = Learner::new(model, balance, LearnerConfig::from(&training)).unwrap();
        let samples: Vec<Sample> = (0..4_u32)
            .map(|row| Sample {
                input_ids: (0..128).map(|at| (7 * row + 3 * at) % 500).collect(),
                target_mask: vec![true; 128],
                task_type: Some(row % 2),
                ..Sample::default()
            })
            .collect();
        let samples: Vec<&Sample> = samples.iter().collect();
        let device = learner.model().device();
        let batch = Collator::new(0).collate(&samples).unwrap().to_device(&device);
        let batches = [batch];
        let share = Share {
            ranks: &ranks,
            batches: &batches,
            first: ranks.rank(),
            passes: 2,
            targets: 2 * 4 * 127,
            tokens: 2 * 4 * 128,
        };
        let mut times: Vec<[f64; 2]> = (0..7)
            .map(|_| {
                ranks.barrier().unwrap();
                let (before, started) = (learner.sum_seconds(), Instant::now());
                learner.step_share(&share, 1e-4, None).unwrap();
                [started.elapsed().as_secs_f64(), learner.sum_seconds() - before]
            })
            .collect();
        times.sort_by(|a, b| a[0].total_cmp(&b[0]));
        times[times.len() / 2]
    });
    found[0]
}

/// `cargo test -p finetune --test rank_overlap -- --ignored --nocapture`
#[test]
#[ignore = "measures only"]
fn time_of_sums() {
    for recompute in [Recompute::None, Recompute::Every(1)] {
        for (network, bytes) in [("no", f64::INFINITY), ("1 Gbit/s", 125e6), ("200 Mbit/s", 25e6)] {
            for (sums, mib) in [("at the end", 1e6), ("within the pass", 0.25)] {
                let [step, waited] = seconds(bytes, mib, recompute).map(|s| 1e3 * s);
                println!(
                    "recompute {recompute}, {network} network, sums {sums}: {step:.0} ms a step, \
                     {waited:.0} ms waiting"
                );
            }
        }
    }
}
