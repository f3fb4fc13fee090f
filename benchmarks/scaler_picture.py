# SPDX-License-Identifier: Apache-2.0
"""The picture of the scaler's figures: what each disabled step of the protocol loses, beside the whole protocol."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

WIDTH, LEFT, ROW, TOP = 760, 270, 30, 74
SERIF = "font-family='system-ui, sans-serif'"


def draw(figures: Mapping[str, Any]) -> str:
    """Return an SVG: one bar a disabled step, per 1 000 scale-ins, on one scale."""
    detail = figures["simulation"]["controls"]
    rows = [
        ("the whole protocol", figures["scale_ins"], figures["tasks_lost"] + figures["tasks_interrupted"], "#177245")
    ]
    rows += [(f"without: {step}", each["scale_ins"], each["lost"], "#b3392f") for step, each in detail.items()]
    rates = [1000 * lost / max(1, scale_ins) for _, scale_ins, lost, _ in rows]
    scale = (WIDTH - LEFT - 150) / max(1.0, *rates)
    title = f"Tasks lost per 1 000 scale-ins, with faults (seed {figures['seed']})"
    under = f"{figures['scale_ins']} scale-ins and {figures['simulation']['rollouts']} rollouts in virtual time"
    height = TOP + ROW * len(rows) + 16
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img' {SERIF}>",
        f"<title>{escape(title)}</title><rect width='100%' height='100%' fill='#fff'/>",
        f"<text x='16' y='28' font-size='17' font-weight='600'>{escape(title)}</text>",
        f"<text x='16' y='50' font-size='13' fill='#555'>{escape(under)}</text>",
    ]
    for number, ((name, scale_ins, lost, colour), rate) in enumerate(zip(rows, rates, strict=True)):
        y = TOP + ROW * number
        words = f"{rate:.1f}  ({lost} in {scale_ins})" if lost else f"0  (in {scale_ins})"
        parts += [
            f"<text x='{LEFT - 10}' y='{y + 16}' font-size='13' text-anchor='end'>{escape(name)}</text>",
            f"<rect x='{LEFT}' y='{y + 3}' width='{max(1.0, rate * scale):.1f}' height='18' fill='{colour}'/>",
            f"<text x='{LEFT + max(1.0, rate * scale) + 8:.1f}' y='{y + 17}' font-size='12'>{words}</text>",
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
