"""Draws the rates that speed.py measured by number of clients, as an SVG: each run a point, lines through the medians.

    python docs/parity/serve/chart.py docs/parity/serve/speed.jsonl > docs/src/images/serving.svg

Only the standard library.
"""

import html
import json
import math
import statistics
import sys

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 40, 52
# Told apart by brightness too.
COLOURS = ["#0b5fa5", "#d1495b", "#2e8b57", "#8a6d1f", "#7a4ea3", "#555555"]


def steps(most):
    """Round numbers up to one above `most`."""
    rough = most / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [step * i for i in range(math.ceil(most / step) + 1)]


def main():
    with open(sys.argv[1]) as file:
        runs = [json.loads(line) for line in file if line.strip()]
    names = list(dict.fromkeys(run["name"] for run in runs))
    clients = sorted({run["clients"] for run in runs})
    ticks = steps(max(run["tokens_per_second"] for run in runs))
    inner = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    low, high = math.log2(clients[0]), math.log2(clients[-1])
    x = lambda count: LEFT + inner[0] * (math.log2(count) - low) / max(high - low, 1e-9)
    y = lambda rate: TOP + inner[1] * (1 - rate / ticks[-1])
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#333">',
        "<title>New tokens a second by number of clients</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-weight="600">New tokens a second</text>',
        f'<text x="{LEFT + inner[0] / 2}" y="{HEIGHT - 12}" text-anchor="middle">clients</text>',
    ]
    for tick in ticks:
        at = y(tick)
        out.append(f'<line x1="{LEFT}" x2="{LEFT + inner[0]}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for count in clients:
        out.append(f'<text x="{x(count):.1f}" y="{TOP + inner[1] + 20}" text-anchor="middle">{count}</text>')
    # Labels at the ends of lines, moved apart.
    ends = []
    for name, colour in zip(names, COLOURS * 9):
        rates = {}
        for run in runs:
            if run["name"] == name:
                rates.setdefault(run["clients"], []).append(run["tokens_per_second"])
        points = sorted((count, rate) for count, all in rates.items() for rate in all)
        medians = sorted((count, statistics.median(all)) for count, all in rates.items())
        line = " ".join(f"{x(count):.1f},{y(rate):.1f}" for count, rate in medians)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        out += [f'<circle cx="{x(count):.1f}" cy="{y(rate):.1f}" r="3.5" fill="{colour}"/>' for count, rate in points]
        ends.append((y(medians[-1][1]) + 4, x(medians[-1][0]) + 10, name, colour))
    below = -math.inf
    for at, right, name, colour in sorted(ends):
        at = below = max(at, below + 16)
        out.append(f'<text x="{right:.1f}" y="{at:.1f}" fill="{colour}">{html.escape(name)}</text>')
    print("\n".join(out + ["</svg>"]))


if __name__ == "__main__":
    main()
