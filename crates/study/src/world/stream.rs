use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What random numbers are drawn for; each purpose has a stream of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Facts = 1,
    PreTraining = 2,
    Tuning = 3,
    TaskEvaluation = 4,
    TextEvaluation = 5,
}

/// The stream for a purpose within a world, varied by the seed of the call.
pub(super) fn stream(world_seed: u64, purpose: Purpose, call_seed: u64) -> ChaCha8Rng {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&world_seed.to_le_bytes());
    seed[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    seed[16..24].copy_from_slice(&call_seed.to_le_bytes());
    ChaCha8Rng::from_seed(seed)
}
