"""Pictures made of blocks that are stacked: text, legends and rows of cells never overlap."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from ssmtl.palette import Color

Picture: TypeAlias = Image.Image

PAPER: Color = (255, 255, 255)
INK: Color = (20, 20, 20)
FAINT: Color = (100, 100, 100)
BODY, HEADING, TITLE = 13, 15, 21
"""Sizes of type in pixels."""
SWATCH = 14


class Key(NamedTuple):
    """An entry of a legend; `dashed` draws a dashed frame instead of a filled square."""

    text: str
    color: Color
    dashed: bool = False


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib and has the letters of most languages."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def text(words: str, width: int, *, size: int = BODY, bold: bool = False, color: Color = INK) -> Picture:
    """Return words as a block of `width` pixels and as many lines as it takes; longer words are broken."""
    face = font(size, bold=bold)
    lines, line_height = wrap(words, width, face), round(1.35 * size)
    block = Image.new("RGB", (width, line_height * len(lines)), PAPER)
    pen = ImageDraw.Draw(block)
    for number, line in enumerate(lines):
        pen.text((0, number * line_height), line, fill=color, font=face)
    return block


def wrap(words: str, width: int, face: ImageFont.FreeTypeFont) -> list[str]:
    """Return lines of at most `width` pixels, broken between words, and not in parentheses, where that is possible."""
    lines = [""]
    for word in re.findall(r"(?:\([^()]*\)|\S)+", words):
        longer = f"{lines[-1]} {word}".lstrip()
        if face.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and face.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def legend(keys: Sequence[Key], width: int) -> Picture:
    """Return keys side by side, in as many lines as it takes."""
    return flow([_key(key, width) for key in keys], width)


def flow(blocks: Sequence[Picture], width: int, gap: int = 16) -> Picture:
    """Return blocks side by side, in as many lines as fit into `width`."""
    lines: list[list[Picture]] = [[]]
    for block in blocks:
        if lines[-1] and sum(one.width + gap for one in lines[-1]) + block.width > width:
            lines.append([])
        lines[-1].append(block)
    return stack([beside([(block, block.width) for block in line], gap) for line in lines if line], 4)


def beside(cells: Sequence[tuple[Picture, int]], gap: int) -> Picture:
    """Return cells in a row, each at the top left of a column of its width."""
    height = max(cell.height for cell, _ in cells)
    row = Image.new("RGB", (sum(width + gap for _, width in cells) - gap, height), PAPER)
    left = 0
    for cell, width in cells:
        row.paste(cell, (left, 0))
        left += width + gap
    return row


def stack(blocks: Sequence[Picture], gap: int) -> Picture:
    """Return blocks below each other."""
    column = Image.new(
        "RGB", (max(block.width for block in blocks), sum(block.height + gap for block in blocks) - gap), PAPER
    )
    top = 0
    for block in blocks:
        column.paste(block, (0, top))
        top += block.height + gap
    return column


def corner(picture: Picture, words: str) -> Picture:
    """Return a copy with words on black in the top left corner, wrapped to the picture's width."""
    face, pad = font(BODY), 3
    lines = wrap(words, max(picture.width - 2 * pad, BODY), face)
    copy = picture.copy()
    pen = ImageDraw.Draw(copy)
    wide = max(face.getlength(line) for line in lines)
    line_height = round(1.25 * BODY)
    pen.rectangle((0, 0, wide + 2 * pad, line_height * len(lines) + pad), fill=(0, 0, 0))
    for number, line in enumerate(lines):
        pen.text((pad, 1 + number * line_height), line, fill=(255, 255, 255), font=face)
    return copy


def dashed(
    pen: ImageDraw.ImageDraw, box: tuple[float, float, float, float], color: Color, width: int, *, unit: int = 1
) -> None:
    """Draw a rectangle of dashes of 5 x `unit` pixels with corners (left, top, right, bottom), both included."""
    left, top, right, bottom = box
    dash, period = 5 * unit, 9 * unit
    for start in range(round(left), round(right) + 1, period):
        end = min(start + dash, right)
        pen.line((start, top, end, top), fill=color, width=width)
        pen.line((start, bottom, end, bottom), fill=color, width=width)
    for start in range(round(top), round(bottom) + 1, period):
        end = min(start + dash, bottom)
        pen.line((left, start, left, end), fill=color, width=width)
        pen.line((right, start, right, end), fill=color, width=width)


def _key(key: Key, width: int) -> Picture:
    words = text(key.text, min(width - SWATCH - 6, round(font(BODY).getlength(key.text)) + 2))
    swatch = Image.new("RGB", (SWATCH, words.height), PAPER)
    pen = ImageDraw.Draw(swatch)
    if key.dashed:
        dashed(pen, (1, 2, SWATCH - 2, SWATCH - 1), key.color, 2)
    else:
        pen.rectangle((0, 2, SWATCH - 1, SWATCH), fill=key.color)
    return beside([(swatch, SWATCH), (words, words.width)], 6)
