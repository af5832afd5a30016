"""The contrast of texts on a web page by WCAG 2."""

import re

COLORS = """all => all.filter(x => x.checkVisibility() && (x.value || x.textContent)).map(x => {
    const color = getComputedStyle(x)[x instanceof SVGElement ? "fill" : "color"], text = x.value || x.textContent;
    while (x && getComputedStyle(x).backgroundColor === "rgba(0, 0, 0, 0)") x = x.parentElement;
    return [text, color, getComputedStyle(x ?? document.body).backgroundColor];
})"""
"""JavaScript that lists the texts of elements with their colours and the colours behind them."""


def luminance(color):
    """The relative luminance of WCAG 2."""
    channels = [int(x) / 255 for x in re.findall(r"\d+", color)[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in channels]
    return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)
