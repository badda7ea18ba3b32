/// Which points no other point betters: none is at least as high in both directions and higher in
/// one. Points that are not finite are never on the front; equal points are both on it.
pub fn pareto_front(points: &[(f64, f64)]) -> Vec<bool> {
    let finite = |point: &(f64, f64)| point.0.is_finite() && point.1.is_finite();
    let betters = |a: &(f64, f64), b: &(f64, f64)| a.0 >= b.0 && a.1 >= b.1 && a != b;
    points
        .iter()
        .map(|point| {
            finite(point) && !points.iter().any(|other| finite(other) && betters(other, point))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_holds_the_points_that_none_betters() {
        let points =
            [(0.1, 0.9), (0.5, 0.8), (0.5, 0.7), (0.4, 0.8), (0.9, 0.2), (0.9, 0.2), (0.0, 0.0)];
        assert_eq!(pareto_front(&points), [true, true, false, false, true, true, false]);
        assert_eq!(pareto_front(&[(f64::NAN, 2.0), (0.0, 0.0)]), [false, true]);
        assert!(pareto_front(&[]).is_empty());
    }
}
