use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

use super::placer::{Placer, apart};
use super::{Chart, Named, Rule, Series};
use crate::Look;
use crate::surface::{
    At, Drawing, FONT, HEIGHT, INK, Pen, Plot, Rect, Surface, WIDTH, dashes, ink, text_width,
};

/// Height of a figure for many series.
const TALL: f64 = 400.0;
/// Height of the legend's middle.
const LEGEND: f64 = 12.0;
/// Room that series beside each other share.
const SPREAD: f64 = 60.0;

impl Chart {
    /// Draws it.
    pub fn draw(&self) -> Drawing {
        let height = if self.tall { TALL } else { HEIGHT };
        let ends = self.series.iter().filter(|series| series.named == Named::AtEnd);
        let widest = ends.map(|end| text_width(&shortened(&end.name))).fold(0.0, f64::max);
        let right = WIDTH - if widest > 0.0 { widest + 34.0 } else { 18.0 };
        let rect = Rect { left: 46.0, top: 54.0, right, bottom: height - 46.0 };
        Surface::draw(WIDTH, height, |surface| {
            let plot = Plot::new(&self.x, &self.y, rect);
            plot.draw_axes(surface, 18.0);
            let placer = Placer::new(Rect { top: rect.top - 8.0, ..rect });
            let mut painter = Painter { surface, plot, placer, labels: Vec::new(), legend: 6.0 };
            let (rings, lines): (Vec<_>, Vec<_>) =
                self.rules.iter().partition(|rule| matches!(rule, Rule::Ring(..)));
            lines.into_iter().for_each(|rule| painter.rule(rule));
            for (at, series) in self.series.iter().enumerate() {
                painter.series(series, self.shift(&painter.plot, at));
            }
            rings.into_iter().for_each(|ring| painter.rule(ring));
            self.rules.iter().for_each(|rule| painter.rule_name(rule));
            painter.name_ends(self);
            // Now everything that labels must avoid is known.
            for (at, text, color) in std::mem::take(&mut painter.labels) {
                let place = painter.placer.place(at, &text);
                painter.surface.styled(place, HPos::Left, &text, (FONT, false, color));
            }
        })
    }

    /// How far a series stands aside.
    fn shift(&self, plot: &Plot<'_>, index: usize) -> f64 {
        if !self.beside || self.series.len() < 2 {
            return 0.0;
        }
        let places: Vec<f64> = self.x.ticks.iter().map(|tick| plot.at((tick.0, 0.0)).0).collect();
        let steps = places.windows(2).map(|pair| pair[1] - pair[0]);
        // Not into the next mark's series.
        let spread = SPREAD.min(0.45 * steps.fold(f64::INFINITY, f64::min));
        (index as f64 / (self.series.len() - 1) as f64 - 0.5) * spread
    }
}

struct Painter<'s, 'a, 'p> {
    surface: &'s mut Surface<'a>,
    plot: Plot<'p>,
    placer: Placer,
    labels: Vec<(At, String, RGBColor)>,
    /// The left end of what is free of the legend.
    legend: f64,
}

impl Painter<'_, '_, '_> {
    fn line(&mut self, points: &[At], pen: Pen) {
        self.surface.line(points, pen);
        points.windows(2).for_each(|pair| self.placer.block_line(pair[0], pair[1]));
    }

    fn rule(&mut self, rule: &Rule) {
        let Rect { left, top, right, bottom } = self.plot.rect;
        match rule {
            Rule::Level(value, _) if value.is_finite() => {
                let y = self.plot.at((f64::NAN, *value)).1;
                self.line(&[(left, y), (right, y)], dashes());
            }
            Rule::Upright(value) if value.is_finite() => {
                let x = self.plot.at((*value, f64::NAN)).0;
                self.line(&[(x, bottom), (x, top)], dashes());
            }
            Rule::Through(values, _) => {
                let points: Vec<At> = values.iter().map(|pair| self.plot.at(*pair)).collect();
                self.line(&points, dashes());
            }
            Rule::Ring(values, tip, _) if finite(*values) => {
                let at = self.plot.at(*values);
                self.placer.block_point(at);
                self.surface.marker(Look::reference(), at);
                self.surface.tip(Rect::around(at, 7.0), tip);
            }
            _ => {}
        }
    }

    fn rule_name(&mut self, rule: &Rule) {
        match rule {
            Rule::Ring(values, _, name) if finite(*values) => {
                let x = self.legend_entry(name, false);
                self.surface.marker(Look::reference(), (x + 10.0, LEGEND));
            }
            Rule::Level(value, name) if value.is_finite() => self.dashes_name(name),
            Rule::Through(values, name) if !values.is_empty() => self.dashes_name(name),
            _ => {}
        }
    }

    fn dashes_name(&mut self, name: &str) {
        let x = self.legend_entry(name, false);
        self.surface.line(&[(x, LEGEND), (x + 20.0, LEGEND)], dashes());
    }

    fn series(&mut self, series: &Series, shift: f64) {
        let Series { look, stroke, .. } = series;
        let drawn = series.points.iter().filter(|point| finite(point.at));
        let drawn: Vec<_> = drawn.map(|point| (self.place(point.at, shift), point)).collect();
        let dash = match look.dashed {
            _ if stroke.dotted => Some((2, 4)),
            true => Some((7, 3)),
            false => None,
        };
        let pen = Pen { color: look.color, width: stroke.width, opacity: stroke.opacity, dash };
        if stroke.width > 0.0 {
            let places: Vec<At> = drawn.iter().map(|(at, _)| *at).collect();
            self.line(&places, pen);
        }
        for (_, point) in &drawn {
            let ((x, y), (level, upright)) = (point.at, point.half);
            self.interval([(x, y - upright), (x, y + upright)], (3.0, 0.0), look.color, shift);
            self.interval([(x - level, y), (x + level, y)], (0.0, 3.0), look.color, shift);
        }
        for (at, point) in drawn.into_iter().filter(|(_, point)| point.marked) {
            self.placer.block_point(at);
            self.surface.marker(*look, at);
            self.surface.tip(Rect::around(at, 7.0), &point.tip);
            if !point.label.is_empty() {
                self.labels.push((at, point.label.clone(), look.color));
            }
        }
        if series.named == Named::Above {
            let x = self.legend_entry(&series.name, true);
            let marked = series.points.iter().any(|point| point.marked);
            self.sample(*look, (x, LEGEND), 20.0, marked.then_some(10.0));
        }
    }

    /// An interval, with its ends marked where they lie within the plot.
    fn interval(&mut self, ends: [At; 2], cap: At, color: RGBColor, shift: f64) {
        let Rect { left, top, right, bottom } = self.plot.rect;
        if ends[0] == ends[1] || !ends.into_iter().all(finite) {
            return;
        }
        let pen = Pen { color, width: 1.3, opacity: 0.75, dash: None };
        let whole = ends.map(|end| self.place(end, shift));
        let drawn = whole.map(|at| (at.0.clamp(left, right), at.1.clamp(top, bottom)));
        self.line(&drawn, pen);
        for at in whole.into_iter().zip(drawn).filter(|(end, kept)| end == kept).map(|pair| pair.0)
        {
            self.surface.line(&[(at.0 - cap.0, at.1 - cap.1), (at.0 + cap.0, at.1 + cap.1)], pen);
        }
    }

    /// Names series at the right, with a thin line from the end of each.
    fn name_ends(&mut self, chart: &Chart) {
        let named = chart.series.iter().enumerate().filter(|(_, s)| s.named == Named::AtEnd);
        let mut ends: Vec<(At, &Series)> = named
            .filter_map(|(at, series)| {
                let last = series.points.iter().rev().find(|point| finite(point.at))?;
                Some((self.place(last.at, chart.shift(&self.plot, at)), series))
            })
            .collect();
        ends.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
        let wanted: Vec<f64> = ends.iter().map(|end| end.0.1).collect();
        let Rect { top, right, bottom, .. } = self.plot.rect;
        for ((at, series), y) in ends.into_iter().zip(apart(&wanted, (top, bottom))) {
            let thin = Pen { color: series.look.color, ..ink(0.9, 0.55) };
            self.surface.line(&[(at.0 + 6.0, at.1), (right, at.1), (right + 12.0, y)], thin);
            let marked = series.points.iter().any(|point| point.marked);
            let (length, mark) = if marked { (0.0, Some(5.0)) } else { (10.0, None) };
            self.sample(series.look, (right + 11.0, y), length, mark);
            self.surface.text((right + 25.0, y), HPos::Left, &shortened(&series.name));
        }
    }

    /// A piece of a series' line and its mark, before its name.
    fn sample(&mut self, look: Look, (x, y): At, length: f64, mark: Option<f64>) {
        let pen = Pen { color: look.color, ..ink(2.2, 1.0) };
        let dash = look.dashed.then_some((5, 3));
        if length > 0.0 {
            self.surface.line(&[(x, y), (x + length, y)], Pen { dash, ..pen });
        }
        if let Some(mark) = mark {
            self.surface.marker(look, (x + mark, y));
        }
    }

    /// Writes a name into the legend and gives the left end of the place for its sign.
    fn legend_entry(&mut self, name: &str, bold: bool) -> f64 {
        let x = self.legend;
        self.surface.styled((x + 26.0, LEGEND), HPos::Left, name, (FONT, bold, INK));
        self.legend = x + 26.0 + 1.15 * text_width(name) + 16.0;
        x
    }

    fn place(&self, values: At, shift: f64) -> At {
        let at = self.plot.at(values);
        (at.0 + shift, at.1)
    }
}

fn finite(values: At) -> bool {
    values.0.is_finite() && values.1.is_finite()
}

/// A name that leaves most of the figure to the plot.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 17;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 1).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Axis, Figure, Marker, Point, Stroke};

    #[test]
    fn long_names_are_cut() {
        assert_eq!(shortened("a name that is too long for a label").chars().count(), 17);
    }

    /// Every text of a drawing with its place, in units of the drawing.
    fn texts(drawing: &Drawing) -> Vec<(Rect, String)> {
        let number = |element: &str, key: &str| -> f64 {
            let start = element.find(key).unwrap() + key.len();
            element[start..].split('"').next().unwrap().parse().unwrap()
        };
        let elements = drawing.body.split("<text ").skip(1);
        let place = elements.map(|element| {
            let text = element.split_once(">\n").unwrap().1.split('\n').next().unwrap();
            let (x, y) = (number(element, "x=\"") / 10.0, number(element, " y=\"") / 10.0);
            let width = text_width(text);
            let left = match () {
                () if element.contains("\"start\"") => x,
                () if element.contains("\"middle\"") => x - width / 2.0,
                () => x - width,
            };
            let half = 0.4 * FONT;
            (Rect { left, right: left + width, top: y - half, bottom: y + half }, text.to_owned())
        });
        place.collect()
    }

    #[test]
    fn texts_of_a_crowded_chart_do_not_overlap() {
        let mut chart = Chart::new(Axis::between("x", 0.0, 1.0), Axis::between("y", 0.0, 1.0));
        for (at, height) in [0.5, 0.54, 0.58].into_iter().enumerate() {
            let point = |x: f64| Point {
                half: (0.0, 0.03),
                ..Point::marked((x, height), "tip".to_owned(), format!("{x:.3}"))
            };
            chart.series.push(Series {
                name: format!("series {at}"),
                look: Look::of(at),
                points: vec![point(0.1), point(0.5), point(0.94)],
                stroke: Stroke::line(2.0),
                named: if at < 2 { Named::AtEnd } else { Named::Above },
            });
        }
        chart.rules.push(Rule::Level(0.5, "level".to_owned()));
        let drawing = chart.draw();
        let texts = texts(&drawing);
        assert_eq!(texts.iter().filter(|(_, text)| text == "0.500").count(), 3);
        for (i, (a, text)) in texts.iter().enumerate() {
            assert!(a.left >= 0.0 && a.right <= WIDTH, "{text} leaves the figure: {a:?}");
            for (b, other) in &texts[..i] {
                assert!(a.overlap(b) == 0.0, "{text} {a:?} overlaps {other} {b:?}");
            }
        }
        let file = Figure::new("Crowded", "", drawing).file().unwrap();
        assert_eq!(file.matches("<title>tip</title>").count(), 9);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let mut chart = Chart::tall(Axis::linear("", [].into_iter()), Axis::amounts("", vec![3]));
        chart.beside = true;
        for (at, y) in [f64::NAN, f64::INFINITY, 4.0].into_iter().enumerate() {
            let mut point = Point::marked((0.5, y), String::new(), "label".to_owned());
            point.half = (f64::NAN, 1.0);
            chart.series.push(Series {
                name: String::new(),
                look: Look::of(at).with(Marker::Cross),
                points: vec![point],
                stroke: Stroke::dotted(1.0),
                named: Named::AtEnd,
            });
        }
        chart.rules.push(Rule::Level(f64::NAN, "absent".to_owned()));
        let body = chart.draw().body;
        assert_eq!(body.matches("label").count(), 1);
        assert!(!body.contains("absent") && !body.contains("NaN") && !body.contains("inf\""));
    }
}
