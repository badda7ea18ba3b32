//! What each start promises.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use burn::tensor::{DType, Device, Tensor};
use common::{
    distance, dot, gram_error, lora_a, lora_b, mixture, norm, product, random, residual, scaling,
    shape_of, start,
};
use svd_init::{
    BankShape, CordaConfig, CordaMethod, EvaConfig, ExpertInit, GaussianInit, GoatConfig,
    GradientDirection, InitConfig, InitError, LayerStatistics, LoraGaConfig, OloraConfig,
    PrincipalConfig, SpectrumSlice, SvdMethod, TripletPlan, Triplets, decompose,
    theoretical_scaling,
};

const FULL: PrincipalConfig =
    PrincipalConfig { rho: None, init_cof: None, svd: SvdMethod::Full, loftq_iter: 1 };

fn nothing() -> LayerStatistics {
    LayerStatistics::default()
}

/// A second moment of inputs that vary differently in each direction, `[size, size]`.
fn covariance(size: usize) -> Tensor<2> {
    let inputs = random(size * 4, size, 77) * (random(1, size, 78).abs() * 2.0 + 0.1);
    inputs.clone().transpose().matmul(inputs) / (size * 4) as f64
}

fn all_triplets(weight: &Tensor<2>) -> std::sync::Arc<Triplets> {
    let [rows, columns] = weight.dims();
    let plan = TripletPlan::full((0..rows.min(columns)).collect());
    decompose(weight, &plan, None).unwrap()
}

/// `sum of sigma_i v_i u_i^T` over `indices`, `[in, out]`.
fn part(triplets: &Triplets, indices: impl IntoIterator<Item = usize>) -> Tensor<2> {
    let vector = |values: &[f32]| Tensor::<1>::from_floats(values, &Device::flex());
    let terms = indices.into_iter().map(|i| {
        let right = vector(triplets.right(i)).unsqueeze_dim::<2>(1);
        right.matmul(vector(triplets.left(i)).unsqueeze_dim::<2>(0)) * triplets.values()[i]
    });
    terms.reduce(|sum, term| sum + term).unwrap()
}

#[test]
fn residual_and_mixture_make_the_weight_again() {
    for (rows, columns) in [(24, 40), (40, 24)] {
        let weight = random(rows, columns, 1);
        let statistics = LayerStatistics {
            gradient: Some(random(rows, columns, 2)),
            input_covariance: Some(covariance(rows)),
            ..nothing()
        };
        for experts in [1, 3] {
            let shape = shape_of(&weight, experts, 2);
            let goat = GoatConfig { expert_scaling: true, ..GoatConfig::default() };
            let kpm = CordaConfig { method: CordaMethod::Kpm, ..CordaConfig::default() };
            for init in [
                InitConfig::Pissa(FULL),
                InitConfig::Milora(PrincipalConfig { init_cof: Some(0.7), ..FULL }),
                InitConfig::PissaMilora(PrincipalConfig { rho: Some(3.0), ..FULL }),
                InitConfig::Goat(goat),
                InitConfig::GoatMini(GoatConfig::default()),
                InitConfig::Olora(OloraConfig::default()),
                InitConfig::LoraGa(LoraGaConfig::default()),
                InitConfig::Corda(CordaConfig::default()),
                InitConfig::Corda(kpm),
            ] {
                let start = start(&init, &weight, &shape, &statistics).unwrap();
                assert_eq!(start.lora_a.dims(), [experts, 2, rows]);
                assert_eq!(start.lora_b.dims(), [experts, columns, 2]);
                let coefficient = start.residual_coefficient.unwrap();
                let base = residual(&weight, &start, &shape);
                assert!(distance(&base, &weight) > 1e-4, "{init:?} takes nothing out");
                let again = base + mixture(&start, &shape) * coefficient;
                assert!(distance(&again, &weight) < 1e-5, "{init:?}");
            }
        }
    }
}

#[test]
fn starts_without_products_leave_the_weight() {
    let weight = random(24, 40, 1);
    let statistics = LayerStatistics { input_covariance: Some(covariance(24)), ..nothing() };
    for init in [InitConfig::Lora, InitConfig::Gaussian, InitConfig::Eva(EvaConfig::default())] {
        let start = start(&init, &weight, &shape_of(&weight, 2, 3), &statistics).unwrap();
        assert_eq!(start.residual_coefficient, None);
        assert_eq!(norm(&product(&start, 1)), 0.0);
        assert!(norm(&lora_a(&start, 1)) > 0.0);
    }
}

#[test]
fn gaussian_has_the_standard_deviation_one_over_r() {
    let weight = random(400, 8, 1);
    let start = start(&GaussianInit, &weight, &shape_of(&weight, 5, 4), &nothing()).unwrap();
    let a: Vec<f32> = start.lora_a.into_data().try_to_vec().unwrap();
    let variance = a.iter().map(|v| f64::from(v * v)).sum::<f64>() / a.len() as f64;
    assert!((variance.sqrt() - 0.25).abs() < 0.01, "{variance}");
}

#[test]
fn pissa_is_the_best_approximation_of_its_rank() {
    let weight = random(30, 20, 3);
    let shape = shape_of(&weight, 1, 5);
    let start = start(&FULL.init(SpectrumSlice::Pissa), &weight, &shape, &nothing()).unwrap();
    let triplets = all_triplets(&weight);
    // The error of the best approximation is the tail of the spectrum (Eckart and Young).
    let tail = triplets.values()[5..].iter().map(|v| f64::from(v * v)).sum::<f64>().sqrt();
    let error = norm(&(mixture(&start, &shape) - weight.clone()));
    assert!((error / tail - 1.0).abs() < 1e-5, "{error} {tail}");
    // Both factors carry the same share of it.
    assert!((norm(&lora_a(&start, 0)) / norm(&lora_b(&start, 0)) - 1.0).abs() < 1e-5);
    assert_eq!(start.residual_coefficient, Some(1.0));
}

#[test]
fn randomised_pissa_equals_pissa_where_the_spectrum_decays() {
    let columns = Tensor::<1>::from_floats(
        std::array::from_fn::<f32, 60, _>(|i| 0.7_f32.powi(i as i32)),
        &Device::flex(),
    );
    let weight = random(90, 60, 3) * columns.unsqueeze();
    let shape = shape_of(&weight, 2, 3);
    let with = |svd| {
        let config = PrincipalConfig { svd, ..FULL };
        start(&config.init(SpectrumSlice::Pissa), &weight, &shape, &nothing()).unwrap()
    };
    let (full, some) = (with(SvdMethod::Full), with(SvdMethod::Randomised));
    for expert in 0..2 {
        assert!(distance(&product(&some, expert), &product(&full, expert)) < 1e-4);
        assert!(distance(&lora_a(&some, expert), &lora_a(&full, expert)) < 1e-4);
    }
}

#[test]
fn milora_is_what_matters_least() {
    let weight = random(30, 20, 3);
    let shape = shape_of(&weight, 1, 5);
    let start = start(&FULL.init(SpectrumSlice::Milora), &weight, &shape, &nothing()).unwrap();
    let least = part(&all_triplets(&weight), 15..20);
    assert!(distance(&mixture(&start, &shape), &least) < 1e-4);
}

#[test]
fn goat_gives_each_expert_its_segment_over_rho() {
    let weight = random(25, 40, 4);
    let shape = shape_of(&weight, 3, 2);
    let triplets = all_triplets(&weight);
    for (slice, offset) in [(SpectrumSlice::Goat, 0), (SpectrumSlice::GoatMini, 6)] {
        let s = theoretical_scaling(0.1, 25, 2);
        let shape = BankShape { scaling: s, ..shape };
        let config = GoatConfig { rho: 4.0, ..GoatConfig::default() };
        let start = start(&config.init(slice), &weight, &shape, &nothing()).unwrap();
        for expert in 0..3 {
            // 25 singular values make three segments of 8.
            let first = expert * 8 + offset;
            let segment = part(&triplets, first..first + 2) / 4.0;
            assert!(distance(&(product(&start, expert) * s), &segment) < 1e-4);
        }
    }
}

#[test]
fn expert_scaling_makes_experts_learn_at_one_speed() {
    let weight = random(48, 36, 5);
    let shape = shape_of(&weight, 4, 2);
    // `s_e^2 (tr(B_e B_e^T) / O + tr(A_e^T A_e) / I)`: the share of a gradient without preferred
    // directions that the equivalent gradient keeps.
    let speeds = |expert_scaling| {
        let config = GoatConfig { expert_scaling, ..GoatConfig::default() };
        let start = start(&config.init(SpectrumSlice::Goat), &weight, &shape, &nothing()).unwrap();
        let speed = |e| {
            let (a, b) = (norm(&lora_a(&start, e)).powi(2), norm(&lora_b(&start, e)).powi(2));
            scaling(&start, &shape, e).powi(2) * (a / 48.0 + b / 36.0)
        };
        (0..4).map(speed).collect::<Vec<f64>>()
    };
    let equal = speeds(true);
    assert!(equal.iter().all(|speed| (speed / equal[0] - 1.0).abs() < 1e-4), "{equal:?}");
    let falling = speeds(false);
    assert!(falling[3] < 0.7 * falling[0], "{falling:?}");
    assert!((falling[0] / equal[0] - 1.0).abs() < 1e-6);
}

#[test]
fn olora_is_the_first_part_of_a_qr_decomposition() {
    let weight = random(20, 30, 6);
    let shape = shape_of(&weight, 3, 4);
    let start = start(&OloraConfig::default(), &weight, &shape, &nothing()).unwrap();
    let experts: Vec<_> = (0..3).map(|e| lora_b(&start, e)).collect();
    let b = Tensor::cat(experts, 1);
    assert!(gram_error(&b.clone().transpose(), 1.0) < 1e-5);
    // The first E r columns of W = Q R are Q[:, :E r] R[:E r, :E r].
    let sum = (0..3).map(|e| product(&start, e)).reduce(|a, b| a + b).unwrap();
    let (built, columns) = (sum.narrow(0, 0, 12), weight.narrow(0, 0, 12));
    assert!(distance(&built, &columns) < 1e-5);
    // R is triangular, with a positive diagonal.
    let r: Vec<f32> = start.lora_a.into_data().try_to_vec().unwrap();
    for (row, values) in r.chunks(20).enumerate() {
        assert!(values[..row].iter().all(|v| *v == 0.0) && values[row] > 0.0);
    }
}

#[test]
fn first_step_of_lora_ga_is_the_best_of_its_rank_towards_the_gradient() {
    let weight = random(30, 20, 7);
    let gradient = random(30, 20, 8);
    let statistics = LayerStatistics { gradient: Some(gradient.clone()), ..nothing() };
    let triplets = all_triplets(&gradient);
    for direction in [GradientDirection::A2rBr, GradientDirection::ArB2r] {
        let config = LoraGaConfig { direction, svd: SvdMethod::Full, ..LoraGaConfig::default() };
        let shape = shape_of(&weight, 1, 3);
        let start = start(&config, &weight, &shape, &statistics).unwrap();
        let (a, b) = (lora_a(&start, 0), lora_b(&start, 0));
        // G as [in, out]: G B B^T + A^T A G.
        let step = gradient.clone().matmul(b.clone()).matmul(b.clone().transpose())
            + a.clone().transpose().matmul(a.clone()).matmul(gradient.clone());
        let size = 20_f64.sqrt() / 16.0;
        assert!(distance(&(step / size), &part(&triplets, 0..6)) < 1e-4);
        assert!(gram_error(&a, size) < 1e-5);
        assert!(gram_error(&b.transpose(), size) < 1e-5);
    }
}

#[test]
fn experts_of_lora_ga_share_the_gradient_out() {
    let weight = random(30, 20, 7);
    let gradient = random(30, 20, 8);
    let statistics = LayerStatistics { gradient: Some(gradient.clone()), ..nothing() };
    let config = LoraGaConfig { svd: SvdMethod::Full, ..LoraGaConfig::default() };
    let start = start(&config, &weight, &shape_of(&weight, 3, 2), &statistics).unwrap();
    let triplets = all_triplets(&gradient);
    let size = 20_f64.powf(0.25) / 4.0;
    for expert in 0..3 {
        let step = gradient.clone().matmul(lora_b(&start, expert));
        for k in 0..2 {
            let at = expert * 4 + k;
            let value: f64 = norm(&step.clone().slice([0..30, k..k + 1]));
            let expected = f64::from(triplets.values()[at]) * size;
            assert!((value / expected - 1.0).abs() < 1e-4, "expert {expert}, {k}");
        }
    }
}

#[test]
fn eva_spans_the_directions_of_largest_variance() {
    let weight = random(24, 10, 9);
    let moment = covariance(24);
    let statistics = LayerStatistics { input_covariance: Some(moment.clone()), ..nothing() };
    let config = EvaConfig { svd: SvdMethod::Full };
    let start = start(&config, &weight, &shape_of(&weight, 3, 2), &statistics).unwrap();
    let a = Tensor::cat((0..3).map(|e| lora_a(&start, e)).collect(), 0);
    assert!(gram_error(&a, 1.0) < 1e-5);
    // The variance within the span is the sum of the largest eigenvalues.
    let seen = dot(&a.clone().matmul(moment.clone()), &a);
    let largest: f64 = all_triplets(&moment).values()[..6].iter().map(|v| f64::from(*v)).sum();
    assert!((seen / largest - 1.0).abs() < 1e-5);
}

#[test]
fn corda_is_the_best_approximation_on_the_data() {
    let weight = random(24, 30, 10);
    let moment = covariance(24);
    let statistics = LayerStatistics { input_covariance: Some(moment.clone()), ..nothing() };
    let shape = shape_of(&weight, 1, 4);
    let run = |method| {
        let config =
            CordaConfig { method, damp: 0.0, svd: SvdMethod::Full, ..CordaConfig::default() };
        mixture(&start(&config, &weight, &shape, &statistics).unwrap(), &shape)
    };
    // (W C) [out, in] is C W as [in, out]; of it, ipm is the best part and kpm the least.
    let oriented = all_triplets(&moment.clone().matmul(weight.clone()));
    for (method, indices) in [(CordaMethod::Ipm, 0..4), (CordaMethod::Kpm, 20..24)] {
        let seen = moment.clone().matmul(run(method));
        assert!(distance(&seen, &part(&oriented, indices)) < 2e-3, "{method:?}");
    }
    let pissa = start(&FULL.init(SpectrumSlice::Pissa), &weight, &shape, &nothing()).unwrap();
    let error = |part: Tensor<2>| norm(&moment.clone().matmul(weight.clone() - part));
    assert!(error(run(CordaMethod::Ipm)) < 0.9 * error(mixture(&pissa, &shape)));
}

#[test]
fn ranks_that_the_matrix_cannot_give_are_refused() {
    let weight = random(24, 12, 1);
    let statistics = LayerStatistics {
        gradient: Some(weight.clone()),
        input_covariance: Some(covariance(24)),
        ..nothing()
    };
    let refused = |init: InitConfig, experts, rank| {
        start(&init, &weight, &shape_of(&weight, experts, rank), &statistics).unwrap_err()
    };
    let goat = InitConfig::Goat(GoatConfig::default());
    for init in [
        InitConfig::Pissa(FULL),
        InitConfig::Milora(FULL),
        goat,
        InitConfig::Olora(OloraConfig::default()),
        InitConfig::Corda(CordaConfig::default()),
    ] {
        let (matrix, available) = ("weight", 12);
        let expected =
            InitError::RankTooLarge { matrix, num_experts: 2, rank: 7, needed: 14, available };
        assert_eq!(refused(init, 2, 7), expected, "{init:?}");
    }
    let matrix = "gradient";
    let expected =
        InitError::RankTooLarge { matrix, num_experts: 1, rank: 7, needed: 14, available: 12 };
    assert_eq!(refused(InitConfig::LoraGa(LoraGaConfig::default()), 1, 7), expected);
    let matrix = "input covariance";
    let expected =
        InitError::RankTooLarge { matrix, num_experts: 1, rank: 25, needed: 25, available: 24 };
    assert_eq!(refused(InitConfig::Eva(EvaConfig::default()), 1, 25), expected);
}

#[test]
fn missing_or_foreign_statistics_are_refused() {
    let weight = random(24, 12, 1);
    let shape = shape_of(&weight, 1, 2);
    for (init, name, statistics) in [
        (InitConfig::LoraGa(LoraGaConfig::default()), "lora_ga", "gradient"),
        (InitConfig::Corda(CordaConfig::default()), "corda", "input covariance"),
        (InitConfig::Eva(EvaConfig::default()), "eva", "input covariance"),
    ] {
        let error = start(&init, &weight, &shape, &nothing()).unwrap_err();
        assert_eq!(error, InitError::MissingStatistics { start: name, statistics });
        let wrong = LayerStatistics {
            gradient: Some(random(12, 24, 1)),
            input_covariance: Some(covariance(12)),
            ..nothing()
        };
        let error = start(&init, &weight, &shape, &wrong).unwrap_err();
        assert!(matches!(error, InitError::StatisticsShape { .. }), "{error}");
    }
}

#[test]
fn matrices_that_are_not_finite_are_refused() {
    let mut broken = random(12, 12, 1);
    broken = broken.slice_assign([3..4, 5..6], Tensor::full([1, 1], f32::NAN, &Device::flex()));
    let weight = random(12, 12, 2);
    let refused = |init: InitConfig, weight: &Tensor<2>, statistics: &LayerStatistics| {
        start(&init, weight, &shape_of(weight, 1, 2), statistics).unwrap_err()
    };
    let matrix = "weight";
    for init in [InitConfig::Goat(GoatConfig::default()), InitConfig::Olora(OloraConfig::default())]
    {
        assert_eq!(refused(init, &broken, &nothing()), InitError::NotFinite { matrix });
    }
    let statistics = LayerStatistics {
        gradient: Some(broken.clone()),
        input_covariance: Some(broken.clone()),
        ..nothing()
    };
    let error = refused(InitConfig::LoraGa(LoraGaConfig::default()), &weight, &statistics);
    assert_eq!(error, InitError::NotFinite { matrix: "gradient" });
    for init in [InitConfig::Eva(EvaConfig::default()), InitConfig::Corda(CordaConfig::default())] {
        let error = refused(init, &weight, &statistics);
        assert_eq!(error, InitError::NotFinite { matrix: "input covariance" });
    }
}

#[test]
fn a_covariance_without_an_inverse_is_refused() {
    let weight = random(12, 12, 2);
    let statistics = LayerStatistics {
        input_covariance: Some(Tensor::zeros([12, 12], &Device::flex())),
        ..nothing()
    };
    let config = CordaConfig { damp: 0.5, ..CordaConfig::default() };
    let error = start(&config, &weight, &shape_of(&weight, 1, 2), &statistics).unwrap_err();
    assert_eq!(error, InitError::Singular { damp: 0.5 });
}

#[test]
fn a_scaling_that_is_divided_by_has_to_be_positive() {
    let weight = random(12, 12, 2);
    let shape = BankShape { scaling: 0.0, ..shape_of(&weight, 1, 2) };
    let error = start(&InitConfig::Pissa(FULL), &weight, &shape, &nothing()).unwrap_err();
    assert_eq!(error, InitError::NotPositive { key: "scaling", value: 0.0 });
}

#[test]
fn bad_values_are_refused_at_the_start_too() {
    let weight = random(12, 12, 2);
    let goat = GoatConfig { rho: f64::NAN, ..GoatConfig::default() };
    let error =
        start(&InitConfig::Goat(goat), &weight, &shape_of(&weight, 1, 2), &nothing()).unwrap_err();
    assert!(matches!(error, InitError::NotPositive { key: "rho", .. }));
}

#[test]
fn weights_in_half_precision_start_like_their_copies_in_f32() {
    let half: Tensor<2> = random(24, 16, 3).cast(DType::BF16);
    let full: Tensor<2> = half.clone().cast(DType::F32);
    let init = InitConfig::Goat(GoatConfig::default());
    let run = |weight: &Tensor<2>| {
        start(&init, weight, &shape_of(weight, 2, 2), &nothing()).unwrap().lora_a.into_data()
    };
    assert_eq!(run(&half), run(&full));
}

#[test]
fn a_start_asks_for_the_triplets_that_it_takes() {
    let weight = random(24, 16, 3);
    let shape = shape_of(&weight, 2, 2);
    let plan = |init: InitConfig| init.triplets(&shape).unwrap();
    let goat = plan(InitConfig::Goat(GoatConfig::default())).unwrap();
    assert_eq!(goat, TripletPlan::full(vec![0, 1, 8, 9]));
    let pissa = plan(InitConfig::Pissa(PrincipalConfig::default())).unwrap();
    assert_eq!(pissa, TripletPlan::leading(4, 16, SvdMethod::Auto));
    assert_eq!(plan(InitConfig::Olora(OloraConfig::default())), None);
}
