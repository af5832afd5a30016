import io

import pytest
from rich.console import Console
from rich.table import Table

import genir.console
from genir.console import console, print_note, print_warning, progress, track


@pytest.fixture
def terminal(monkeypatch):
    """Replace the console of stderr with a terminal of 100 columns."""
    shown = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr(genir.console, "errors", shown)
    return shown


def test_tracked_items_are_yielded_in_order_with_and_without_a_length(terminal):
    assert list(track("abc", "letters")) == ["a", "b", "c"]
    assert list(track((x for x in "abc"), "letters")) == ["a", "b", "c"]


def test_the_progress_bar_counts_the_items(terminal):
    bars = track(range(7), "documents")
    for _ in range(8):
        next(bars, None)
    with progress() as bar:
        bar.add_task("queries", total=4, completed=3, note="loss 0.5")
    output = terminal.file.getvalue()
    assert "documents" in output
    assert "0/7" in output
    assert "queries" in output
    assert "75%" in output
    assert "3/4" in output
    assert "loss 0.5" in output


def test_texts_are_shown_as_they_are_whatever_they_contain(capsys):
    table = Table("[bold]head", title="[/t]")
    table.add_row("[link=x]y[/x] :cat: \x1b[31m")
    console.print(table)
    console.print("[/x] [bold]a[/] :dog: \x9b1m\u202e")
    print_note("[/y]")
    print_warning("\r[z]")
    output = capsys.readouterr().out
    for text in ("[bold]head", "[/t]", r"[link=x]y[/x] :cat: \x1b[31m", r"[/x] [bold]a[/] :dog: \x9b1m\u202e"):
        assert text in output
    assert output.endswith("note: [/y]\nwarning: \\r[z]\n")


def test_nothing_is_drawn_without_a_terminal(capsys):
    assert list(track(range(3), "documents")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
