//! Decompositions that are prepared and kept.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Tensor;
use common::{random, shape_of, start};
use svd_init::{
    BankShape, ExpertInit, ExpertStart, GoatConfig, InitConfig, InitError, LayerStatistics,
    LoraInit, RandomisedSvd, SvdCache, TripletPlan, decompose, decompose_all, weight_digest,
};

const EXPERTS: usize = 3;

fn goat() -> InitConfig {
    InitConfig::Goat(GoatConfig::default())
}

fn jobs() -> Vec<(Tensor<2>, BankShape)> {
    let weights = (0..7).map(|i| random(20 + i, 30 - i, i as u64));
    weights.map(|weight| (weight.clone(), shape_of(&weight, EXPERTS, 2))).collect()
}

fn plan(job: &(Tensor<2>, BankShape)) -> TripletPlan {
    goat().triplets(&job.1).unwrap().unwrap()
}

#[test]
fn prepared_or_not_the_start_is_the_same() {
    let jobs = jobs();
    let prepared = decompose_all(&goat(), &jobs, None, &|_, _| {}).unwrap();
    for ((weight, shape), triplets) in jobs.iter().zip(prepared) {
        assert!(triplets.is_some());
        let statistics = LayerStatistics { triplets, ..LayerStatistics::default() };
        let with = start(&goat(), weight, shape, &statistics).unwrap();
        let without = start(&goat(), weight, shape, &LayerStatistics::default()).unwrap();
        assert_eq!(with.lora_a.into_data(), without.lora_a.into_data());
        assert_eq!(with.lora_b.into_data(), without.lora_b.into_data());
    }
}

#[test]
fn starts_come_back_from_bytes_bit_by_bit() {
    let scaled = GoatConfig { expert_scaling: true, ..GoatConfig::default() };
    for init in [InitConfig::Goat(scaled), InitConfig::Lora] {
        for (weight, shape) in jobs() {
            let found = start(&init, &weight, &shape, &LayerStatistics::default()).unwrap();
            let mut bytes = Vec::new();
            found.write(&mut bytes);
            let read = |bytes: &[u8], shape| ExpertStart::read(bytes, shape, &weight.device());
            let back = read(&bytes, &shape).unwrap();
            assert_eq!(back.lora_a.into_data(), found.lora_a.into_data());
            assert_eq!(back.lora_b.into_data(), found.lora_b.into_data());
            assert_eq!(back.residual_coefficient, found.residual_coefficient);
            assert_eq!(back.expert_scaling, found.expert_scaling);
            assert!(read(&bytes[1..], &shape).is_none());
            assert!(read(&bytes[..bytes.len() - 1], &shape).is_none());
            assert!(read(&[], &shape).is_none());
            assert!(read(&bytes, &BankShape { rank: 3, ..shape }).is_none());
        }
    }
}

#[test]
fn progress_counts_every_layer_once() {
    let (calls, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let progress = |done: usize, total: usize| {
        assert_eq!(total, 7);
        calls.fetch_add(1, Ordering::Relaxed);
        sum.fetch_add(done, Ordering::Relaxed);
    };
    decompose_all(&goat(), &jobs(), None, &progress).unwrap();
    assert_eq!((calls.into_inner(), sum.into_inner()), (7, 28));
}

#[test]
fn starts_that_need_nothing_of_the_weight_prepare_nothing() {
    let prepared = decompose_all(&LoraInit, &jobs(), None, &|_, _| {}).unwrap();
    assert!(prepared.iter().all(Option::is_none));
}

#[test]
fn triplets_of_another_weight_or_start_are_refused() {
    let jobs = jobs();
    let (weight, shape) = &jobs[0];
    let foreign = decompose(&random(20, 30, 99), &plan(&jobs[0]), None).unwrap();
    let statistics =
        LayerStatistics { triplets: Some(foreign.clone()), ..LayerStatistics::default() };
    let error = start(&goat(), weight, shape, &statistics).unwrap_err();
    let expected = weight_digest(weight);
    assert_eq!(error, InitError::ForeignTriplets { expected, found: foreign.digest() });

    let other = decompose(weight, &TripletPlan::full(vec![0]), None).unwrap();
    let statistics = LayerStatistics { triplets: Some(other), ..LayerStatistics::default() };
    let error = start(&goat(), weight, shape, &statistics).unwrap_err();
    assert_eq!(error, InitError::OtherTriplets);
}

#[test]
fn a_triplet_that_the_weight_lacks_is_refused() {
    let error = decompose(&random(4, 6, 0), &TripletPlan::full(vec![0, 4]), None).unwrap_err();
    assert_eq!(error, InitError::NoSuchTriplet { index: 4, available: 4 });
}

#[test]
fn the_cache_gives_back_what_was_computed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = SvdCache::new(folder.path().join("svd"));
    let jobs = jobs();
    let first = decompose_all(&goat(), &jobs, Some(&cache), &|_, _| {}).unwrap();
    let files = || std::fs::read_dir(cache.folder()).unwrap().count();
    assert_eq!(files(), 7);
    assert_eq!(decompose_all(&goat(), &jobs, Some(&cache), &|_, _| {}).unwrap(), first);
    assert_eq!(files(), 7);
    assert_eq!(decompose_all(&goat(), &jobs, None, &|_, _| {}).unwrap(), first);

    // Another plan of the same weight is another file.
    let settings = RandomisedSvd::default();
    decompose(&jobs[0].0, &TripletPlan::randomised(2, settings), Some(&cache)).unwrap();
    assert_eq!(files(), 8);
}

#[test]
fn the_cache_is_read_rather_than_the_weight_decomposed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = SvdCache::new(folder.path());
    let job = &jobs()[0];
    let (a, b) = (&job.0, random(20, 30, 50));
    let triplets = decompose(&b, &plan(job), Some(&cache)).unwrap();
    // The file of `b` in the place of `a`: it is looked at, and found to be foreign.
    let moved = cache.path(weight_digest(a), &plan(job));
    std::fs::rename(cache.path(triplets.digest(), &plan(job)), &moved).unwrap();
    let error = decompose(a, &plan(job), Some(&cache)).unwrap_err();
    let InitError::Cache { path, problem } = error else { panic!("{error}") };
    assert_eq!(path, moved);
    assert!(problem.contains("another weight") && problem.contains("delete"), "{problem}");
}

#[test]
fn a_damaged_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let cache = SvdCache::new(folder.path());
    let job = &jobs()[0];
    decompose(&job.0, &plan(job), Some(&cache)).unwrap();
    let path = cache.path(weight_digest(&job.0), &plan(job));
    let whole = std::fs::read(&path).unwrap();

    let problem = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match decompose(&job.0, &plan(job), Some(&cache)) {
            Err(InitError::Cache { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    };
    let mut flipped = whole.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    assert!(problem(&flipped).contains("checksum"));
    assert!(problem(&whole[..whole.len() - 1]).contains("not a complete safetensors file"));
    assert!(problem(b"").contains("not a complete safetensors file"));

    std::fs::remove_file(&path).unwrap();
    decompose(&job.0, &plan(job), Some(&cache)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap().len(), whole.len());
}
