//! Places for labels: beside their points, away from other labels, points and lines.

use crate::surface::{At, FONT, Rect, text_width};

/// Room between names below each other.
pub(super) const LABEL_STEP: f64 = 16.5;

impl Rect {
    pub(super) fn overlap(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    fn area(&self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }
}

pub(super) struct Placer {
    bounds: Rect,
    /// What is taken, and how bad it is to lie over it.
    taken: Vec<(Rect, f64)>,
}

impl Placer {
    pub(super) fn new(bounds: Rect) -> Self {
        Self { bounds, taken: Vec::new() }
    }

    /// Keeps labels off a point.
    pub(super) fn block_point(&mut self, at: At) {
        self.taken.push((Rect::around(at, 5.5), 10.0));
    }

    /// Keeps labels off a line where possible.
    pub(super) fn block_line(&mut self, from: At, to: At) {
        let steps = (((to.0 - from.0).hypot(to.1 - from.1)) / 4.0).ceil().clamp(1.0, 1000.0);
        for i in 0..=steps as usize {
            let part = i as f64 / steps;
            let at = (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1));
            self.taken.push((Rect::around(at, 2.0), 3.0));
        }
    }

    /// The middle of the left end of the label of a point; the place is taken from then on.
    pub(super) fn place(&mut self, at: At, text: &str) -> At {
        const SIDES: [At; 8] = [
            (1.0, 0.0),
            (-1.0, 0.0),
            (0.0, -1.0),
            (0.0, 1.0),
            (0.8, -0.8),
            (-0.8, -0.8),
            (0.8, 0.8),
            (-0.8, 0.8),
        ];
        let (w, h) = (text_width(text) / 2.0, FONT / 2.0);
        let mut best = (f64::INFINITY, self.bounds);
        for gap in [7.0, 12.0, 20.0] {
            for (dx, dy) in SIDES {
                let (x, y) = (at.0 + dx * (gap + w), at.1 + dy * (gap + h));
                let rect = Rect { left: x - w, right: x + w, top: y - h, bottom: y + h };
                let cost = self.cost(&rect) + 4.0 * (gap - 7.0);
                // Strictly less: among equals the earlier candidate is the more usual place.
                if cost < best.0 - 1e-9 {
                    best = (cost, rect);
                }
            }
        }
        self.taken.push((best.1, 20.0));
        (best.1.left, (best.1.top + best.1.bottom) / 2.0)
    }

    fn cost(&self, rect: &Rect) -> f64 {
        let outside = rect.area() - rect.overlap(&self.bounds);
        outside * 30.0 + self.taken.iter().map(|(r, weight)| weight * rect.overlap(r)).sum::<f64>()
    }
}

/// Ascending heights moved as little as need be to stand [`LABEL_STEP`] apart, within bounds where
/// there is room.
pub(super) fn apart(wanted: &[f64], (top, bottom): (f64, f64)) -> Vec<f64> {
    // Neighbours that are too near form a group around the mean of what its members want.
    let mut groups: Vec<(f64, usize)> = Vec::new();
    let start = |(middle, n): (f64, usize)| {
        let half = 0.5 * LABEL_STEP * (n - 1) as f64;
        middle.min(bottom - half).max(top + half) - half
    };
    for height in wanted {
        let mut group = (*height, 1);
        while let Some(before) = groups.last().copied() {
            if start(before) + LABEL_STEP * before.1 as f64 <= start(group) {
                break;
            }
            groups.pop();
            let n = before.1 + group.1;
            let sum = before.0 * before.1 as f64 + group.0 * group.1 as f64;
            group = (sum / n as f64, n);
        }
        groups.push(group);
    }
    let spread =
        |group: (f64, usize)| (0..group.1).map(move |i| start(group) + LABEL_STEP * i as f64);
    groups.into_iter().flat_map(spread).collect()
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
        let mut rects: Vec<Rect> = Vec::new();
        for at in points {
            placer.place(at, "1,200");
            let rect = placer.taken[placer.taken.len() - 1].0;
            assert!((rect.overlap(&bounds) - rect.area()).abs() < 1e-6, "{rect:?}");
            assert!(rects.iter().all(|other| rect.overlap(other) == 0.0), "{rects:?} {rect:?}");
            rects.push(rect);
        }
    }

    #[test]
    fn names_stand_apart_and_near_what_they_name() {
        let heights = apart(&[10.0, 100.0, 101.0, 102.0, 180.0, 200.0], (50.0, 200.0));
        let near = heights.windows(2).any(|pair| pair[1] - pair[0] < LABEL_STEP - 1e-9);
        assert!(!near && heights[0] >= 50.0 && heights[5] <= 200.0, "{heights:?}");
        assert!((heights[2] - 101.0).abs() < 1e-9, "{heights:?}");
        assert_eq!(apart(&[70.0, 90.0], (50.0, 200.0)), [70.0, 90.0]);
    }
}
