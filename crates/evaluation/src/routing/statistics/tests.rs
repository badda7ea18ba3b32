use burn::tensor::{Bool, Device, Int};
use router::{BatchContext, Routing, RoutingExtras};

use super::*;
use crate::routing::{DEAD_SHARE, GroupReport, RoutingReport, routing_csv};

const SITE: Site = Site::new(3, "mlp.up_proj");

/// Two samples of three tokens over three experts, two of which each token selects.
const WEIGHTS: [[f32; 3]; 6] = [
    [0.75, 0.25, 0.0],
    [0.5, 0.5, 0.0],
    [1.0, 0.0, 0.0],
    [0.0, 0.25, 0.75],
    [0.5, 0.0, 0.5],
    [0.0, 0.0, 1.0],
];

fn close(got: &[f64], want: &[f64]) {
    let apart = got.iter().zip(want).any(|(got, want)| (got - want).abs() > 1e-6);
    assert!(got.len() == want.len() && !apart, "{got:?} instead of {want:?}");
}

struct Batch {
    weights: Vec<[f32; 3]>,
    mask: Option<Vec<bool>>,
    types: Option<Vec<i64>>,
    dense: bool,
}

impl Batch {
    fn new() -> Self {
        Self { weights: WEIGHTS.to_vec(), mask: None, types: Some(vec![5, 2]), dense: false }
    }

    fn tape(&self) -> RoutingTape {
        let device = Device::flex();
        let tokens = self.weights.len();
        let samples = self.types.as_ref().map_or(2, Vec::len);
        let mut context = BatchContext::new(samples, tokens / samples);
        if let Some(types) = &self.types {
            context =
                context.with_task_types(Tensor::<1, Int>::from_data(types.as_slice(), &device));
        }
        if let Some(mask) = &self.mask {
            let data = TensorData::new(mask.clone(), [samples, tokens / samples]);
            context = context.with_token_mask(Tensor::<2, Bool>::from_data(data, &device));
        }
        let values: Vec<f32> = self.weights.iter().flatten().copied().collect();
        let weights = Tensor::<2>::from_data(TensorData::new(values, [tokens, 3]), &device);
        let mut routing = Routing::dense(weights.clone(), weights.clone(), weights.clone());
        if !self.dense {
            let distance = Tensor::from_data(
                (0..tokens).map(|t| t as f32).collect::<Vec<_>>().as_slice(),
                &device,
            );
            routing = routing
                .with_selection(weights.greater_scalar(0.0).float(), Some(2))
                .with_extras(RoutingExtras { distance: Some(distance), ..Default::default() });
        }
        let mut tape = RoutingTape::recording(context);
        // One identity expert: two of three have parameters.
        tape.push(SITE, &routing, || vec![Tensor::zeros([2, 4, 5], &device)]);
        tape
    }

    fn report(&self) -> RoutingReport {
        let mut statistics = RoutingStatistics::default();
        statistics.push(&self.tape()).unwrap();
        statistics.report(DEAD_SHARE)
    }
}

fn entropy(p: &[f64]) -> f64 {
    -p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>() / 3_f64.ln()
}

#[test]
fn each_number_is_as_defined() {
    let report = Batch::new().report();
    let [site] = report.sites.as_slice() else { panic!("{report:?}") };
    assert_eq!((site.layer, site.module.as_str()), (3, "mlp.up_proj"));
    assert_eq!((site.experts, site.identity_experts), (3, 1));

    let [two, five] = site.task_types.as_slice() else { panic!("{site:?}") };
    assert_eq!((two.task_type, five.task_type), (Some(2), Some(5)));
    assert_eq!((two.tokens, five.tokens, site.all.tokens), (3, 3, 6));
    close(&five.load, &[1.0, 2.0 / 3.0, 0.0]);
    close(&five.importance, &[0.75, 0.25, 0.0]);
    close(&five.share, &[0.75, 0.25, 0.0]);
    close(&[five.largest_share], &[0.75]);
    assert_eq!(five.dead_experts, [2]);
    let mean = (entropy(&[0.75, 0.25]) + entropy(&[0.5, 0.5])) / 3.0;
    close(&[five.entropy, five.weight_entropy], &[mean, mean]);
    close(&[five.identity_share.unwrap(), five.cluster_distance.unwrap()], &[0.75, 1.0]);
    let pairs = five.co_activation.as_ref().unwrap();
    close(&pairs.concat(), &[1.0, 2.0 / 3.0, 0.0, 2.0 / 3.0, 2.0 / 3.0, 0.0, 0.0, 0.0, 0.0]);

    close(&site.all.importance, &[2.75 / 6.0, 1.0 / 6.0, 2.25 / 6.0]);
    close(&[site.all.cluster_distance.unwrap()], &[2.5]);
    assert!(site.all.dead_experts.is_empty());
    let pairs = site.all.co_activation.as_ref().unwrap();
    let sixth = 1.0 / 6.0;
    close(
        &pairs.concat(),
        &[
            4.0 * sixth,
            2.0 * sixth,
            sixth,
            2.0 * sixth,
            3.0 * sixth,
            sixth,
            sixth,
            sixth,
            3.0 * sixth,
        ],
    );

    let joint: [[f64; 3]; 2] = [[2.25, 0.75, 0.0], [0.5, 0.25, 2.25]];
    let information: f64 = joint
        .iter()
        .flat_map(|row| row.iter().zip([2.75, 1.0, 2.25]))
        .filter(|(joint, _)| **joint > 0.0)
        .map(|(joint, expert)| joint / 6.0 * ((joint / 6.0) / (0.5 * expert / 6.0)).ln())
        .sum();
    close(&[site.mutual_information.unwrap()], &[information]);
    close(&[site.specialisation.unwrap()], &[information / 2_f64.ln()]);
}

#[test]
fn padding_changes_nothing() {
    let plain = Batch::new().report();
    let mut padded = Batch::new();
    padded.weights.insert(3, [0.0, 0.0, 1.0]);
    padded.weights.push([0.25, 0.5, 0.25]);
    padded.mask = Some(vec![true, true, true, false, true, true, true, false]);
    let padded = padded.report();
    let numbers = |report: &RoutingReport| -> Vec<f64> {
        let of = |group: &GroupReport| {
            let pairs = group.co_activation.clone().unwrap().concat();
            [group.load.clone(), group.importance.clone(), pairs, vec![group.entropy]].concat()
        };
        let site = &report.sites[0];
        site.task_types.iter().chain([&site.all]).flat_map(of).collect()
    };
    close(&numbers(&padded), &numbers(&plain));
    assert_eq!(padded.sites[0].all.tokens, 6);
}

#[test]
fn a_type_that_is_all_padding_was_not_seen() {
    let mut batch = Batch::new();
    batch.mask = Some(vec![true, true, true, false, false, false]);
    let report = batch.report();
    let types: Vec<_> = report.sites[0].task_types.iter().map(|group| group.task_type).collect();
    assert_eq!(types, [Some(5)]);
    assert_eq!(report.sites[0].mutual_information, None);
}

#[test]
fn batches_add_up_in_any_way() {
    let whole = Batch::new();
    let half = |rows: std::ops::Range<usize>, kind| Batch {
        weights: WEIGHTS[rows].to_vec(),
        mask: None,
        types: Some(vec![kind]),
        dense: true,
    };
    let dense = Batch { dense: true, ..whole };
    let mut pushed = RoutingStatistics::default();
    pushed.push(&half(0..3, 5).tape()).unwrap();
    let mut merged = pushed.clone();
    pushed.push(&half(3..6, 2).tape()).unwrap();
    let mut other = RoutingStatistics::default();
    other.push(&half(3..6, 2).tape()).unwrap();
    merged.merge(&other).unwrap();
    assert_eq!(pushed, merged);
    let (got, want) = (pushed.report(DEAD_SHARE), dense.report());
    close(&got.sites[0].all.importance, &want.sites[0].all.importance);
    close(
        &[got.sites[0].mutual_information.unwrap()],
        &[want.sites[0].mutual_information.unwrap()],
    );
}

#[test]
fn dense_routing_selects_all_and_has_no_pairs() {
    let mut batch = Batch::new();
    (batch.dense, batch.types) = (true, None);
    let site = batch.report().sites.remove(0);
    close(&site.all.load, &[1.0, 1.0, 1.0]);
    assert_eq!(site.all.co_activation, None);
    assert_eq!(site.all.cluster_distance, None);
    assert!(site.task_types.is_empty());
    assert_eq!(site.specialisation, None);
}

#[test]
fn experts_that_tell_types_apart_are_fully_specialised_and_equal_ones_not_at_all() {
    let mut batch = Batch::new();
    batch.weights = [vec![[1.0, 0.0, 0.0]; 3], vec![[0.0, 1.0, 0.0]; 3]].concat();
    close(&[batch.report().sites[0].specialisation.unwrap()], &[1.0]);
    batch.weights = vec![[0.5, 0.25, 0.25]; 6];
    close(&[batch.report().sites[0].specialisation.unwrap()], &[0.0]);
}

#[test]
fn another_number_of_experts_is_refused_and_changes_nothing() {
    let mut statistics = RoutingStatistics::default();
    statistics.push(&Batch::new().tape()).unwrap();
    let before = statistics.clone();
    let device = Device::flex();
    let weights = Tensor::<2>::from_data([[0.5, 0.5]], &device);
    let mut tape = RoutingTape::recording(BatchContext::new(1, 1));
    let routing = Routing::dense(weights.clone(), weights.clone(), weights);
    tape.push(Site::new(0, "mlp.up_proj"), &routing, Vec::new);
    tape.push(SITE, &routing, Vec::new);
    let error = statistics.push(&tape).unwrap_err();
    let site = "layers.3.mlp.up_proj".to_owned();
    assert_eq!(error, AnalyticsError::Experts { site, expected: 3, found: 2 });
    assert_eq!(statistics, before);
}

#[test]
fn reports_survive_json_and_make_a_row_for_each_expert() {
    let report = Batch::new().report();
    let json = serde_json::to_string(&report).unwrap();
    let again: RoutingReport = serde_json::from_str(&json).unwrap();
    assert_eq!(again.sites[0].task_types.len(), 2);
    let csv = routing_csv(&report);
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 3 * 3);
    let columns = lines[0].split(',').count();
    assert!(lines.iter().all(|line| line.split(',').count() == columns), "{csv}");
    assert!(lines[1].starts_with("3,mlp.up_proj,all,0,6,0.6666666"), "{csv}");
    assert!(lines[9].starts_with("3,mlp.up_proj,5,2,3,0,0,0,true,false,"), "{csv}");
}
