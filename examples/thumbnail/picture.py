"""Draws lake.jpg, the picture that the example makes a thumbnail of: `python picture.py`. Needs Pillow.

Mountains in the evening above a lake, from a few lines of arithmetic.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

WIDTH, HEIGHT, SHORE = 1600, 1066, 640
SKY = [(24, 42, 92), (88, 92, 150), (226, 142, 120), (255, 206, 140)]
RIDGES = [(470, 150, (128, 112, 150)), (530, 120, (84, 78, 118)), (600, 80, (40, 44, 70))]


def blend(colours: list[tuple[int, int, int]], share: float) -> tuple[int, int, int]:
    """The colour at `share` (0 to 1) of the way through `colours`."""
    place = share * (len(colours) - 1)
    first = min(int(place), len(colours) - 2)
    part = place - first
    pairs = zip(colours[first], colours[first + 1], strict=True)
    return tuple(round(low + (high - low) * part) for low, high in pairs)  # type: ignore[return-value]


def gradient(colours: list[tuple[int, int, int]], height: int) -> Image.Image:
    column = Image.new("RGB", (1, height))
    column.putdata([blend(colours, row / (height - 1)) for row in range(height)])
    return column.resize((WIDTH, height))


def ridge(chance: random.Random, base: int, swing: int) -> list[tuple[float, float]]:
    """The line of a mountain range: waves of ever smaller height."""
    waves = [(chance.uniform(0.7, 1.4) * 2**number, chance.uniform(0, 7)) for number in range(8)]
    line = []
    for x in range(0, WIDTH + 2, 2):
        height = sum(math.sin(x / 420 * pace + phase) / pace for pace, phase in waves)
        line.append((x, base - swing * height * 0.6))
    return line


def draw() -> Image.Image:
    chance = random.Random(1066)
    picture = gradient(SKY, SHORE).crop((0, 0, WIDTH, HEIGHT))
    glow = Image.new("RGB", (WIDTH, HEIGHT))
    ImageDraw.Draw(glow).ellipse((1010, 330, 1250, 570), fill=(255, 190, 110))
    sun = glow.filter(ImageFilter.GaussianBlur(90))
    ImageDraw.Draw(sun).ellipse((1085, 405, 1175, 495), fill=(255, 236, 190))
    picture = ImageChops.screen(picture, sun.filter(ImageFilter.GaussianBlur(3)))
    for base, swing, colour in RIDGES:
        mask = Image.new("L", (WIDTH, HEIGHT))
        corners = [*ridge(chance, base, swing), (WIDTH, SHORE), (0, SHORE)]
        ImageDraw.Draw(mask).polygon(corners, fill=255)
        haze = gradient([colour, blend([colour, SKY[2]], 0.35)], HEIGHT)
        picture.paste(haze, mask=mask.filter(ImageFilter.GaussianBlur(1.2)))
    picture.paste(reflection(picture, chance), (0, SHORE))
    grain = Image.effect_noise((WIDTH, HEIGHT), 14).convert("RGB")
    return ImageChops.overlay(picture, Image.blend(Image.new("RGB", picture.size, (128, 128, 128)), grain, 0.6))


def reflection(picture: Image.Image, chance: random.Random) -> Image.Image:
    """The water: what stands above it, upside down, darker and rippled more towards us."""
    depth = HEIGHT - SHORE
    above = picture.crop((0, SHORE - depth, WIDTH, SHORE)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    water = Image.new("RGB", (WIDTH, depth))
    for row in range(depth):
        shift = round(math.sin(row / (2 + row / 60)) * (2 + row / 28) + chance.uniform(-2, 2))
        water.paste(ImageChops.offset(above.crop((0, row, WIDTH, row + 1)), shift, 0), (0, row))
    shade = gradient([(210, 205, 220), (70, 84, 120)], depth)
    return ImageChops.multiply(water.filter(ImageFilter.GaussianBlur(0.8)), shade)


if __name__ == "__main__":
    draw().save(Path(__file__).with_name("lake.jpg"), "JPEG", quality=84, optimize=True)
