//! Attention over blocks of a pool equals attention over sequences that lie in one piece.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Distribution, Tensor};
use fused_ops::{
    AttentionMask, BLOCK, Causal, PagedPass, PagedRow, attention_composed, paged_attention,
    paged_attention_composed,
};

/// Heads, groups, and the size of a head.
type Sizes = [usize; 3];

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.5, 1.5), &Device::flex())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}[{i}]: {a}, expected {b}");
    }
}

/// Blocks of so many sequences in no order.
fn tables(lens: &[usize]) -> (Vec<Vec<u32>>, usize) {
    let counts: Vec<usize> = lens.iter().map(|len| len.div_ceil(BLOCK)).collect();
    let total: usize = counts.iter().sum();
    // A block between that is nobody's.
    let pool = total + 1;
    let step = (1..pool).rev().find(|step| gcd(*step, pool) == 1).unwrap_or(1);
    let mut next = 0;
    let table = |count: usize| {
        let blocks = (0..count).map(|_| {
            next = (next + step) % pool;
            next as u32
        });
        blocks.collect()
    };
    (counts.into_iter().map(table).collect(), pool)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Runs passes of new tokens of several sequences, and compares each with attention in one piece.
fn compare(
    [heads, groups, depth]: Sizes,
    passes: &[Vec<usize>],
    window: Option<usize>,
    cap: Option<f64>,
) {
    let rows = passes[0].len();
    let lens: Vec<usize> = (0..rows).map(|row| passes.iter().map(|pass| pass[row]).sum()).collect();
    let whole: Vec<[Tensor<3>; 3]> = lens
        .iter()
        .map(|len| [heads, groups, groups].map(|heads| random([*len, heads, depth])))
        .collect();
    let (tables, blocks) = tables(&lens);
    // What nobody wrote is not even a number.
    let empty = |shape: [usize; 4]| Tensor::<4>::full(shape, f32::NAN, &Device::flex());
    let pool = || [empty([blocks, groups, depth, BLOCK]), empty([blocks, groups, BLOCK, depth])];
    let mut pools = [pool(), pool()];
    let mut past = vec![0; rows];
    for (number, news) in passes.iter().enumerate() {
        let part = |which: usize| {
            let each = (0..rows).filter(|row| news[*row] > 0);
            let each = each.map(|row| whole[row][which].clone().narrow(0, past[row], news[row]));
            Tensor::cat(each.collect(), 0)
        };
        let taking = (0..rows).filter(|row| news[*row] > 0);
        let taking = taking.map(|row| PagedRow {
            past: past[row],
            new: news[row],
            blocks: tables[row].clone(),
        });
        let pass = PagedPass { rows: taking.collect(), window, soft_cap: cap };
        let [kernel, composed] = pools;
        let (found, kernel) = paged_attention(part(0), [part(1), part(2)], kernel, &pass);
        let (other, composed) =
            paged_attention_composed(part(0), [part(1), part(2)], composed, &pass);
        pools = [kernel, composed];
        let mut expected = Vec::new();
        for row in (0..rows).filter(|row| news[*row] > 0) {
            let (past, new) = (past[row], news[row]);
            let [q, k, v] = [(0, past, new), (1, 0, past + new), (2, 0, past + new)].map(
                |(which, first, count)| {
                    let own: Tensor<3> = whole[row][which].clone().narrow(0, first, count);
                    own.swap_dims(0, 1).unsqueeze_dim::<4>(0)
                },
            );
            let mask = AttentionMask::new(Some(Causal { offset: past, window }), None);
            expected.extend(floats(attention_composed(q, k, v, &mask, cap)));
        }
        // Scores of up to some tens, whose last bits are the relative errors of weights.
        let tolerance = 1.5e-5 * cap.unwrap_or(1.0).max(1.0) as f32;
        close(&floats(found), &expected, tolerance, &format!("pass {number}"));
        close(&floats(other), &expected, tolerance, &format!("pass {number}, composed"));
        past.iter_mut().zip(news).for_each(|(past, new)| *past += new);
    }
    let [kernel, composed] = pools;
    for (a, b) in kernel.into_iter().zip(composed) {
        let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
        assert!(floats(a).iter().zip(&floats(b)).all(same), "the pools differ");
    }
}

#[test]
fn rows_of_any_lengths_are_continued_over_their_blocks() {
    let passes = [vec![5, 40, 1, 16], vec![1, 1, 1, 1], vec![1, 0, 20, 3], vec![1, 1, 1, 1]];
    for sizes in [[9, 3, 64], [4, 4, 16], [8, 1, 32], [14, 2, 16]] {
        compare(sizes, &passes, None, None);
    }
}

#[test]
fn windows_and_soft_caps_are_those_of_attention() {
    let passes = [vec![30, 7], vec![1, 1], vec![25, 2], vec![1, 17]];
    for window in [1, 5, 16, 33] {
        compare([4, 2, 16], &passes, Some(window), None);
    }
    compare([4, 2, 16], &passes, None, Some(3.0));
    compare([4, 2, 16], &passes, Some(9), Some(3.0));
}

#[test]
fn heads_of_other_sizes_are_composed() {
    compare([4, 2, 6], &[vec![5, 20], vec![1, 1]], None, None);
}
