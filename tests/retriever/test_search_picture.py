"""The picture of a search: where prefixes are placed, and what is written in it."""

import math

import pytest
from matplotlib.figure import Figure

from genir.decoding.prefix_tree import Prefix
from genir.errors import GenirError
from genir.retriever.search_picture import describe_outcome, format_factor, format_p, place
from tests.helpers.retrievers import growing_retriever


@pytest.fixture(scope="module")
def found(tokenizer):
    return growing_retriever(tokenizer, weight=1.5)[0].explain("owls hunt mice")


def test_every_prefix_has_a_place_of_its_own_to_the_right_of_its_parent(found):
    placed = place(found.tree)
    assert len({(x.column, x.row) for x in placed}) == len(placed)
    ends = [x.row for x in placed if not x.node.children]
    assert sorted(ends) == [*range(len(ends))]
    for x in placed[1:]:
        parent = placed[x.parent]
        assert any(x.node is child for child in parent.node.children)
        assert parent.column < x.column
        assert parent.row <= x.row
    levels = sorted({x.node.level for x in placed})
    assert [x.column for x in placed] == [levels.index(x.node.level) for x in placed]


def test_lines_cross_no_text(found):
    placed = place(found.tree)
    for number, x in enumerate(placed):
        below = [y.row for y in placed if y.parent == number]
        between = [y for y in placed if not y.node.children and below and x.row <= y.row <= max(below)]
        assert all(y.column > x.column for y in between)


def test_a_plot_names_every_hit(found):
    figure = Figure()
    ax = found.plot(figure.subplots())
    texts = [text.get_text() for text in ax.texts]
    assert all(sum(text.startswith(f"{hit.rank}. {hit.doc_id} ") for text in texts) == 1 for hit in found.hits)
    assert len(ax.lines) == len(place(found.tree)) - 1
    assert ax.get_title(loc="left") == found.describe()
    figure.canvas.draw()


def test_a_plot_without_axes_makes_its_own_and_shows_formulas_as_text(found):
    found.tree.children[0].title = "costs $5 or $x^{"
    figure = found.plot().figure
    figure.canvas.draw()
    assert figure.get_size_inches()[1] > 2


@pytest.mark.parametrize(
    ("p", "text"),
    [(1, "100 %"), (0.951, "95 %"), (0.0312, "3.1 %"), (0.00312, "0.31 %"), (1e-4, "0.01 %"), (0, "<0.01 %")],
)  # fmt: skip
def test_probabilities_are_written_in_per_cent(p, text):
    assert format_p(p) == text


@pytest.mark.parametrize(
    ("factor", "text"),
    [(1, "1.0"), (1.26, "1.3"), (0.456, "0.46"), (12.3, "12"), (1e-9, "<0.01"), (4321, "4,321"), (2e6, ">9,999")],
)
def test_what_the_model_changes_is_written_as_a_factor(factor, text):
    assert format_factor(math.log(factor)) == f"\N{MULTIPLICATION SIGN}{text}"


def test_outcomes_say_what_became_of_a_prefix():
    assert describe_outcome(Prefix((1, 2), 1, "hit", 1, rank=3, doc_id="d7", title="Owls")) == "3. d7 Owls"
    assert describe_outcome(Prefix((1, 2), 1, "pruned", 1, doc_id="d7", title="")) == "pruned: d7"
    assert describe_outcome(Prefix((1,), 1, "pruned", 1234)) == "pruned: 1,234 documents"
    others = {"others": 2, "others_logp": math.log(0.2)}
    assert describe_outcome(Prefix((1,), 1, "kept", 5, **others)) == "5 documents; 2 prefixes, all pruned (20 %)"
    child = Prefix((1, 1), 2, "kept", 2)
    assert describe_outcome(Prefix((1,), 1, "kept", 5, children=[child], **others)).endswith(
        "; 2 more prefixes pruned (20 %)"
    )


@pytest.mark.parametrize("wrong", ["search.png", 3, Figure()])
def test_anything_but_axes_is_refused_with_how_to_save_the_picture(found, wrong):
    with pytest.raises(GenirError, match=r"axes of matplotlib, got .*; plot\(\)\.figure\.savefig\(FILE\) saves"):
        found.plot(wrong)
