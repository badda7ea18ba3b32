use super::Figure;
use crate::report::{
    format::share,
    svg::{Anchor, Canvas, FONT, WIDTH},
};

const COLOR: &str = "#1f83c4";
const LEFT: f64 = 50.0;
const RIGHT: f64 = WIDTH - 6.0;
const GAP: f64 = 16.0;
/// Room above a row of panels for their titles, and below for the names of columns.
const ABOVE: f64 = 22.0;
const BELOW: f64 = 22.0;
const LEGEND: f64 = 34.0;

/// A matrix of shares.
pub(in crate::report) struct Panel {
    pub(in crate::report) title: String,
    /// Rows from top to bottom; a value that is no number is left blank.
    pub(in crate::report) values: Vec<Vec<f64>>,
    /// Cells to cross out.
    pub(in crate::report) crossed: Vec<(usize, usize)>,
}

/// Matrices of equal shape side by side, on a scale from 0 to `highest`. `rows` and `columns` name
/// what these are, and `labels` each row.
pub(in crate::report) fn heat(
    title: String,
    caption: String,
    (rows, labels): (&str, &[String]),
    columns: &str,
    panels: &[Panel],
    highest: f64,
) -> Figure {
    let width = panels.iter().flat_map(|panel| &panel.values).map(Vec::len).max().unwrap_or(1);
    // Cells stay wide enough to be hit by a pointer.
    let fitting = (((RIGHT - LEFT + GAP) / (10.0 * width as f64 + GAP)) as usize).clamp(1, 3);
    let abreast = panels.len().clamp(1, fitting);
    let panel_width = (RIGHT - LEFT + GAP) / abreast as f64 - GAP;
    let cell = (
        (panel_width / width as f64).min(48.0),
        (190.0 / labels.len().max(1) as f64).clamp(9.0, 24.0),
    );
    let panel_height = ABOVE + cell.1 * labels.len() as f64 + BELOW;
    let height = LEGEND + panel_height * panels.len().div_ceil(abreast) as f64 + FONT + 6.0;

    let mut canvas = Canvas::new(WIDTH, height);
    legend(&mut canvas, highest);
    canvas.text((4.0, LEGEND + ABOVE - 7.0), Anchor::Start, rows, "");
    for (at, panel) in panels.iter().enumerate() {
        let corner = (
            LEFT + (at % abreast) as f64 * (panel_width + GAP),
            LEGEND + ABOVE + (at / abreast) as f64 * panel_height,
        );
        draw(&mut canvas, panel, (rows, labels, columns), (corner, cell), highest);
        if at % abreast == 0 {
            let every = (FONT / cell.1).ceil() as usize;
            for (row, label) in labels.iter().enumerate().step_by(every.max(1)) {
                let y = corner.1 + (row as f64 + 0.5) * cell.1 + 0.35 * FONT;
                canvas.text((LEFT - 6.0, y), Anchor::End, label, "");
            }
        }
    }
    canvas.text(((LEFT + RIGHT) / 2.0, height - 4.0), Anchor::Middle, columns, "");
    Figure { title, caption, canvas }
}

fn draw(
    canvas: &mut Canvas,
    panel: &Panel,
    (rows, labels, columns): (&str, &[String], &str),
    (corner, cell): ((f64, f64), (f64, f64)),
    highest: f64,
) {
    let (left, top) = corner;
    canvas.text((left, top - 7.0), Anchor::Start, &panel.title, r#"font-weight="600""#);
    let width = panel.values.iter().map(Vec::len).max().unwrap_or(0);
    for (row, values) in panel.values.iter().enumerate() {
        for (column, value) in values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let at = (left + column as f64 * cell.0, top + row as f64 * cell.1);
            let strength = if highest > 0.0 { value / highest } else { 0.0 };
            let style = format!(r#"fill="{COLOR}" fill-opacity="{:.3}""#, 0.04 + 0.86 * strength);
            let label = labels.get(row).map_or("", String::as_str);
            let tip = format!("{}, {rows} {label}, {columns} {column}: {value:.4}", panel.title);
            canvas.bar(at, (cell.0 - 1.0, cell.1 - 1.0), &style, &tip);
            let middle = (at.0 + (cell.0 - 1.0) / 2.0, at.1 + cell.1 / 2.0 + 0.3 * FONT);
            if panel.crossed.contains(&(row, column)) {
                canvas.text(middle, Anchor::Middle, "\u{d7}", r#"pointer-events="none""#);
            } else if cell.0 >= 27.0 && cell.1 >= 13.0 {
                let style = r#"font-size="10.5" pointer-events="none""#;
                canvas.text(middle, Anchor::Middle, &share(*value), style);
            }
        }
    }
    let bottom = top + cell.1 * panel.values.len() as f64;
    let every = (18.0 / cell.0).ceil() as usize;
    for column in (0..width).step_by(every.max(1)) {
        let x = left + (column as f64 + 0.5) * cell.0;
        canvas.text((x, bottom + FONT + 1.0), Anchor::Middle, &column.to_string(), "");
    }
}

fn legend(canvas: &mut Canvas, highest: f64) {
    const STEPS: usize = 8;
    canvas.text((LEFT - 6.0, 17.0), Anchor::End, "0", "");
    for step in 0..STEPS {
        let strength = step as f64 / (STEPS - 1) as f64;
        let style = format!(r#"fill="{COLOR}" fill-opacity="{:.3}""#, 0.04 + 0.86 * strength);
        canvas.bar((LEFT + 16.0 * step as f64, 6.0), (16.0, 13.0), &style, "");
    }
    canvas.text((LEFT + 16.0 * STEPS as f64 + 6.0, 17.0), Anchor::Start, &share(highest), "");
}
