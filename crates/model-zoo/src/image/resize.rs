use super::Resample;

/// The fraction bits of a weight: sums of 8-bit values times weights fit into 32 bits with sign.
const FRACTION_BITS: u32 = 32 - 8 - 2;

/// Resizes interleaved 8-bit values, `[height, width, channels]`, as Pillow's `Image.resize` does:
/// rows first, then columns, each a weighted sum of all source pixels under the filter (which grows
/// with the factor by which the image shrinks), rounded to 8 bits after each pass.
///
/// Burn and the `image` crate have filters of the same names that do not round in between, or do
/// not grow; models were trained on what Pillow makes.
pub(super) fn resize(
    data: &[u8],
    [height, width, channels]: [usize; 3],
    [new_height, new_width]: [usize; 2],
    resample: Resample,
) -> Vec<u8> {
    let mut rows = Vec::new();
    let data = if new_width == width {
        data
    } else {
        let spans = spans(width, new_width, resample);
        rows.reserve(height * new_width * channels);
        for row in data.chunks_exact(width * channels) {
            for span in &spans {
                for channel in 0..channels {
                    let at = |i: usize| row[(span.start + i) * channels + channel];
                    rows.push(span.sum(at));
                }
            }
        }
        &rows
    };
    if new_height == height {
        return data.to_vec();
    }
    let row = new_width * channels;
    let mut resized = Vec::with_capacity(new_height * row);
    for span in spans(height, new_height, resample) {
        resized.extend((0..row).map(|x| span.sum(|i| data[(span.start + i) * row + x])));
    }
    resized
}

/// The source pixels that make one pixel of the result, with their weights.
struct Span {
    start: usize,
    weights: Vec<i32>,
}

impl Span {
    fn sum(&self, value: impl Fn(usize) -> u8) -> u8 {
        let half = 1 << (FRACTION_BITS - 1);
        let products = self.weights.iter().enumerate().map(|(i, w)| i32::from(value(i)) * w);
        let sum = products.fold(half, |sum, product| sum + product);
        (sum >> FRACTION_BITS).clamp(0, 255) as u8
    }
}

fn spans(size: usize, new_size: usize, resample: Resample) -> Vec<Span> {
    let scale = size as f64 / new_size as f64;
    let stretch = scale.max(1.0);
    let reach = resample.reach() * stretch;
    (0..new_size)
        .map(|i| {
            let center = (i as f64 + 0.5) * scale;
            let start = (center - reach + 0.5).max(0.0) as usize;
            let end = ((center + reach + 0.5) as usize).min(size);
            let at = |x: usize| resample.weight((x as f64 - center + 0.5) / stretch);
            let weights: Vec<f64> = (start..end).map(at).collect();
            let total: f64 = weights.iter().sum();
            let unit = f64::from(1 << FRACTION_BITS);
            let weights = weights.iter().map(|w| (w / total * unit).round() as i32).collect();
            Span { start, weights }
        })
        .collect()
}
