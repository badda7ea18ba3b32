use plotters::style::text_anchor::HPos;

use crate::surface::{FONT, INK, Pen, Plot, Rect, Surface, WIDTH, ink, text_width};
use crate::{Axis, Drawing, Look, Marker};

const TOP: f64 = 30.0;
const ROW: f64 = 23.0;
const GAP: f64 = 26.0;
const RIGHT: f64 = WIDTH - 14.0;
/// The most room for names.
const NAMES: f64 = 140.0;

/// A difference and how far it can be trusted.
#[derive(Clone, Debug)]
pub struct Interval {
    /// The difference.
    pub mean: f64,
    /// Half of its interval; absent where none is known.
    pub half: Option<f64>,
    /// Whether it is distinguishable from none; otherwise its mark is hollow and faint.
    pub clear: bool,
    /// What is shown where a pointer rests on it.
    pub tip: String,
}

/// The differences of one thing.
#[derive(Clone, Debug)]
pub struct IntervalRow {
    /// Its name.
    pub name: String,
    /// Its colour and shape.
    pub look: Look,
    /// A difference for each panel; absent where it was not measured.
    pub values: Vec<Option<Interval>>,
}

/// Differences from zero with their intervals, a row for each thing and a panel for each measure.
#[derive(Clone, Debug)]
pub struct Intervals {
    /// The measures.
    pub panels: Vec<String>,
    /// The things, from top to bottom.
    pub rows: Vec<IntervalRow>,
    /// The range of the differences: over few values an interval can be wider.
    pub limits: (f64, f64),
}

impl Intervals {
    /// Draws it.
    pub fn draw(&self) -> Drawing {
        let bottom = TOP + ROW * self.rows.len() as f64;
        let widest = self.rows.iter().map(|row| text_width(&row.name)).fold(0.0, f64::max);
        let left = widest.min(NAMES) + 30.0;
        let panels = self.panels.len().max(1) as f64;
        let width = (RIGHT - left + GAP) / panels - GAP;
        Surface::draw(WIDTH, bottom + 40.0, |surface| {
            for (at, row) in self.rows.iter().enumerate() {
                surface.marker(row.look, (10.0, middle(at)));
                surface.text((22.0, middle(at)), HPos::Left, &fitting(&row.name));
            }
            for (at, name) in self.panels.iter().enumerate() {
                let left = left + at as f64 * (width + GAP);
                let rect = Rect { left, top: TOP, right: left + width, bottom };
                self.panel(surface, (at, name), rect);
            }
        })
    }

    fn panel(&self, surface: &mut Surface<'_>, (at, name): (usize, &str), rect: Rect) {
        let own = |row: &IntervalRow| row.values.get(at).cloned().flatten();
        let ends = self.rows.iter().filter_map(own).flat_map(|value| {
            let half = value.half.unwrap_or(0.0);
            [value.mean - half, value.mean + half]
        });
        let (low, high) = ends
            .filter(|end| end.is_finite())
            .fold((-0.01f64, 0.01f64), |all, end| (all.0.min(end), all.1.max(end)));
        let x = Axis::between(name, low.max(self.limits.0), high.min(self.limits.1));
        let y = Axis::places("", 1);
        let plot = Plot::new(&x, &y, rect);
        let place = |value: f64| plot.at((value, 1.0)).0.clamp(rect.left, rect.right);
        let centre = (rect.left + rect.right) / 2.0;
        surface.styled((centre, 13.0), HPos::Center, name, (FONT, true, INK));
        let mut free = f64::NEG_INFINITY;
        for (value, text) in &x.ticks {
            let at = place(*value);
            surface.line(&[(at, TOP), (at, rect.bottom)], ink(1.0, 0.13));
            let text = match *value > 1e-9 {
                true => format!("+{text}"),
                false => text.replace('-', "\u{2212}"),
            };
            let half = text_width(&text) / 2.0;
            // Marks at an end would reach into the next panel or out of the figure.
            if at - half > free && at + half <= rect.right + GAP / 2.0 {
                surface.text((at, rect.bottom + 14.0), HPos::Center, &text);
                free = at + half + 5.0;
            }
        }
        surface.line(&[(place(0.0), TOP - 4.0), (place(0.0), rect.bottom)], ink(1.0, 0.8));
        for (row, look, value) in self.rows.iter().enumerate().filter_map(|(at, row)| {
            Some((at, row.look, own(row).filter(|value| value.mean.is_finite())?))
        }) {
            let (y, half) = (middle(row), value.half.unwrap_or(0.0));
            let [low, at, high] = [value.mean - half, value.mean, value.mean + half].map(place);
            let opacity = if value.clear { 1.0 } else { 0.55 };
            let pen = Pen { color: look.color, width: 2.2, opacity, dash: None };
            surface.line(&[(low, y), (high, y)], pen);
            let look = if value.clear { look } else { look.with(Marker::Ring) };
            surface.marker(look, (at, y));
            surface.tip(
                Rect { left: rect.left, right: rect.right, ..Rect::around((at, y), 9.0) },
                &value.tip,
            );
        }
    }
}

fn middle(row: usize) -> f64 {
    TOP + ROW * (row as f64 + 0.5)
}

/// A name cut to the room for names.
fn fitting(name: &str) -> String {
    if text_width(name) <= NAMES {
        return name.to_owned();
    }
    let most = (NAMES / text_width("x")) as usize;
    name.chars().take(most - 1).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_stay_within_their_panel_and_what_is_unclear_is_hollow() {
        let value = |mean: f64, half: f64, clear: bool| {
            Some(Interval { mean, half: Some(half), clear, tip: "tip & all".to_owned() })
        };
        let row = |at: usize, values: Vec<Option<Interval>>| IntervalRow {
            name: "a name that is too long for its room".to_owned(),
            look: Look::of(at),
            values,
        };
        let chart = Intervals {
            panels: vec!["first".to_owned(), "second".to_owned()],
            rows: vec![
                row(0, vec![value(-0.2, 0.1, true), value(0.1, 9.0, false)]),
                row(1, vec![None, value(f64::NAN, 0.1, false)]),
            ],
            limits: (-1.0, 1.0),
        };
        let drawing = chart.draw();
        assert_eq!(drawing.body.matches("<circle").count(), 3, "a hollow mark and a row's sign");
        let svg = crate::Figure::new("Differences", "", drawing).file().unwrap();
        assert_eq!(svg.matches("<title>tip &amp; all</title>").count(), 2);
        let places = svg.split("points=\"").skip(1).flat_map(|rest| {
            let points = rest.split('"').next().unwrap_or("");
            points.split([' ', ',']).step_by(2).filter_map(|x| x.parse::<f64>().ok())
        });
        for x in places {
            assert!((0.0..=10.0 * WIDTH).contains(&x), "{x}");
        }
    }
}
