use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

use crate::format::share;
use crate::surface::{FONT, HEIGHT, INK, Plot, Rect, Surface, WIDTH, dashes, text_width};
use crate::{Axis, Drawing};

/// Colours that no series of a chart has beside each other.
const COLORS: [RGBColor; 2] = [RGBColor(0xb6, 0x5c, 0x93), RGBColor(0xa8, 0x7b, 0x00)];

/// Two shares side by side at each of several places, which are counted from 1.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What the places are.
    pub places: String,
    /// What is shared.
    pub shares: String,
    /// The two kinds, each with its share at each place; one that is no number is left blank.
    pub kinds: [(String, Vec<f64>); 2],
    /// How many places, the first ones, are set apart, what they are and what the others are.
    pub apart: Option<(usize, [String; 2])>,
}

impl Bars {
    /// How many places there are.
    pub fn count(&self) -> usize {
        self.kinds.iter().map(|kind| kind.1.len()).max().unwrap_or(0)
    }

    /// Draws it; a dashed line is an even division.
    pub fn draw(&self) -> Drawing {
        let even = 1.0 / self.count().max(1) as f64;
        let all = self.kinds.iter().flat_map(|kind| &kind.1).copied();
        let highest = all.filter(|value| value.is_finite()).fold(even, f64::max);
        let x = Axis::places(&self.places, self.count());
        let y = Axis::between(&self.shares, 0.0, highest);
        let rect = Rect { left: 46.0, top: 76.0, right: WIDTH - 10.0, bottom: HEIGHT - 46.0 };
        Surface::draw(WIDTH, HEIGHT, |surface| {
            let plot = Plot::new(&x, &y, rect);
            self.halves(surface, &plot);
            plot.draw_axes(surface, 40.0);
            for (at, (kind, values)) in self.kinds.iter().enumerate() {
                let finite = values.iter().enumerate().filter(|(_, value)| value.is_finite());
                for (place, value) in finite {
                    let left = place as f64 + 0.64 + 0.37 * at as f64;
                    let (left, top) = plot.at((left, *value));
                    let (right, bottom) = plot.at((place as f64 + 0.99 + 0.37 * at as f64, 0.0));
                    let rect = Rect { left, top, right, bottom };
                    surface.bar(rect, COLORS[at], 1.0);
                    let place = format!("{} {}", self.places, place + 1);
                    surface.tip(rect, &format!("{place}, {kind}: {}", share(*value)));
                }
            }
            let level = plot.at((0.0, even)).1;
            surface.line(&[(rect.left, level), (rect.right, level)], dashes());
            let mut left = 6.0;
            for ((name, _), color) in self.kinds.iter().zip(COLORS) {
                surface.bar(Rect { left, top: 6.0, right: left + 12.0, bottom: 18.0 }, color, 1.0);
                surface.styled((left + 18.0, 12.0), HPos::Left, name, (FONT, true, INK));
                left += 34.0 + 1.15 * text_width(name);
            }
        })
    }

    /// Shades the places set apart and names both halves.
    fn halves(&self, surface: &Surface<'_>, plot: &Plot<'_>) {
        let Some((n, names)) = self.apart.as_ref().filter(|(n, _)| (1..self.count()).contains(n))
        else {
            return;
        };
        let Rect { left, top, right, bottom } = plot.rect;
        let border = plot.at((*n as f64 + 0.5, 0.0)).0;
        surface.bar(Rect { left, top: top - 20.0, right: border, bottom }, COLORS[0], 0.12);
        for ((from, to), name) in [(left, border), (border, right)].into_iter().zip(names) {
            let first = name.split(' ').next().unwrap_or(name);
            let text = if text_width(name) < to - from { name } else { first };
            surface.text(((from + to) / 2.0, top - 10.0), HPos::Center, text);
        }
    }
}
