/// Python's `random.Random`: the Mersenne Twister MT19937, seeded from an integer.
///
/// Source: Matsumoto and Nishimura, *Mersenne Twister*, 1998 (`init_by_array`); the derived draws
/// are those of CPython's `random` module.
///
/// ```
/// let mut random = eval_tasks::python::Random::new(1234);
/// assert_eq!(random.sample(100, 5), [99, 56, 14, 0, 11]);
/// ```
#[derive(Clone)]
pub struct Random {
    state: [u32; SIZE],
    next: usize,
}

const SIZE: usize = 624;
const SHIFT: usize = 397;

impl Random {
    /// `random.Random(seed)`.
    pub fn new(seed: u64) -> Self {
        let low = seed as u32;
        let high = (seed >> 32) as u32;
        if high == 0 { Self::from_key(&[low]) } else { Self::from_key(&[low, high]) }
    }

    fn from_key(key: &[u32]) -> Self {
        let mut state = [0_u32; SIZE];
        state[0] = 19_650_218;
        for i in 1..SIZE {
            let previous = state[i - 1];
            state[i] =
                1_812_433_253_u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(i as u32);
        }
        let (mut i, mut j) = (1, 0);
        for _ in 0..SIZE.max(key.len()) {
            let previous = state[i - 1];
            state[i] = (state[i] ^ (previous ^ (previous >> 30)).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            i += 1;
            j += 1;
            if i >= SIZE {
                state[0] = state[SIZE - 1];
                i = 1;
            }
            if j >= key.len() {
                j = 0;
            }
        }
        for _ in 0..SIZE - 1 {
            let previous = state[i - 1];
            state[i] = (state[i] ^ (previous ^ (previous >> 30)).wrapping_mul(1_566_083_941))
                .wrapping_sub(i as u32);
            i += 1;
            if i >= SIZE {
                state[0] = state[SIZE - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
        Self { state, next: SIZE }
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == SIZE {
            for i in 0..SIZE {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % SIZE] & 0x7fff_ffff);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + SHIFT) % SIZE] ^ (y >> 1) ^ odd;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `random()`: uniform in `[0, 1)`, with 53 bits.
    pub fn random(&mut self) -> f64 {
        let high = f64::from(self.next_u32() >> 5);
        let low = f64::from(self.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// Uniform in `0..bound`, as `randrange(bound)`; `bound` is below 2³² and not 0.
    fn below(&mut self, bound: usize) -> usize {
        let bits = usize::BITS - bound.leading_zeros();
        loop {
            let drawn = (self.next_u32() >> (32 - bits)) as usize;
            if drawn < bound {
                return drawn;
            }
        }
    }

    /// The indices that `sample(population, count)` takes of a population of `size`, in its order.
    ///
    /// At most `size` are drawn.
    pub fn sample(&mut self, size: usize, count: usize) -> Vec<usize> {
        let count = count.min(size);
        let mut set_size = 21;
        if count > 5 {
            let exponent = ((count * 3) as f64).log(4.0).ceil();
            set_size += 4_f64.powf(exponent) as usize;
        }
        if size <= set_size {
            let mut pool: Vec<usize> = (0..size).collect();
            (0..count)
                .map(|i| {
                    let j = self.below(size - i);
                    let drawn = pool[j];
                    pool[j] = pool[size - i - 1];
                    drawn
                })
                .collect()
        } else {
            let mut drawn: Vec<usize> = Vec::with_capacity(count);
            let mut seen = std::collections::HashSet::with_capacity(count);
            while drawn.len() < count {
                let j = self.below(size);
                if seen.insert(j) {
                    drawn.push(j);
                }
            }
            drawn
        }
    }

    /// The indices that `choices(population, k=len)` takes of a population of `size`, with
    /// replacement, into `indices`.
    pub fn choices(&mut self, size: usize, indices: &mut [usize]) {
        for index in indices {
            *index = (self.random() * size as f64).floor() as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Python 3.11: `r = random.Random(seed)` and the call named in each test.

    #[test]
    fn uniform_draws_equal_pythons() {
        let mut random = Random::new(1234);
        let drawn: Vec<f64> = (0..3).map(|_| random.random()).collect();
        assert_eq!(drawn, [0.9664535356921388, 0.4407325991753527, 0.007491470058587191]);
        assert_eq!(Random::new(0).random(), 0.8444218515250481);
        assert_eq!(Random::new(u64::MAX).random(), 0.021825695401270107);
    }

    #[test]
    fn samples_equal_pythons() {
        let mut random = Random::new(1234);
        assert_eq!(random.sample(7473, 5), [6374, 3610, 957, 61, 742]);
        assert_eq!(random.sample(7473, 5), [7462, 6610, 4769, 286, 5501]);
        assert_eq!(Random::new(1234).sample(20, 6), [14, 3, 0, 2, 1, 10]);
        assert_eq!(
            Random::new(7).sample(300, 25),
            [
                165, 77, 202, 24, 37, 274, 48, 187, 298, 29, 259, 109, 19, 44, 222, 214, 35, 123,
                46, 282, 217, 30, 289, 63, 114
            ]
        );
    }

    #[test]
    fn choices_equal_pythons() {
        let mut indices = [0; 8];
        Random::new(3).choices(1000, &mut indices);
        assert_eq!(indices, [237, 544, 369, 603, 625, 65, 13, 837]);
    }
}
