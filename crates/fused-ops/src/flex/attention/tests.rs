//! The products by tiles against the formula in f64. Those in f32 are tested from outside, with every mask.

use super::super::numbers::numbers;
use super::backward::{Results, gradients};
use super::forward::results;
use super::inputs::{Inputs, Sizes};
use super::packed::Packed;
use crate::Causal;
use crate::kernel::{Tiles, rounded};
use crate::ops::AttentionKind;

/// Sizes, and what is seen.
struct Case {
    sizes: Sizes,
    causal: Option<Causal>,
    soft_cap: Option<f64>,
    /// So many keys in front are padding.
    padded: usize,
}

impl Case {
    fn new([batch, heads, groups, queries, keys, depth]: [usize; 6]) -> Self {
        let sizes = Sizes { batch, heads, groups, queries, keys, depth };
        Self { sizes, causal: None, soft_cap: None, padded: 0 }
    }

    fn causal(self, window: Option<usize>) -> Self {
        let offset = self.sizes.keys - self.sizes.queries;
        Self { causal: Some(Causal { offset, window }), ..self }
    }

    fn seen(&self, query: usize, key: usize) -> bool {
        let keys = self.sizes.keys;
        let visible = self.causal.map_or(0..keys, |causal| causal.visible(query, keys));
        visible.contains(&key) && key >= self.padded
    }
}

/// Results and the gradients of queries, and of the keys and values of each head, of rounded inputs.
fn formula(case: &Case, [q, k, v, grad]: [&[f32]; 4]) -> [Vec<f64>; 4] {
    let Sizes { batch, heads, groups, queries, keys, depth } = case.sizes;
    let at = |x: &[f32], row: usize, i: usize| f64::from(rounded(x[row * depth + i]));
    let mut out = vec![0.0; batch * queries * heads * depth];
    let mut q_grad = vec![0.0; batch * heads * queries * depth];
    let mut k_grad = vec![0.0; batch * heads * keys * depth];
    let mut v_grad = k_grad.clone();
    for place in 0..batch * heads {
        let (row, head) = (place / heads, place % heads);
        let of_key = |key: usize| (row * groups + head * groups / heads) * keys + key;
        for query in 0..queries {
            let of_query = place * queries + query;
            let of_result = (row * queries + query) * heads + head;
            let dot = |key: usize| -> f64 {
                (0..depth).map(|i| at(q, of_query, i) * at(k, of_key(key), i)).sum()
            };
            let seen: Vec<usize> = (0..keys).filter(|key| case.seen(query, *key)).collect();
            let capped = |x: f64| case.soft_cap.map_or(x, |cap| cap * x.tanh());
            let slope = |x: f64| case.soft_cap.map_or(1.0, |cap| cap * (1.0 - x.tanh().powi(2)));
            let all: f64 = seen.iter().map(|key| capped(dot(*key)).exp()).sum();
            let weight = |key: usize| capped(dot(key)).exp() / all;
            for key in &seen {
                for i in 0..depth {
                    out[of_result * depth + i] += weight(*key) * at(v, of_key(*key), i);
                }
            }
            let delta: f64 = (0..depth)
                .map(|i| out[of_result * depth + i] * f64::from(grad[of_result * depth + i]))
                .sum();
            for key in &seen {
                let of_weight: f64 =
                    (0..depth).map(|i| at(grad, of_result, i) * at(v, of_key(*key), i)).sum();
                let of_score = weight(*key) * (of_weight - delta) * slope(dot(*key));
                let key_row = place * keys + key;
                for i in 0..depth {
                    q_grad[of_query * depth + i] += of_score * at(k, of_key(*key), i);
                    k_grad[key_row * depth + i] += of_score * at(q, of_query, i);
                    v_grad[key_row * depth + i] += weight(*key) * at(grad, of_result, i);
                }
            }
        }
    }
    [out, q_grad, k_grad, v_grad]
}

/// Weights are rounded to 8 bits, so that sums of them are exact to a part of their largest.
fn compare(tiles: Tiles, case: &Case) {
    let Sizes { batch, heads, groups, queries, keys, depth } = case.sizes;
    let wide = |len: usize, seed: u32| -> Vec<f32> {
        numbers(len * depth, seed).iter().map(|x| 3.0 * x).collect()
    };
    let q = wide(batch * heads * queries, 1);
    let [k, v] = [2, 3].map(|seed| wide(batch * groups * keys, seed));
    let grad = wide(batch * queries * heads, 4);
    let padding: Vec<f32> = (0..batch * keys)
        .map(|at| if at % keys < case.padded { crate::HIDDEN as f32 } else { 0.0 })
        .collect();
    let kind = AttentionKind {
        causal: case.causal,
        documents: None,
        starts: None,
        soft_cap: case.soft_cap,
    };
    let inputs =
        Inputs { sizes: case.sizes, q: &q, k: &k, v: &v, padding: Some(&padding), kind: &kind };
    let packed = Packed::new(tiles, inputs, false);
    let (out, log_sums) = results(inputs, || packed.products(&[]));
    let packed = Packed::new(tiles, inputs, true);
    let result = Results { out: &out, log_sums: &log_sums, grad: &grad };
    let grads = gradients(inputs, result, || packed.products(&grad));
    let [q_grad, k_grad, v_grad] = grads;
    let expected = formula(case, [&q, &k, &v, &grad]);
    let found = [out, q_grad, k_grad, v_grad];
    for (name, (found, expected)) in
        ["result", "q", "k", "v"].iter().zip(found.iter().zip(&expected))
    {
        let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        assert_eq!(found.len(), expected.len());
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            let apart = (f64::from(*a) - b).abs() / largest;
            assert!(apart <= 4e-3, "{tiles:?}, {name}[{i}]: {a}, expected {b}");
        }
    }
}

#[test]
fn tiles_give_the_formula_but_for_rounding() {
    for tiles in [Tiles::Dot, Tiles::Amx] {
        if !tiles.runs() {
            println!("skipped: this processor does not run {tiles:?}");
            continue;
        }
        // Tiles and blocks that are full and cut off, and heads of one, of groups, and of odd sizes.
        compare(tiles, &Case::new([1, 1, 1, 64, 256, 64]));
        compare(tiles, &Case::new([2, 2, 1, 17, 33, 20]));
        compare(tiles, &Case::new([1, 2, 2, 70, 300, 80]).causal(None));
        compare(tiles, &Case::new([1, 4, 2, 130, 130, 8]).causal(None));
        for window in [1, 40, 299] {
            compare(tiles, &Case::new([1, 2, 1, 90, 300, 16]).causal(Some(window)));
        }
        compare(tiles, &Case { padded: 50, ..Case::new([2, 2, 2, 30, 100, 16]) });
        compare(tiles, &Case { soft_cap: Some(2.0), ..Case::new([1, 2, 2, 65, 90, 16]) });
    }
}
