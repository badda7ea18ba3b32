use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

use crate::Drawing;
use crate::format::share;
use crate::surface::{At, FONT, INK, Rect, Surface, WIDTH};

const COLOR: RGBColor = RGBColor(0x1f, 0x83, 0xc4);
const LEFT: f64 = 50.0;
const RIGHT: f64 = WIDTH - 6.0;
const GAP: f64 = 16.0;
/// Room above a row of panels for their titles, and below for the names of columns.
const ABOVE: f64 = 22.0;
const BELOW: f64 = 22.0;
const LEGEND: f64 = 34.0;

/// A matrix of shares.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// Rows from top to bottom; a value that is no number is left blank.
    pub values: Vec<Vec<f64>>,
    /// Cells to cross out, by row and column.
    pub crossed: Vec<(usize, usize)>,
}

/// Matrices of equal shape side by side, on one scale from 0 to the largest value.
#[derive(Clone, Debug)]
pub struct Heat {
    /// What rows are.
    pub rows: String,
    /// The name of each row.
    pub labels: Vec<String>,
    /// What columns are, which are counted from 0.
    pub columns: String,
    /// The matrices.
    pub panels: Vec<Panel>,
    /// The end of the scale.
    pub highest: f64,
}

impl Heat {
    /// Draws it.
    pub fn draw(&self) -> Drawing {
        let (panels, rows) = (self.panels.len(), self.labels.len());
        let width = self.panels.iter().flat_map(|panel| &panel.values).map(Vec::len).max();
        let width = width.unwrap_or(1).max(1) as f64;
        // Cells stay wide enough to be hit by a pointer.
        let fitting = (((RIGHT - LEFT + GAP) / (10.0 * width + GAP)) as usize).clamp(1, 3);
        let abreast = panels.clamp(1, fitting);
        let panel_width = (RIGHT - LEFT + GAP) / abreast as f64 - GAP;
        let tall = (190.0 / rows.max(1) as f64).clamp(9.0, 24.0);
        let cell = ((panel_width / width).min(48.0), tall);
        let panel_height = ABOVE + cell.1 * rows as f64 + BELOW;
        let height = LEGEND + panel_height * panels.div_ceil(abreast) as f64 + FONT + 6.0;
        Surface::draw(WIDTH, height, |surface| {
            self.legend(surface);
            surface.text((4.0, LEGEND + ABOVE - 11.0), HPos::Left, &self.rows);
            for (at, panel) in self.panels.iter().enumerate() {
                let left = LEFT + (at % abreast) as f64 * (panel_width + GAP);
                let top = LEGEND + ABOVE + (at / abreast) as f64 * panel_height;
                self.panel(surface, panel, (left, top), cell);
                let every = ((FONT / cell.1).ceil() as usize).max(1);
                let named = self.labels.iter().enumerate().step_by(every);
                for (row, label) in named.filter(|_| at % abreast == 0) {
                    let y = top + (row as f64 + 0.5) * cell.1;
                    surface.text((LEFT - 6.0, y), HPos::Right, label);
                }
            }
            surface.text(((LEFT + RIGHT) / 2.0, height - 8.0), HPos::Center, &self.columns);
        })
    }

    fn panel(&self, surface: &mut Surface<'_>, panel: &Panel, (left, top): At, cell: At) {
        surface.styled((left, top - 11.0), HPos::Left, &panel.title, (FONT, true, INK));
        for (row, values) in panel.values.iter().enumerate() {
            for (column, value) in values.iter().enumerate().filter(|(_, v)| v.is_finite()) {
                let (x, y) = (left + column as f64 * cell.0, top + row as f64 * cell.1);
                let (right, bottom) = (x + cell.0 - 1.0, y + cell.1 - 1.0);
                let rect = Rect { left: x, top: y, right, bottom };
                surface.bar(rect, COLOR, strength(value / self.highest));
                let label = self.labels.get(row).map_or("", String::as_str);
                let Self { rows, columns, .. } = self;
                let tip =
                    format!("{}, {rows} {label}, {columns} {column}: {value:.4}", panel.title);
                surface.tip(rect, &tip);
                let middle = ((x + right) / 2.0, (y + bottom) / 2.0);
                if panel.crossed.contains(&(row, column)) {
                    surface.text(middle, HPos::Center, "\u{d7}");
                } else if cell.0 >= 27.0 && cell.1 >= 13.0 {
                    surface.styled(middle, HPos::Center, &share(*value), (10.5, false, INK));
                }
            }
        }
        let bottom = top + cell.1 * panel.values.len() as f64;
        let width = panel.values.iter().map(Vec::len).max().unwrap_or(0);
        for column in (0..width).step_by(((18.0 / cell.0).ceil() as usize).max(1)) {
            let x = left + (column as f64 + 0.5) * cell.0;
            surface.text((x, bottom + 9.0), HPos::Center, &column.to_string());
        }
    }

    fn legend(&self, surface: &Surface<'_>) {
        const STEPS: usize = 8;
        surface.text((LEFT - 6.0, 12.5), HPos::Right, "0");
        for step in 0..STEPS {
            let left = LEFT + 16.0 * step as f64;
            let rect = Rect { left, top: 6.0, right: left + 16.0, bottom: 19.0 };
            surface.bar(rect, COLOR, strength(step as f64 / (STEPS - 1) as f64));
        }
        let right = LEFT + 16.0 * STEPS as f64 + 6.0;
        surface.text((right, 12.5), HPos::Left, &share(self.highest));
    }
}

/// How opaque a part of the scale is, so that 0 is seen too and text can be read on 1.
fn strength(part: f64) -> f64 {
    // Three digits, which a file may hold thousands of times.
    let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
    (1000.0 * (0.04 + 0.86 * part)).round() / 1000.0
}
