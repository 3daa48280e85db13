"""How every figure looks: one fixed colour, marker and line per variant, fonts that come with matplotlib."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4E9E", "#8C6D1F")
"""After Okabe & Ito (2008), colours that remain distinct under colour blindness; their yellow, which print loses,
is replaced by brown."""
GREY, LIGHT_GREY = "#555555", "#C8C8C8"
MARKERS = "osD^vPX*"
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1, 1.5)), (0, (9, 2, 3, 2)))
DOTS_PER_INCH = 150


@dataclass(frozen=True)
class Look:
    """Colour, marker and line style of a condition."""

    color: str
    marker: str
    line: Any


@dataclass(frozen=True)
class Picture:
    """A figure with what a page prints around it."""

    figure: Figure
    title: str
    """What it shows, in one line: the finding, computed from what is drawn."""
    caption: str
    """Sentences that say how to read it."""


LOOKS = {
    "post_ln": Look(PALETTE[0], "o", LINES[0]),
    "pre_ln": Look(PALETTE[1], "s", LINES[0]),
    "no_residual": Look(PALETTE[5], "D", LINES[1]),
    "no_residual_pre": Look(PALETTE[4], "^", LINES[1]),
    "no_norm": Look(PALETTE[2], "v", LINES[0]),
    "plain": Look(PALETTE[3], "P", LINES[1]),
    "article_block": Look(PALETTE[6], "X", LINES[0]),
    "article_layer_norm_dim1": Look(PALETTE[6], "D", LINES[1]),
    "peri_ln": Look(PALETTE[1], "*", LINES[3]),
    "layer_norm_scaling": Look(PALETTE[4], "p", LINES[3]),
    "rezero": Look(PALETTE[2], "<", LINES[3]),
    "deepnorm": Look(PALETTE[0], ">", LINES[3]),
    "depth_scaled_post_ln": Look(PALETTE[5], "d", LINES[3]),
    "article_original": Look(PALETTE[7], "*", LINES[3]),
    "post_ln_xavier": Look(PALETTE[0], "o", LINES[0]),
    "post_ln_random": Look(PALETTE[0], "D", LINES[1]),
    "no_norm_xavier": Look(PALETTE[2], "v", LINES[0]),
    "no_norm_random": Look(PALETTE[2], "P", LINES[1]),
    "post_ln_random_matrices": Look(PALETTE[5], "s", LINES[2]),
    "no_norm_random_matrices": Look(PALETTE[4], "^", LINES[2]),
    "no_norm_gain": Look(PALETTE[2], "D", LINES[4]),
    "plain_gain": Look(PALETTE[3], "*", LINES[4]),
    "sgd": Look(PALETTE[4], "o", LINES[1]),
    "momentum": Look(PALETTE[1], "s", LINES[1]),
    "rmsprop": Look(PALETTE[6], "^", LINES[0]),
    "adam": Look(PALETTE[0], "v", LINES[0]),
    "rows_10": Look(PALETTE[5], "o", LINES[0]),
    "rows_30": Look(PALETTE[4], "s", LINES[0]),
    "rows_100": Look(PALETTE[0], "^", LINES[0]),
    "rows_10_augmented": Look(PALETTE[5], "D", LINES[1]),
    "rows_100_augmented": Look(PALETTE[0], "P", LINES[1]),
    "post_ln_pretrained": Look(PALETTE[0], "D", LINES[2]),
    "pre_ln_pretrained": Look(PALETTE[1], "^", LINES[2]),
    "no_norm_pretrained": Look(PALETTE[2], "P", LINES[2]),
    "no_residual_pretrained": Look(PALETTE[5], "s", LINES[2]),
    "plain_pretrained": Look(PALETTE[3], "o", LINES[2]),
    "unchanged": Look(PALETTE[0], "o", LINES[0]),
    "no_skips": Look(PALETTE[5], "D", LINES[0]),
    "no_norms": Look(PALETTE[2], "v", LINES[0]),
    "neither": Look(PALETTE[3], "P", LINES[0]),
    "to_rms_norm": Look(PALETTE[1], "s", LINES[0]),
    "to_dyt": Look(PALETTE[4], "^", LINES[0]),
    "unchanged_frozen": Look(PALETTE[0], "o", LINES[2]),
    "no_skips_frozen": Look(PALETTE[5], "D", LINES[2]),
    "no_norms_frozen": Look(PALETTE[2], "v", LINES[2]),
    "neither_frozen": Look(PALETTE[3], "P", LINES[2]),
    "to_rms_norm_frozen": Look(PALETTE[1], "s", LINES[2]),
    "to_dyt_frozen": Look(PALETTE[4], "^", LINES[2]),
    "no_skips_once": Look(PALETTE[5], "D", LINES[1]),
    "no_norms_once": Look(PALETTE[2], "v", LINES[1]),
    "from_scratch": Look(PALETTE[7], "*", LINES[3]),
    "e_spa": Look(PALETTE[3], "D", LINES[3]),
    "e_spa_norm": Look(PALETTE[5], "^", LINES[3]),
    "scratch": Look(PALETTE[1], "s", LINES[0]),
    "pretrained": Look(PALETTE[1], "^", LINES[2]),
    "encoder": Look(PALETTE[0], "o", LINES[0]),
    "bag_of_embeddings": Look(GREY, "h", LINES[2]),
    "tfidf_logistic_regression": Look("#000000", "|", LINES[3]),
    "unigram": Look(GREY, "_", LINES[1]),
    "trigram": Look("#000000", "_", LINES[4]),
}


def look_of(condition: str) -> Look:
    """Return the look of a condition, the same in every figure; one without a fixed look gets it from its name."""
    if condition in LOOKS:
        return LOOKS[condition]
    digest = hashlib.sha256(condition.encode()).digest()
    return Look(PALETTE[digest[0] % len(PALETTE)], MARKERS[digest[1] % len(MARKERS)], LINES[digest[2] % len(LINES)])


def beside(figure: Figure, axes: Axes, place: int, count: int, step: float = 2.4) -> Transform:
    """Return a transform that shifts the curve at ``place`` of ``count`` curves: they are ``step`` points apart.

    Data keep their values; only the drawing moves along x.
    """
    from matplotlib.transforms import ScaledTranslation

    points = step * (place - (count - 1) / 2)
    return axes.transData + ScaledTranslation(points / 72, 0, figure.dpi_scale_trans)


def settings() -> dict[str, Any]:
    """Return matplotlib's settings for a figure, independent of what the user's own matplotlibrc says."""
    return {
        "font.family": "DejaVu Sans",
        "font.size": 9.0,
        "axes.titlesize": 10.0,
        "axes.labelsize": 9.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E6E6E6",
        "grid.linewidth": 0.8,
        "legend.frameon": False,
        "legend.fontsize": 8.0,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "svg.hashsalt": "resnorm",
    }


def printable(names: list[str]) -> list[str]:
    """Return class names as a figure can show them: numbers if the font lacks a character of any name."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    glyphs = FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap()
    if all(ord(character) in glyphs for name in names for character in name):
        return [name if len(name) <= 14 else f"{name[:13]}…" for name in names]
    return [str(index) for index in range(len(names))]


def headline(figure: Figure, text: str) -> None:
    """Put the sentence that says what a figure shows over all its panels, broken at the figure's width."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=10, wrap=True)


def save_picture(picture: Picture, path: Path) -> Path:
    """Write a picture with its title over it, in the settings of every figure."""
    import matplotlib

    with matplotlib.rc_context(settings()):
        headline(picture.figure, picture.title)
        return save_png(picture.figure, path)


def save_png(figure: Figure, path: Path) -> Path:
    """Write a PNG whose bytes depend on the picture alone: no date, no version of the software.

    Its colours are a palette of 256, which takes a third of the space.
    """
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    from experiments.escaping import for_picture
    from experiments.runs.run_folder import write_atomically

    for_picture(figure)
    drawn, small = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(drawn, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    write_atomically(path, small.getvalue())
    return path
