//! Products of few rows with matrices of bfloat16 whose columns lie one after the other: AMX reads these where they
//! are, as left factors, so that a product takes as long as reading the matrix.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use half::bf16;

use super::few_rows::{Out, by_columns};
use crate::kernel::{Columns, Sums, Tiles, Words, cut};

/// The columns that are multiplied at a time, and the most rows.
const STEP: usize = 32;

/// Whether there is a kernel for `m` rows with `[k, n]`.
pub(super) fn fits([m, k, n]: [usize; 3]) -> bool {
    let whole = k > 0 && k.is_multiple_of(STEP) && n.is_multiple_of(STEP);
    m <= STEP && whole && Tiles::Amx.runs()
}

/// `out = x w`, rows `[m, k]` with the columns `w`, `[n, k]`. With `round`, rows are rounded to bfloat16; without,
/// each is taken in three parts whose sum it is, so that nothing is rounded.
///
/// # Panics
///
/// Where these do not [fit](fits).
pub(super) fn multiply(
    x: &[f32],
    k: usize,
    w: &[bf16],
    n: usize,
    round: bool,
    out: &mut [MaybeUninit<f32>],
) {
    let m = x.len() / k;
    assert!(fits([m, k, n]) && out.len() == m * n && w.len() >= n * k);
    let tiles = Tiles::Amx;
    let len = tiles.words(k) * STEP;
    let mut rest = x.to_vec();
    let mut packed = Words::default();
    let parts = if round { 1 } else { 3 };
    for (part, packed) in packed.at_least(parts * len).chunks_exact_mut(len).enumerate() {
        let cut_off: Vec<f32> = match part + 1 < parts {
            true => rest.iter().map(|x| cut(*x)).collect(),
            false => rest.clone(),
        };
        tiles.pack_columns(Columns::F32(&cut_off, k), m, k, packed);
        // What is not finite has no parts but the first.
        for (rest, cut_off) in rest.iter_mut().zip(cut_off) {
            *rest = if cut_off.is_finite() { *rest - cut_off } else { 0.0 };
        }
    }
    let out = Out(out.as_mut_ptr().cast());
    by_columns(n, STEP, |columns| {
        // SAFETY: it runs here.
        let (unit, out) = (unsafe { tiles.unit() }, &out);
        for column in columns.step_by(STEP) {
            let w = &w[column * k..(column + STEP) * k];
            let mut sums: Sums = [[0.0; STEP]; STEP];
            for (part, right) in packed.all()[..parts * len].chunks_exact(len).enumerate() {
                unit.multiply_held(w, right, m, &mut sums, part > 0);
            }
            for row in 0..m {
                for (i, sums) in sums.iter().enumerate() {
                    // SAFETY: within the result, and no other task's.
                    unsafe { out.0.add(row * n + column + i).write(sums[row]) };
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::numbers::numbers;
    use super::*;
    use crate::kernel::rounded;

    #[test]
    fn few_rows_give_the_formula() {
        if !Tiles::Amx.runs() {
            println!("skipped: this processor has no AMX");
            return;
        }
        for [m, k, n] in [[1, 32, 32], [8, 576, 192], [16, 64, 4128], [17, 96, 64], [32, 160, 320]]
        {
            let x = numbers(m * k, 1);
            let w: Vec<bf16> = numbers(n * k, 2).into_iter().map(bf16::from_f32).collect();
            for round in [true, false] {
                let mut out = vec![MaybeUninit::new(f32::NAN); m * n];
                multiply(&x, k, &w, n, round, &mut out);
                for (i, found) in out.iter().enumerate() {
                    let (row, column) = (i / n, i % n);
                    let product = |at: usize| {
                        let x = x[row * k + at];
                        let x = if round { rounded(x) } else { x };
                        f64::from(x) * f64::from(w[column * k + at].to_f32())
                    };
                    let expected: f64 = (0..k).map(product).sum();
                    // SAFETY: it was, before and by the product.
                    let found = f64::from(unsafe { found.assume_init() });
                    assert!(
                        (found - expected).abs() <= 2e-5,
                        "{m} x {k} x {n}, rounded {round}: [{i}] is {found}, expected {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_in_its_row() {
        if !Tiles::Amx.runs() {
            return;
        }
        let w = vec![bf16::ONE; 64 * 32];
        for value in [f32::NAN, f32::INFINITY] {
            let mut x = numbers(6 * 64, 3);
            x[2 * 64 + 9] = value;
            for round in [true, false] {
                let mut out = vec![MaybeUninit::new(0.0f32); 6 * 32];
                multiply(&x, 64, &w, 32, round, &mut out);
                for (i, found) in out.iter().enumerate() {
                    // SAFETY: initialised from the start.
                    let found = unsafe { found.assume_init() };
                    assert_eq!(found.is_finite(), i / 32 != 2, "{value}, {round}: [{i}] {found}");
                }
            }
        }
    }
}
