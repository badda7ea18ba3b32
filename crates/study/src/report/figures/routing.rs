use super::Figure;
use crate::report::{
    DemoReport, RoutingShares,
    format::{count, share},
    svg::{Anchor, Axis, Canvas, FONT, HEIGHT, WIDTH, text_width},
};

const KNOWLEDGE: &str = "#b65c93";
const TASKS: &str = "#a87b00";
const LEFT: f64 = 46.0;
const RIGHT: f64 = WIDTH - 10.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = HEIGHT - 46.0;

/// Routing share per expert, for each method with several experts at its largest amount of data.
pub(in crate::report) fn routing(report: &DemoReport) -> Vec<Figure> {
    let mut latest: Vec<&RoutingShares> = Vec::new();
    for shares in &report.routing {
        match latest.iter_mut().find(|known| known.method == shares.method) {
            Some(known) if known.samples >= shares.samples => {}
            Some(known) => *known = shares,
            None => latest.push(shares),
        }
    }
    latest
        .into_iter()
        .filter(|shares| shares.knowledge.len().max(shares.tasks.len()) > 1)
        .map(figure)
        .collect()
}

fn figure(shares: &RoutingShares) -> Figure {
    let experts = shares.knowledge.len().max(shares.tasks.len());
    let all = shares.knowledge.iter().chain(&shares.tasks).copied();
    let even = 1.0 / experts as f64;
    let highest = all.filter(|value| value.is_finite()).fold(even, f64::max);
    let axis = Axis::between("share of the routing weight", 0.0, highest);
    let y = |value: f64| BOTTOM - axis.at(value) * (BOTTOM - TOP);
    let slot = (RIGHT - LEFT) / experts as f64;

    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    halves(&mut canvas, shares.knowledge_experts.min(experts), experts, slot);
    for (value, text) in &axis.ticks {
        canvas.line((LEFT, y(*value)), (RIGHT, y(*value)), r#"stroke-opacity="0.13""#);
        canvas.text((LEFT - 7.0, y(*value) + 0.35 * FONT), Anchor::End, text, "");
    }
    for expert in 0..experts {
        let left = LEFT + expert as f64 * slot;
        for (i, (values, color, kind)) in
            [(&shares.knowledge, KNOWLEDGE, "knowledge"), (&shares.tasks, TASKS, "task")]
                .into_iter()
                .enumerate()
        {
            let value =
                values.get(expert).copied().filter(|value| value.is_finite()).unwrap_or(0.0);
            let corner = (left + slot * (0.14 + 0.37 * i as f64), y(value));
            let tip = format!("expert {}, {kind} samples: {}", expert + 1, share(value));
            let style = format!(r#"fill="{color}""#);
            canvas.bar(corner, (slot * 0.35, BOTTOM - y(value)), &style, &tip);
        }
        let middle = left + slot / 2.0;
        canvas.text((middle, BOTTOM + 18.0), Anchor::Middle, &(expert + 1).to_string(), "");
    }
    canvas.line(
        (LEFT, y(even)),
        (RIGHT, y(even)),
        r#"stroke-opacity="0.7" stroke-dasharray="4 4""#,
    );
    canvas.line((LEFT, BOTTOM), (RIGHT, BOTTOM), r#"stroke-opacity="0.6""#);
    canvas.text(((LEFT + RIGHT) / 2.0, HEIGHT - 8.0), Anchor::Middle, "expert", "");
    canvas.text((4.0, 40.0), Anchor::Start, &axis.name, "");
    legend(&mut canvas);

    let mut caption = format!(
        "Share of the routing weight per expert in {} after {} samples, averaged over layers and projections. The \
         dashed line is an even division.",
        shares.method,
        count(shares.samples)
    );
    let n = shares.knowledge_experts;
    if n > 0 && n < experts {
        let half = |values: &[f64]| share(values.iter().take(n).sum());
        caption.push_str(&format!(
            " The knowledge experts receive {} on knowledge samples and {} on task samples.",
            half(&shares.knowledge),
            half(&shares.tasks)
        ));
    }
    Figure { title: format!("Routing of {}", shares.method), caption, canvas }
}

/// Shades the experts meant for knowledge and names both halves.
fn halves(canvas: &mut Canvas, knowledge: usize, experts: usize, slot: f64) {
    if knowledge == 0 || knowledge == experts {
        return;
    }
    let border = LEFT + knowledge as f64 * slot;
    let shade = format!(r#"fill="{KNOWLEDGE}" fill-opacity="0.12""#);
    canvas.bar((LEFT, TOP - 20.0), (border - LEFT, BOTTOM - TOP + 20.0), &shade, "");
    for (from, to, text) in [(LEFT, border, "knowledge experts"), (border, RIGHT, "task experts")] {
        let text = if text_width(text) < to - from {
            text
        } else {
            text.split(' ').next().unwrap_or(text)
        };
        canvas.text(((from + to) / 2.0, TOP - 6.0), Anchor::Middle, text, r#"fill-opacity="0.8""#);
    }
}

fn legend(canvas: &mut Canvas) {
    let mut x = 6.0;
    for (name, color) in [("knowledge samples", KNOWLEDGE), ("task samples", TASKS)] {
        canvas.bar((x, 6.0), (12.0, 12.0), &format!(r#"fill="{color}" rx="2""#), "");
        canvas.text((x + 18.0, 16.0), Anchor::Start, name, r#"font-weight="600""#);
        x += 18.0 + 1.15 * text_width(name) + 16.0;
    }
}
