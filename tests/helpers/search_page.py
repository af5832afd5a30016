"""What the tests of the search page read from it, and answers in the place of those of the service."""

import re


def walk(node):
    """A prefix of an explained search, and all those below it."""
    yield node
    for child in node.children:
        yield from walk(child)


def read_percent(text):
    """The probability that the page writes as a percentage."""
    return float(text.removesuffix("\u00a0%").removeprefix("<")) / 100


def answer_with(status, body):
    """A handler of requests that answers them without the service."""
    return lambda route: route.fulfill(status=status, json=body)


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
    """The contrast ratio of two colours by WCAG 2."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)
