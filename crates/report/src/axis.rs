use crate::format::count;

/// One direction of a chart: a range of values, the marks on it, and its name.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What the values are, with their unit.
    pub name: String,
    /// The marks, each with its text.
    pub ticks: Vec<(f64, String)>,
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// A linear axis that covers `values`, with round marks.
    pub fn linear(name: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(values);
        let pad = if high > low { 0.06 * (high - low) } else { 0.1 * high.abs().max(1.0) };
        Self::between(name, low - pad, high + pad)
    }

    /// A linear axis of given range, widened to the round marks at either end.
    pub fn between(name: &str, low: f64, high: f64) -> Self {
        let step = round_step((high - low) / 5.0);
        let (first, last) = ((low / step + 1e-6).floor(), (high / step - 1e-6).ceil());
        let decimals = (-step.log10() - 1e-9).ceil().max(0.0) as usize;
        // A step such as 0.25 needs one place more than its order of magnitude.
        let shown = step * 10f64.powi(decimals as i32);
        let decimals = decimals + usize::from((shown - shown.round()).abs() > 1e-6);
        let marks = (0..=(last - first).round().max(1.0) as usize)
            .map(|i| (first + i as f64) * step)
            .map(|value| (value, format!("{:.decimals$}", value + 0.0)));
        let (low, high) = (first * step, last * step);
        Self { name: name.to_owned(), ticks: marks.collect(), low, high, logarithmic: false }
    }

    /// A linear axis from 0 to the largest value, where the marks may stop short of it.
    pub fn from_zero(name: &str, values: impl Iterator<Item = f64>) -> Self {
        let high = range(values).1;
        let high = if high > 0.0 { high } else { 1.0 };
        let mut axis = Self::between(name, 0.0, high);
        axis.high = high;
        axis.ticks.retain(|(value, _)| *value <= axis.high * 1.001);
        axis
    }

    /// A linear axis for shares, which covers `values` as far as they lie between 0 and 1.
    pub fn shares(name: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(values);
        Self::between(name, low.clamp(0.0, 1.0) - 1e-9, high.clamp(0.0, 1.0) + 1e-9)
    }

    /// Places for things that are counted from 1, from 0.5 to `count + 0.5`.
    pub fn places(name: &str, count: usize) -> Self {
        let ticks = (1..=count).map(|place| (place as f64, place.to_string())).collect();
        let high = count.max(1) as f64 + 0.5;
        Self { name: name.to_owned(), ticks, low: 0.5, high, logarithmic: false }
    }

    /// A logarithmic axis marked at the values themselves, which are above 0.
    pub fn amounts(name: &str, mut values: Vec<usize>) -> Self {
        values.retain(|value| *value > 0);
        values.sort_unstable();
        values.dedup();
        let low = values.first().copied().unwrap_or(1) as f64;
        let high = values.last().copied().unwrap_or(10) as f64;
        // Room for labels on either side, or a factor of two around a single value.
        let pad = if high > low { (high / low).powf(0.12) } else { 2.0 };
        let ticks = values.into_iter().map(|value| (value as f64, count(value))).collect();
        Self { name: name.to_owned(), ticks, low: low / pad, high: high * pad, logarithmic: true }
    }

    /// A logarithmic axis that covers the values above 0, marked at 1, 2 and 5 times powers of ten.
    pub fn logarithmic(name: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(values.filter(|value| *value > 0.0));
        let (low, high) = if low > 0.0 { (low, high) } else { (0.1, 1.0) };
        let pad = (high / low).powf(0.06).max(1.06);
        let (low, high) = (low / pad, high * pad);
        let powers = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
        let text =
            |value: f64, power: i32| format!("{value:.*}", power.min(0).unsigned_abs() as usize);
        let ticks = powers
            .flat_map(|power| [1, 2, 5].map(|digit| (f64::from(digit) * 10f64.powi(power), power)))
            .filter(|(value, _)| (low..=high).contains(value))
            .map(|(value, power)| (value, text(value, power)));
        Self { name: name.to_owned(), ticks: ticks.collect(), low, high, logarithmic: true }
    }

    /// The range as plotters sees it, which knows linear axes alone.
    pub(crate) fn range(&self) -> std::ops::Range<f64> {
        self.place(self.low)..self.place(self.high)
    }

    /// Where a value lies within [`range`](Self::range).
    pub(crate) fn place(&self, value: f64) -> f64 {
        if self.logarithmic { value.log10() } else { value }
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values.filter(|value| value.is_finite()) {
        low = low.min(value);
        high = high.max(value);
    }
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|s| s * power >= rough * 0.999);
    step.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn marks_are_round() {
        for (low, high, expected) in [
            (0.0, 1.0, "0.0 0.2 0.4 0.6 0.8 1.0"),
            (0.56, 1.0, "0.5 0.6 0.7 0.8 0.9 1.0"),
            (0.31, 1.0, "0.2 0.4 0.6 0.8 1.0"),
            (1.02, 1.98, "1.0 1.2 1.4 1.6 1.8 2.0"),
            (0.0, 1.2, "0.00 0.25 0.50 0.75 1.00 1.25"),
        ] {
            assert_eq!(marks(&Axis::between("", low, high)).join(" "), expected);
        }
        assert_eq!(marks(&Axis::from_zero("", [310.0].into_iter())), ["0", "100", "200", "300"]);
    }

    #[test]
    fn logarithmic_marks_are_round() {
        let axis = Axis::logarithmic("", [0.0, 0.04, 3.1, f64::NAN].into_iter());
        assert_eq!(marks(&axis), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert!(
            axis.range().contains(&axis.place(0.04)) && axis.range().contains(&axis.place(3.1))
        );
    }

    #[test]
    fn values_without_extent_still_make_an_axis() {
        for axis in [
            Axis::linear("", [3.0, 3.0].into_iter()),
            Axis::linear("", [f64::NAN].into_iter()),
            Axis::from_zero("", std::iter::empty()),
            Axis::shares("", std::iter::empty()),
            Axis::shares("", [0.5].into_iter()),
            Axis::amounts("", vec![100]),
            Axis::amounts("", vec![]),
            Axis::logarithmic("", std::iter::empty()),
            Axis::logarithmic("", [3.0].into_iter()),
        ] {
            let range = axis.range();
            assert!(range.start < range.end && range.end.is_finite(), "{axis:?}");
        }
    }
}
