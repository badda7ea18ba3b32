use super::{FONT, Point, text_width};

/// An upright rectangle.
#[derive(Clone, Copy, Debug)]
pub(in crate::report) struct Rect {
    pub(in crate::report) left: f64,
    pub(in crate::report) top: f64,
    pub(in crate::report) right: f64,
    pub(in crate::report) bottom: f64,
}

impl Rect {
    /// The square around a point.
    pub(in crate::report) fn around(at: Point, reach: f64) -> Self {
        Self { left: at.0 - reach, top: at.1 - reach, right: at.0 + reach, bottom: at.1 + reach }
    }

    fn overlap(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    fn area(&self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }
}

/// Finds places for labels next to their points, away from other labels, points and lines.
#[derive(Debug)]
pub(in crate::report) struct Placer {
    bounds: Rect,
    taken: Vec<(Rect, f64)>,
}

impl Placer {
    pub(in crate::report) fn new(bounds: Rect) -> Self {
        Self { bounds, taken: Vec::new() }
    }

    /// Keeps labels off a point.
    pub(in crate::report) fn block_point(&mut self, at: Point) {
        self.taken.push((Rect::around(at, 5.5), 10.0));
    }

    /// Keeps labels off a line where possible.
    pub(in crate::report) fn block_line(&mut self, from: Point, to: Point) {
        let steps = (((to.0 - from.0).hypot(to.1 - from.1)) / 4.0).ceil().max(1.0);
        for i in 0..=steps as usize {
            let part = i as f64 / steps;
            let at = (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1));
            self.taken.push((Rect::around(at, 2.0), 3.0));
        }
    }

    /// The left end of the base line for a label at `at`; the place is taken from then on.
    pub(in crate::report) fn place(&mut self, at: Point, text: &str) -> Point {
        let (w, h) = (text_width(text), FONT);
        let mut best = (f64::INFINITY, self.bounds);
        for gap in [7.0, 12.0, 20.0] {
            for (dx, dy) in [
                (1.0, 0.0),
                (-1.0, 0.0),
                (0.0, -1.0),
                (0.0, 1.0),
                (0.8, -0.8),
                (-0.8, -0.8),
                (0.8, 0.8),
                (-0.8, 0.8),
            ] {
                let center = (at.0 + dx * (gap + w / 2.0), at.1 + dy * (gap + h / 2.0));
                let rect = Rect {
                    left: center.0 - w / 2.0,
                    right: center.0 + w / 2.0,
                    top: center.1 - h / 2.0,
                    bottom: center.1 + h / 2.0,
                };
                let cost = self.cost(&rect) + 4.0 * (gap - 7.0);
                // Strictly less: among equals the earlier candidate is the more usual place.
                if cost < best.0 - 1e-9 {
                    best = (cost, rect);
                }
            }
        }
        let rect = best.1;
        self.taken.push((rect, 20.0));
        (rect.left, rect.bottom - 0.2 * h)
    }

    fn cost(&self, rect: &Rect) -> f64 {
        let outside = rect.area() - rect.overlap(&self.bounds);
        outside * 30.0 + self.taken.iter().map(|(r, weight)| weight * rect.overlap(r)).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_near_points_do_not_overlap() {
        let bounds = Rect { left: 0.0, top: 0.0, right: 300.0, bottom: 200.0 };
        let mut placer = Placer::new(bounds);
        let points = [(290.0, 100.0), (285.0, 104.0), (280.0, 96.0), (150.0, 10.0)];
        points.iter().for_each(|at| placer.block_point(*at));
        let rects: Vec<Rect> = points
            .iter()
            .map(|at| {
                placer.place(*at, "1,200");
                placer.taken.last().unwrap().0
            })
            .collect();
        for (i, a) in rects.iter().enumerate() {
            assert!((a.overlap(&bounds) - a.area()).abs() < 1e-6, "{a:?}");
            assert!(rects[..i].iter().all(|b| a.overlap(b) == 0.0), "{rects:?}");
        }
    }
}
