"""A network's stages as a drawing: a U that lies on its side, one row a stage, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

# Pixels: of a row, a bar's height, what a halving of the sides shifts a bar by; columns of the text.
_ROW, _BAR, _SHIFT = 22, 12, 38
_LEFT, _TOP = 40, 24
_NAMES, _SHAPES = 150, 180
# A bar's width: so much, and so much more for each doubling of the channels.
_NARROWEST, _WIDENING = 8, 7
_INK, _GREY = "#212529", "#868e96"
# Colours that people with any kind of colour vision tell apart: of the image's own sides, of stages on the
# way to coarser maps, on the way to finer ones, and of those that no other stage sees.
_FINEST, _DOWN, _UP, _OUTPUT = "#adb5bd", "#1c7ed6", "#f08c00", "#0b7285"
_CAPTION = (
    "One row a stage, in the order in which they run. Further right: coarser. Wider: more channels.",
    "Blue: the way down. Orange: the way up. Dark: outputs. Brackets: maps that are seen again later.",
)


class _Bar(NamedTuple):
    """A stage in the drawing: its row, halvings of the image's sides, shape, colour."""

    name: str
    row: int
    level: float
    shape: Sequence[int]
    colour: str

    @property
    def x(self) -> float:
        """Of the left edge."""
        return _LEFT + _SHIFT * self.level

    @property
    def y(self) -> float:
        """Of the middle."""
        return _TOP + _ROW * self.row

    @property
    def width(self) -> float:
        """In pixels, by the channels."""
        return _NARROWEST + _WIDENING * math.log2(self.shape[-1] + 1)


def drawing(description: Mapping[str, Any], title: str) -> str:
    """SVG text; equal descriptions give equal texts.

    Args:
        description: as `memory.description.Description.as_json` has it.
        title: what is drawn.
    """
    bars = _bars(description)
    text_x = round(max(bar.x + bar.width for bar in bars.values())) + 24
    width = max(text_x + _NAMES + _SHAPES, 560)
    height = _TOP + _ROW * len(bars) + 16 * len(_CAPTION) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="{_INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    stages = [stage for stage in description["stages"] if stage["inputs"]]
    lines += _links([(bars[name], bars[stage["name"]]) for stage in stages for name in stage["inputs"]])
    for bar in bars.values():
        lines.append(
            f'<rect x="{bar.x:g}" y="{bar.y - _BAR / 2:g}" width="{bar.width:.1f}" height="{_BAR}" rx="2" '
            f'fill="{bar.colour}"/>'
        )
        shape = " x ".join(map(str, bar.shape))
        lines.append(f'<text x="{text_x}" y="{bar.y + 4:g}">{escape(bar.name)}</text>')
        lines.append(f'<text x="{text_x + _NAMES}" y="{bar.y + 4:g}" fill="{_GREY}">{shape}</text>')
    for number, line in enumerate(_CAPTION):
        y = _TOP + _ROW * len(bars) + 16 * number + 6
        lines.append(f'<text x="12" y="{y}" font-size="11" fill="{_GREY}">{line}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _bars(description: Mapping[str, Any]) -> dict[str, _Bar]:
    """By stage; pools, which have no weights and no name of their own, show as a shift only."""
    image = description["input_shape"]
    seen = {name for stage in description["stages"] for name in stage["inputs"]}
    bar = _Bar("image", 0, 0.0, image, _FINEST)
    bars = {bar.name: bar}
    for stage in description["stages"]:
        if stage["operation"].startswith("pool by"):
            continue
        level = math.log2(image[1] / stage["shape"][1])
        colour = _DOWN if level > bar.level else _UP if level < bar.level else bar.colour
        bar = _Bar(stage["name"], len(bars), level, stage["shape"], colour)
        bars[bar.name] = bar if bar.name in seen else bar._replace(colour=_OUTPUT)
    return bars


def _links(pairs: Sequence[tuple[_Bar, _Bar]]) -> Iterator[str]:
    """A line from each stage to the next one, a bracket to a later one."""
    brackets: list[tuple[float, int, int, int]] = []
    style = f'fill="none" stroke="{_GREY}" stroke-width="1.2"'
    for source, target in pairs:
        if target.row == source.row + 1:
            turn = (source.y + target.y) / 2
            yield (
                f'<path d="M{source.x + 5:g} {source.y:g}V{turn:g}H{target.x + 5:g}V{target.y:g}" {style}/>'
            )
            continue
        edge = min(source.x, target.x)
        taken = {
            lane
            for other, lane, first, last in brackets
            if other == edge and first < target.row and source.row < last
        }
        lane = next(lane for lane in range(len(pairs)) if lane not in taken)
        brackets.append((edge, lane, source.row, target.row))
        x = edge - 7 - 5 * lane
        yield (
            f'<path d="M{source.x:g} {source.y + 2:g}H{x:g}V{target.y - 2:g}H{target.x:g}" {style} '
            'stroke-linejoin="round"/>'
        )
