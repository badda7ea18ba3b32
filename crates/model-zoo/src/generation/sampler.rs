use std::borrow::Cow;
use std::cmp::Ordering;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::GenerationConfig;

/// Chooses each next token from its scores, on the host.
///
/// In transformers' order: penalties, temperature, `top_k`, `top_p`, `min_p`.
#[derive(Debug, Clone)]
pub struct Sampler {
    temperature: f64,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    repetition_penalty: f32,
    presence_penalty: f32,
    frequency_penalty: f32,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// A sampler for one sequence.
    pub fn new(config: &GenerationConfig) -> Self {
        Self {
            temperature: config.temperature,
            top_k: config.top_k,
            top_p: config.top_p,
            min_p: config.min_p,
            repetition_penalty: config.repetition_penalty as f32,
            presence_penalty: config.presence_penalty as f32,
            frequency_penalty: config.frequency_penalty as f32,
            rng: ChaCha8Rng::seed_from_u64(config.seed),
        }
    }

    /// The next token after `history`, of which all but the first `prompt_len` tokens are new;
    /// `None` when no score is a number.
    pub fn next(&mut self, logits: &[f32], history: &[u32], prompt_len: usize) -> Option<u32> {
        // Without an end before the last, so that it is done by vectors.
        if logits.iter().fold(false, |any, logit| any | logit.is_nan()) {
            return None;
        }
        let mut logits = Cow::Borrowed(logits);
        if self.penalises() {
            self.penalise(logits.to_mut(), history, prompt_len);
        }
        let highest = maximum(&logits)?;
        if self.temperature == 0.0 {
            return highest.is_finite().then(|| first(&logits, highest)).flatten();
        }
        let top = f64::from(highest) / self.temperature;
        let weight = |logit: &f32| (f64::from(*logit) / self.temperature - top).exp();
        let mut candidates: Vec<(u32, f64)> = (0..).zip(logits.iter().map(weight)).collect();
        if let Some(k) = self.top_k
            && k < candidates.len()
        {
            candidates.select_nth_unstable_by(k - 1, by_weight);
            candidates.truncate(k);
        }
        let mut total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        if !total.is_finite() {
            return None;
        }
        if let Some(top_p) = self.top_p {
            keep_mass(&mut candidates, top_p * total);
            total = candidates.iter().map(|(_, weight)| weight).sum();
        }
        if let Some(min_p) = self.min_p {
            // The most probable token has a weight of 1.
            candidates.retain(|(_, weight)| *weight >= min_p);
            total = candidates.iter().map(|(_, weight)| weight).sum();
        }
        // In the order of their ids, however they were found.
        if self.top_k.is_some() || self.top_p.is_some() {
            candidates.sort_unstable_by_key(|(token, _)| *token);
        }
        let mut left = self.rng.random::<f64>() * total;
        for (token, weight) in &candidates {
            left -= weight;
            if left < 0.0 {
                return Some(*token);
            }
        }
        // Rounding may leave a rest.
        candidates.iter().rev().find(|(_, weight)| *weight > 0.0).map(|(token, _)| *token)
    }

    fn penalises(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
    }

    fn penalise(&self, logits: &mut [f32], history: &[u32], prompt_len: usize) {
        if self.repetition_penalty != 1.0 {
            let mut tokens = history.to_vec();
            tokens.sort_unstable();
            tokens.dedup();
            for token in tokens {
                if let Some(logit) = logits.get_mut(token as usize) {
                    let penalty = self.repetition_penalty;
                    *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
                }
            }
        }
        if self.presence_penalty == 0.0 && self.frequency_penalty == 0.0 {
            return;
        }
        let mut new = history.get(prompt_len..).unwrap_or_default().to_vec();
        new.sort_unstable();
        for same in new.chunk_by(|a, b| a == b) {
            if let Some(logit) = logits.get_mut(same[0] as usize) {
                *logit -= self.presence_penalty + self.frequency_penalty * same.len() as f32;
            }
        }
    }
}

/// Most probable first, equals in the order of their ids.
fn by_weight(a: &(u32, f64), b: &(u32, f64)) -> Ordering {
    b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal).then(a.0.cmp(&b.0))
}

/// Keeps the most probable candidates that have so much together, at least one.
fn keep_mass(candidates: &mut Vec<(u32, f64)>, mass: f64) {
    // Few are enough mostly, and they are found faster than all are sorted.
    const FEW: usize = 512;
    let mut sorted = candidates.len().min(FEW);
    if sorted < candidates.len() {
        candidates.select_nth_unstable_by(sorted - 1, by_weight);
        let most: f64 = candidates[..sorted].iter().map(|(_, weight)| weight).sum();
        if most < mass {
            sorted = candidates.len();
        }
    }
    candidates[..sorted].sort_unstable_by(by_weight);
    let mut kept = 0.0;
    let count = candidates.iter().take_while(|(_, weight)| {
        let before = kept;
        kept += weight;
        before < mass
    });
    let count = count.count().max(1);
    candidates.truncate(count);
}

/// The greatest, of numbers.
fn maximum(logits: &[f32]) -> Option<f32> {
    const LANES: usize = 16;
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, tail) = logits.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *logit);
        }
    }
    let all = lanes.into_iter().chain(tail.iter().copied());
    (!logits.is_empty()).then(|| all.fold(f32::NEG_INFINITY, larger))
}

/// The first token with this score.
fn first(logits: &[f32], score: f32) -> Option<u32> {
    logits.iter().position(|logit| *logit == score).and_then(|at| u32::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [1.0, 3.0, 2.0, -1.0];

    fn sampler(change: impl FnOnce(&mut GenerationConfig)) -> Sampler {
        let mut config = GenerationConfig { temperature: 1.0, seed: 7, ..Default::default() };
        change(&mut config);
        config.check().unwrap();
        Sampler::new(&config)
    }

    fn counts(mut sampler: Sampler, draws: usize) -> [usize; 4] {
        let mut counts = [0; 4];
        for _ in 0..draws {
            counts[sampler.next(&LOGITS, &[], 0).unwrap() as usize] += 1;
        }
        counts
    }

    #[test]
    fn draws_follow_the_softmax() {
        let counts = counts(sampler(|_| ()), 20_000);
        let total: f64 = LOGITS.iter().map(|l| f64::from(*l).exp()).sum();
        for (count, logit) in counts.iter().zip(LOGITS) {
            let expected = f64::from(logit).exp() / total;
            assert!((*count as f64 / 20_000.0 - expected).abs() < 0.01, "{counts:?}");
        }
    }

    #[test]
    fn top_k_and_top_p_leave_the_most_probable() {
        let counts_k = counts(sampler(|c| c.top_k = Some(2)), 500);
        assert!(counts_k[0] == 0 && counts_k[3] == 0 && counts_k[2] > 0);
        // The first two tokens have probabilities 0.66 and 0.24.
        let counts_p = counts(sampler(|c| c.top_p = Some(0.6)), 500);
        assert_eq!(counts_p, [0, 500, 0, 0]);
        let counts_p = counts(sampler(|c| c.top_p = Some(0.7)), 500);
        assert!(counts_p[0] == 0 && counts_p[2] > 0);
    }

    #[test]
    fn temperature_zero_takes_the_first_greatest() {
        let mut greedy = sampler(|c| c.temperature = 0.0);
        assert_eq!(greedy.next(&[1.0, 3.0, 3.0], &[], 0), Some(1));
    }

    #[test]
    fn the_penalty_lowers_tokens_that_occurred() {
        let mut greedy = sampler(|c| {
            c.temperature = 0.0;
            c.repetition_penalty = 2.0;
        });
        assert_eq!(greedy.next(&LOGITS, &[1, 1], 2), Some(2));
        assert_eq!(greedy.next(&[-1.0, -1.5], &[0], 1), Some(1));
    }

    #[test]
    fn presence_and_frequency_count_new_tokens_only() {
        let mut greedy = sampler(|c| {
            c.temperature = 0.0;
            c.presence_penalty = 0.5;
            c.frequency_penalty = 0.3;
        });
        assert_eq!(greedy.next(&LOGITS, &[1, 1], 2), Some(1));
        // 3 - 0.5 - 0.3 is above 2, and 3 - 0.5 - 2 * 0.3 below.
        assert_eq!(greedy.next(&LOGITS, &[1, 1], 1), Some(1));
        assert_eq!(greedy.next(&LOGITS, &[1, 1], 0), Some(2));
    }

    #[test]
    fn min_p_leaves_what_is_not_much_less_probable_than_the_first() {
        // The others have 0.37, 0.14 and 0.02 of the probability of the first.
        let counts = counts(sampler(|c| c.min_p = Some(0.2)), 500);
        assert!(counts[0] == 0 && counts[3] == 0 && counts[2] > 0, "{counts:?}");
    }

    #[test]
    fn equal_seeds_draw_equal_tokens() {
        let draw = || {
            let mut sampler = sampler(|_| ());
            (0..50).map(|_| sampler.next(&LOGITS, &[], 0).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }

    #[test]
    fn scores_that_are_no_numbers_give_no_token() {
        assert_eq!(sampler(|_| ()).next(&[f32::NAN, 1.0], &[], 0), None);
        assert_eq!(sampler(|_| ()).next(&[f32::INFINITY, 1.0], &[], 0), None);
        assert_eq!(sampler(|c| c.temperature = 0.0).next(&[f32::NEG_INFINITY], &[], 0), None);
    }
}
