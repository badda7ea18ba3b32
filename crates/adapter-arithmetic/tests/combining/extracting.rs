//! Experts and fixed mixtures as single LoRAs.

use adapter_arithmetic::{ArithmeticError, extract_expert, extract_mixture};
use burn::tensor::TensorData;
use moe_adapter::{AdapterConfig, Preset};
use router::RouterConfig;

use super::{difference, loaded, logits, merged_at, mixtures, stored, uniform};

#[test]
fn an_expert_computes_alone_what_it_did_in_the_mixture() {
    for (name, config) in mixtures() {
        let (adapter, model) = stored(&config);
        for expert in 0..3 {
            let single = extract_expert(&adapter, expert).unwrap();
            assert!(!single.config.is_mixture());
            let mut weights = [0.0; 3];
            weights[expert] = 1.0;
            let expected = logits(&merged_at(&model, &weights));
            let off = difference(&logits(&loaded(&single)), &expected);
            assert!(off < 1e-5, "{name}: expert {expert} is {off:e} away");
        }
        let error = extract_expert(&adapter, 3).unwrap_err();
        assert!(
            matches!(error, ArithmeticError::ExpertNotFound { experts: 3, .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_static_mixture_is_one_lora() {
    let weights = [0.2, 1.1, -0.3];
    for (name, config) in mixtures() {
        let (adapter, model) = stored(&config);
        let mixture = extract_mixture(&adapter, Some(&weights));
        if name == "dora" {
            assert!(mixture.unwrap_err().to_string().contains("DoRA"));
            continue;
        }
        let mixture = mixture.unwrap();
        let off = difference(&logits(&loaded(&mixture)), &logits(&merged_at(&model, &weights)));
        assert!(off < 1e-5, "{name} is {off:e} away");
        let r = |config: &AdapterConfig| config.sizes(0, 1).rank;
        match name {
            "loramoe" => assert_eq!(r(&mixture.config), 3 * r(&config)),
            "hydra" => assert_eq!(r(&mixture.config), r(&config)),
            "goat" => assert_eq!(r(&mixture.config), 6 * r(&config)),
            _ => {}
        }
        let error = extract_mixture(&adapter, None).unwrap_err();
        assert!(matches!(error, ArithmeticError::InputDependent { .. }), "{error}");
        let error = extract_mixture(&adapter, Some(&[1.0])).unwrap_err();
        assert!(matches!(error, ArithmeticError::ExpertWeights { experts: 3, .. }), "{error}");
        let uniform = AdapterConfig { router: uniform(), ..config };
        let (adapter, model) = stored(&uniform);
        let mean = extract_mixture(&adapter, None).unwrap();
        let off = difference(&logits(&loaded(&mean)), &logits(&model));
        assert!(off < 1e-5, "{name}: the mean is {off:e} away");
    }
}

#[test]
fn identity_and_shared_experts_are_counted_as_the_router_counts() {
    let config = AdapterConfig {
        num_experts: 2,
        identity_experts: 1,
        shared_experts: 1,
        balance_loss: None,
        router: RouterConfig::default(),
        ..Preset::LoramoePaper.config()
    };
    let (adapter, model) = stored(&config);
    let error = extract_expert(&adapter, 0).unwrap_err().to_string();
    assert!(error.contains("identity"), "{error}");
    // The mixture with all weight on an expert is that expert and the shared one.
    let of = |expert: usize| extract_expert(&adapter, expert).unwrap();
    assert_ne!(of(1).state, of(2).state);
    assert_ne!(of(2).state, of(3).state);
    assert!(matches!(extract_expert(&adapter, 4), Err(ArithmeticError::ExpertNotFound { .. })));
    let weights = [0.3, 0.5, 0.2];
    let mixture = extract_mixture(&adapter, Some(&weights)).unwrap();
    let off = difference(&logits(&loaded(&mixture)), &logits(&merged_at(&model, &weights)));
    assert!(off < 1e-5, "{off:e}");
}

#[test]
fn an_expert_of_blocks_is_taken_out_of_all_their_linears() {
    let mut config = Preset::Mixlora.config();
    // With a gate of zeros the only selected expert is the first, with weight 1.
    config.router = serde_json::from_value(
        serde_json::json!({ "type": "top_k", "k": 1, "gate": { "init": "zeros" } }),
    )
    .unwrap();
    let (mut adapter, _) = stored(&config);
    for (name, data) in &mut adapter.state {
        if name.contains(".router.") {
            *data = TensorData::new(vec![0.0_f32; data.num_elements()], data.shape().clone());
        }
    }
    let single = extract_expert(&adapter, 0).unwrap();
    let off = difference(&logits(&loaded(&single)), &logits(&loaded(&adapter)));
    assert!(off < 1e-5, "{off:e}");
    let error = extract_mixture(&adapter, Some(&[0.125; 8])).unwrap_err();
    assert!(matches!(error, ArithmeticError::BlockRouter { .. }), "{error}");
}

#[test]
fn a_start_that_is_not_stored_is_refused() {
    let config = Preset::GoatPaper.config();
    let (mut adapter, _) = stored(&config);
    adapter.state.retain(|name, _| !name.contains(".start."));
    let error = extract_expert(&adapter, 0).unwrap_err().to_string();
    assert!(error.contains("goat") && error.contains("--to native"), "{error}");
    let (adapter, _) = stored(&Preset::Full.config());
    let error = extract_expert(&adapter, 0).unwrap_err().to_string();
    assert!(error.contains("no experts"), "{error}");
}
