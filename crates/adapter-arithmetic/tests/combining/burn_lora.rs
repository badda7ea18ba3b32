//! LoRAs of Burn's own.

use adapter_arithmetic::{ArithmeticError, from_burn_lora, to_burn_lora};
use burn::module::{Lora, LoraAdapter, Module, Param, ParamGroup, Reparameterizer};
use burn::tensor::{Device, Distribution, Tensor};
use model_zoo::{Decoder, DecoderConfig};
use moe_adapter::{Adaptable, AdapterConfig, AdapterError, BaseLinear, Preset, TargetModules};

use super::{base, difference, loaded, logits, mixtures, singles, stored};

/// The base model with Burn's linears.
fn burn_base() -> Decoder<BaseLinear> {
    let mut config = DecoderConfig::new(40, 32, 48, 4, 4);
    config.initializer_range = 0.2;
    Decoder::init_random(&config, 0, &Device::flex()).unwrap()
}

/// Fills Burn's LoRA with values that do something.
fn filled(mut model: Decoder<BaseLinear>) -> Decoder<BaseLinear> {
    struct Fill(Option<LoraAdapter>);
    impl Reparameterizer for Fill {
        type Reparam = LoraAdapter;
        fn reparameterize<const D: usize>(
            &mut self,
            _path: &str,
            param: Param<Tensor<D>>,
        ) -> (Param<Tensor<D>>, Option<LoraAdapter>) {
            (param, self.0.take())
        }
    }
    model.visit_projections_mut(&mut |_, _, linear| {
        let BaseLinear::Dense(linear) = linear else { return };
        let Some(LoraAdapter { a, b, scale }) = linear.weight.adapter().cloned() else { return };
        let b = b.map(|b| b.random_like(Distribution::Normal(0.0, 0.2)));
        let weight = Param::from_tensor(linear.weight.base());
        linear.weight = weight.apply_reparameterization(Fill(Some(LoraAdapter { a, b, scale })));
    });
    model
}

#[test]
fn loras_of_burn_come_in_and_go_out_with_equal_logits() {
    assert_eq!(logits(&burn_base()), logits(&base()));
    let linears = ParamGroup::from_any_predicates(vec!["q_proj", "up_proj"]);
    let model = filled(burn_base().apply_lora(Lora::new(3, 6.0).set_param_group(linears)));
    let adapter = from_burn_lora(&model, Some("base")).unwrap();
    assert_eq!((adapter.config.r, adapter.config.lora_alpha), (3, 6.0));
    let names = ["q_proj", "up_proj"].map(String::from).to_vec();
    assert_eq!(adapter.config.target_modules, TargetModules::Names(names));
    let off = difference(&logits(&loaded(&adapter)), &logits(&model));
    assert!(off < 1e-5, "in: {off:e}");
    assert!(difference(&logits(&model), &logits(&base())) > 1e-3);

    for config in singles() {
        let (adapter, expected) = stored(&config);
        let mut model = burn_base();
        assert_eq!(to_burn_lora(&mut model, &adapter).unwrap(), 8);
        let off = difference(&logits(&model), &logits(&expected));
        assert!(off < 1e-5, "out: {off:e}");
        let again = from_burn_lora(&model, None).unwrap();
        let off = difference(&logits(&loaded(&again)), &logits(&expected));
        assert!(off < 1e-5, "back: {off:e}");
        let error = to_burn_lora(&mut model, &adapter).unwrap_err().to_string();
        assert!(error.contains("already"), "{error}");
    }
}

#[test]
fn what_burn_has_no_place_for_is_refused() {
    let refused = |config: &AdapterConfig| {
        to_burn_lora(&mut burn_base(), &stored(config).0).unwrap_err().to_string()
    };
    assert!(refused(&mixtures()[0].1).contains("mixtures"));
    assert!(refused(&Preset::Dora.config()).contains("magnitudes"));
    assert!(refused(&Preset::Full.config()).contains("as a whole"));
    assert!(matches!(
        from_burn_lora(&burn_base(), None),
        Err(ArithmeticError::Adapter(AdapterError::NoAdapter))
    ));
    let everywhere = burn_base().apply_lora(Lora::new(2, 2.0));
    let error = from_burn_lora(&everywhere, None).unwrap_err().to_string();
    assert!(error.contains("embed_tokens") && error.contains("ParamGroup"), "{error}");
}
