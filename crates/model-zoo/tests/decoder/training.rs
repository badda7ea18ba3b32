//! Which weights train, and that all of them get gradients.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use model_zoo::{CausalLm, Family, TokenInput};
use router::RoutingTape;

use super::{IDS, close, count, family_config, input, tiny};
use crate::common::{Base, golden, load, logits, tiny_config};

#[test]
fn random_models_train_and_loaded_ones_are_frozen() {
    let random = tiny().train();
    let counted = count(&random);
    assert_eq!(counted.all, tiny_config().parameter_count());
    assert_eq!(counted.trainable, counted.all);
    let loaded = load(&golden("llama3"));
    assert_eq!(count(&loaded).all, loaded.config().parameter_count());
    assert_eq!(count(&loaded.train()).trainable, 0);
}

#[test]
fn every_random_weight_of_every_family_gets_a_gradient() {
    for family in Family::ALL {
        let random = Base::init_random(&family_config(family), 3, &Device::flex()).unwrap();
        let model = random.clone().train();
        let device = model.device();
        let data = TensorData::new(IDS.to_vec(), [2, 6]);
        let input = TokenInput::new(Tensor::<2, Int>::from_data(data, &device));
        let mut tape = RoutingTape::new(input.context());
        let hidden = model.hidden_states(&input, None, &mut tape);
        let gradients = model.logits(hidden).square().mean().backward();
        let mut seen = Gradients { gradients: &gradients, seen: 0 };
        model.visit(&mut seen);
        assert_eq!(seen.seen, model.config().parameter_count(), "{family}");
        let outside = logits(&model.valid(), &self::input(&IDS, 2), None);
        close(&outside, &logits(&random, &self::input(&IDS, 2), None));
    }
}

/// Counts the weights of parameters with a gradient that is not 0.
struct Gradients<'a> {
    gradients: &'a burn::tensor::Gradients,
    seen: usize,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients).expect("a gradient");
        let size: f32 = gradient.abs().max().into_scalar();
        assert!(size.is_finite());
        // A bias of keys moves all scores of a query alike, which changes nothing without a cap.
        let count = param.val().shape().num_elements();
        self.seen += count;
        assert!(size > 0.0 || D == 1, "{:?}", param.val().dims());
    }
}
