//! Tapes with given values, for the tests of the losses.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use router::{BatchContext, Routing, RoutingExtras, RoutingTape, Site, select};

use crate::{BalanceLoss, BalanceLossError};

/// The routing of one layer, token by token.
#[derive(Clone)]
pub struct Layer<const E: usize> {
    pub logits: Vec<[f32; E]>,
    pub probabilities: Vec<[f32; E]>,
    pub weights: Vec<[f32; E]>,
    pub selection: Option<Vec<[bool; E]>>,
    pub entropy: Option<Vec<f32>>,
    pub balance_scores: Option<Vec<[f32; E]>>,
    pub lambda: Option<Vec<f32>>,
    pub parameters: Vec<Tensor<3>>,
}

impl<const E: usize> Layer<E> {
    /// Dense routing by probabilities.
    pub fn new(probabilities: &[[f32; E]]) -> Self {
        Self {
            logits: probabilities.iter().map(|row| row.map(f32::ln)).collect(),
            probabilities: probabilities.to_vec(),
            weights: probabilities.to_vec(),
            selection: None,
            entropy: None,
            balance_scores: None,
            lambda: None,
            parameters: Vec::new(),
        }
    }

    /// With a selection.
    pub fn selecting(mut self, selection: &[[bool; E]]) -> Self {
        self.selection = Some(selection.to_vec());
        self
    }
}

fn floats<const E: usize>(rows: &[[f32; E]]) -> Tensor<2> {
    let values: Vec<f32> = rows.iter().flatten().copied().collect();
    Tensor::from_data(TensorData::new(values, [rows.len(), E]), &Device::flex())
}

/// Puts a layer on a tape.
pub fn push<const E: usize>(tape: &mut RoutingTape, index: usize, layer: &Layer<E>) {
    let mut routing =
        Routing::dense(floats(&layer.logits), floats(&layer.probabilities), floats(&layer.weights));
    if let Some(selection) = &layer.selection {
        let rows: Vec<_> =
            selection.iter().map(|row| row.map(|selected| f32::from(u8::from(selected)))).collect();
        routing = routing.with_selection(floats(&rows), None);
    }
    routing.extras = RoutingExtras {
        entropy: layer
            .entropy
            .as_ref()
            .map(|values| Tensor::from_data(values.as_slice(), &Device::flex())),
        balance_scores: layer.balance_scores.as_ref().map(|rows| floats(rows)),
        lambda: layer
            .lambda
            .as_ref()
            .map(|values| Tensor::from_data(values.as_slice(), &Device::flex())),
        ..RoutingExtras::default()
    };
    tape.push(Site::new(index, "mlp.up_proj"), &routing, || layer.parameters.clone());
}

/// A tape of one sample; `mask` is false for padding.
pub fn tape<const E: usize>(layers: &[Layer<E>], mask: Option<&[bool]>) -> RoutingTape {
    let tokens = layers.first().map_or(1, |layer| layer.weights.len());
    let mut context = BatchContext::new(1, tokens);
    if let Some(mask) = mask {
        let data = TensorData::new(mask.to_vec(), [1, tokens]);
        context = context.with_token_mask(Tensor::from_data(data, &Device::flex()));
    }
    let mut tape = RoutingTape::recording(context);
    for (index, layer) in layers.iter().enumerate() {
        push(&mut tape, index, layer);
    }
    tape
}

/// The loss of a tape.
pub fn value(loss: &dyn BalanceLoss, tape: &RoutingTape) -> f64 {
    f64::from(loss.loss(tape).unwrap().unwrap().into_scalar::<f32>())
}

/// Equal up to rounding in f32.
#[track_caller]
pub fn assert_close(got: f64, want: f64) {
    assert!((got - want).abs() <= 2e-6 * want.abs().max(1e-2), "{got} instead of {want}");
}

/// No loss takes a coefficient below 0 or one that is no number.
pub fn refused_coefficients(init: impl Fn(f64) -> Result<(), BalanceLossError>) {
    for value in [-0.1, f64::INFINITY, f64::NAN] {
        let error = init(value).unwrap_err();
        assert!(
            matches!(error, BalanceLossError::Coefficient { field: "coefficient", .. }),
            "{error}"
        );
    }
}

/// Follows a loss's gradient from unbalanced top-k routing of 8 tokens over 4 experts, where all
/// tokens favour the first expert and some a second one; gives the spread (largest less smallest)
/// of the experts' mean weights, before and after.
pub fn descend(loss: &dyn BalanceLoss, k: usize, step: f64) -> (f64, f64) {
    let device = Device::flex().autodiff();
    let values: Vec<f32> = (0..8 * 4)
        .map(|at| match (at / 4, at % 4) {
            (_, 0) => 1.0,
            (token, expert) if token % 4 == expert => 0.7,
            (token, expert) => 0.05 * ((token + 2 * expert) % 5) as f32,
        })
        .collect();
    let mut logits = Tensor::<2>::from_data(TensorData::new(values, [8, 4]), &device);
    let mut spreads = Vec::new();
    for _ in 0..300 {
        logits = logits.detach().require_grad();
        let probabilities = softmax(logits.clone(), 1);
        let threshold = probabilities.clone().detach().sort_descending(1).slice([0..8, k - 1..k]);
        let selected = probabilities.clone().detach().greater_equal(threshold.expand([8, 4]));
        let selection = select::as_mask(selected);
        let kept = probabilities.clone() * selection.clone();
        let weights = kept.clone() / kept.sum_dim(1);
        let used = weights.clone().mean_dim(0).into_data().try_to_vec::<f32>().unwrap();
        let most = used.iter().copied().fold(f32::MIN, f32::max);
        let least = used.iter().copied().fold(f32::MAX, f32::min);
        spreads.push(f64::from(most - least));
        let routing = Routing::dense(logits.clone(), probabilities, weights)
            .with_selection(selection, Some(k));
        let mut tape = RoutingTape::recording(BatchContext::new(1, 8));
        tape.push(Site::new(0, "mlp.up_proj"), &routing, Vec::new);
        let grads = loss.loss(&tape).unwrap().unwrap().backward();
        let gradient = Tensor::from_inner(logits.grad(&grads).unwrap());
        logits = logits - gradient * step;
    }
    (spreads[0], spreads[spreads.len() - 1])
}
