//! What methods are tuned from, tuned on and measured on.

mod config;
mod data;
mod sets;
mod world;

use model_zoo::Decoder;

use super::{RunMeasures, StudyAbout};
use crate::Setting;
use crate::StudyError;
use crate::checkpoints::RunCheckpoints;
use crate::demo::{DemoMethod, Half};
use crate::tune::OnStep;
use ::data::Sample;

pub use config::{DataGroundConfig, DataMeasures, GroundConfig};
pub(super) use data::DataGround;
pub(super) use world::WorldGround;

/// The demo's world, or a model and data of the user's. Seeds are given by their index.
pub(super) trait Ground: Clone + Send + Sync {
    /// The base model of a seed.
    fn model(&self, seed: usize) -> &Decoder;
    /// Whether the base model of all seeds is one.
    fn one_model(&self) -> bool;
    /// The optimiser steps of an amount of data.
    fn steps(&self, amount: usize) -> usize;
    /// The most data there is, where there is a limit.
    fn most_samples(&self) -> Option<usize>;
    /// The base model of a seed after tuning by a method on an amount of data. What is `kept` of the
    /// run is where it goes on.
    fn tune(
        &self,
        seed: usize,
        method: &DemoMethod,
        amount: usize,
        kept: Option<&mut RunCheckpoints>,
        on_step: &mut OnStep<'_>,
    ) -> Result<Decoder, StudyError>;
    /// What a model knows, can do and expects of text, all but its routing. Values that cannot be
    /// computed because the model gives no numbers are NaN.
    fn measure(&self, seed: usize, model: &Decoder, half: Half) -> Result<RunMeasures, StudyError>;
    /// The kinds of text that routing is compared on.
    fn kinds(&self, seed: usize) -> Result<Vec<Kind>, StudyError>;
    /// The samples of a step and the tokens of a sample by which costs are measured.
    fn cost_shape(&self) -> [usize; 2];
    /// How many threads each of so many workers computes with.
    fn threads(&self, workers: usize) -> usize;
    /// What was held equal.
    fn settings(&self) -> Vec<Setting>;
    /// What is measured, in words.
    fn about(&self) -> StudyAbout;
    /// What data it rests on: a name and a hash of the content.
    fn fingerprint(&self) -> Vec<(String, String)>;
}

/// One kind of text.
pub(super) struct Kind {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) samples: Vec<Sample>,
}

/// What a kind of text stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Tasks,
    Knowledge,
    Text,
}
