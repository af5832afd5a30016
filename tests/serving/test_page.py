"""The search page in a real browser: what it shows, and that it can be used by keyboard, on a phone and in the dark."""

import math
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from genir.serving.limits import MAX_BEAMS, MAX_EXPLAINED, MAX_K
from tests.helpers.search_page import COLORS, answer_with, contrast, luminance, read_percent, walk
from tests.helpers.serving import make_config, make_owls, running

CHROMIUM = Path("/usr/bin/chromium")
if not CHROMIUM.exists():
    pytest.skip("the tests of the page need Debian's chromium", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="the tests of the page need playwright")
expect = playwright.expect

QUERY = "owls hunt mice"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> & <b>bold</b>"


@pytest.fixture(scope="module")
def address(service):
    return str(service.base_url)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as manager:
        browser = manager.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """Open the page; a message in the console, such as one about a blocked script, fails the test."""
    contexts, messages = [], []

    def open_page(path="/", base=address, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("console", lambda message: messages.append(message.text))
        page.on("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
        page.goto(base + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [message for message in messages if "Failed to load resource" not in message] == []


def search(page, query=QUERY):
    page.get_by_label("Your question").fill(query)
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#hits > li").first).to_be_visible()


def open_everything(page):
    for button in page.get_by_role("button", name="How it was generated").all()[:3]:
        button.click()
    expect(page.locator(".generated")).to_have_count(3)
    page.get_by_role("button", name="Show the whole search as a tree").click()
    page.get_by_text("The tree as a list").click()
    expect(page.locator("#tree svg")).to_be_visible()


def test_a_search_shows_the_hits_of_the_retriever_and_can_be_shared(open_page, owls):
    page = open_page()
    search(page)
    hits = owls.search(QUERY)
    assert page.locator("#hits h2").all_text_contents() == [hit.title for hit in hits]
    assert page.locator("#hits code").all_text_contents() == ["-".join(map(str, hit.docid)) for hit in hits]
    shown = [float(re.search(r"log p (-[\d.]+)", text)[1]) for text in page.locator(".score").all_text_contents()]
    assert shown == pytest.approx([hit.score for hit in hits], abs=1e-3)
    expect(page.get_by_role("status")).to_contain_text("10 hits")
    assert urlsplit(page.url).query == "q=owls+hunt+mice"
    assert page.title().startswith("owls hunt mice")
    other = open_page(page.url.removeprefix(f"http://{urlsplit(page.url).netloc}"))
    expect(other.locator("#hits h2")).to_have_text([hit.title for hit in hits])
    search(page, "bridges")
    page.go_back()
    expect(page.get_by_label("Your question")).to_have_value(QUERY)
    expect(page.locator("#hits h2")).to_have_text([hit.title for hit in hits])


def test_the_certificate_is_shown_and_more_beams_are_offered(open_page, owls):
    assert not owls.search(QUERY, 10, 1).exact
    page = open_page("/?q=owls+hunt+mice&beams=1")
    expect(page.locator("#certificate")).to_contain_text(re.compile("Not proven|Only the first"))
    page.get_by_role("button", name="Search with 4 beams").click()
    expect(page).to_have_url(re.compile("beams=4"))
    assert owls.search(QUERY, 10, 30).exact
    proven = open_page("/?q=owls+hunt+mice&beams=30")
    expect(proven.locator("#certificate")).to_contain_text("Proven best")
    expect(proven.get_by_role("status")).to_contain_text("proven")


def test_nothing_is_offered_that_the_service_refuses(open_page, service):
    found = service.get("/search", params={"query": QUERY}).json() | {"exact": False}
    page = open_page()
    page.route("**/search", answer_with(200, found))
    for name, most in [("Hits", MAX_K), ("Beams", MAX_BEAMS)]:
        expect(page.locator("#options").get_by_label(name)).to_have_attribute("max", str(most))
    explained, more = (page.get_by_role("button", name=name) for name in ("How it was generated", re.compile("beams$")))
    for options, next_beams in [
        (f"k={MAX_EXPLAINED - 10}", 400),
        (f"beams={MAX_EXPLAINED}", 400),
        ("beams=300", MAX_BEAMS),
    ]:
        page.goto(f"{service.base_url}?q=owls&{options}")
        expect(more).to_have_text(f"Search with {next_beams} beams")
        expect(explained).to_have_count(0 if options == "beams=300" else 10)
    for options in [f"k={MAX_EXPLAINED - 9}", f"k={MAX_K}", f"beams={MAX_BEAMS}"]:
        page.goto(f"{service.base_url}?q=owls&{options}")
        expect(page.locator("#tree")).to_have_text(
            f"Searches with more than {MAX_EXPLAINED} hits or beams are not explained."
        )
        expect(explained).to_have_count(0)
    expect(more).to_have_count(0)


def test_an_opened_hit_shows_how_it_was_generated(open_page, owls):
    page = open_page()
    search(page)
    hit = owls.search(QUERY)[2]
    levels = owls.explain(QUERY, hit.doc_id).levels
    row = page.locator("#hits > li").nth(2)
    row.get_by_role("button", name="How it was generated").click()
    chosen = row.locator("tr.chosen")
    expect(chosen).to_have_count(len(levels))
    for i, level in enumerate(levels):
        code, *numbers = chosen.nth(i).locator("th, td").all_text_contents()
        assert int(re.match(r"\d+", code)[0]) == level.code
        assert read_percent(numbers[0]) == pytest.approx(math.exp(level.logp), rel=0.06, abs=1e-4)
        assert read_percent(numbers[1]) == pytest.approx(math.exp(level.prior), rel=0.06, abs=1e-4)
        assert float(numbers[2][1:]) == pytest.approx(math.exp(level.model), rel=0.06)
    expect(row.locator("tr.pruned, tr.kept, tr.hit").first).to_be_visible()
    row.get_by_role("button", name="How it was generated").click()
    expect(chosen.first).to_be_hidden()


def test_no_other_document_is_explained_when_the_documents_have_changed(open_page, owls):
    page = open_page()
    search(page)
    pairs = enumerate(zip(owls.search(QUERY), owls.search("bridges"), strict=True))
    row = next(i for i, (hit, other) in pairs if hit.doc_id != other.doc_id)
    page.route("**/explain**", answer_with(200, owls.explain("bridges").to_dict()))
    page.get_by_role("button", name="How it was generated").nth(row).click()
    expect(page.locator(f"#generated-{row + 1}")).to_contain_text("The documents have changed")
    page.get_by_role("button", name="Show the whole search as a tree").click()
    expect(page.locator("#tree svg")).to_be_visible()
    expect(page.locator("#tree svg .marked")).to_have_count(0)


def test_the_tree_has_all_prefixes_of_the_explanation_drawn_and_as_a_list(open_page, owls):
    page = open_page()
    search(page)
    open_everything(page)
    nodes = [*walk(owls.explain(QUERY).tree)]
    assert page.locator("#tree svg rect").count() == len(nodes)
    assert page.locator("#tree svg path").count() == len(nodes) - 1
    items = page.locator("#tree li")
    assert items.count() == len(nodes)
    for node, text in zip(nodes[1:], items.all_text_contents()[1:], strict=True):
        assert text.startswith(f"{node.label}: ")
        assert ("pruned: " in text.split(")")[1]) == (node.status == "pruned")
    grey = page.locator("#tree svg g.pruned text").first.evaluate("x => getComputedStyle(x).fill")
    assert max(numbers := [int(x) for x in re.findall(r"\d+", grey)]) - min(numbers) < 25
    assert page.locator("#tree svg g.marked").count() >= 2


def test_errors_of_the_service_are_shown_as_text(open_page):
    page = open_page("/?q=owls&k=5000")
    expect(page.get_by_role("alert")).to_contain_text("k: must be at most 1,000, got 5000")
    expect(page.locator("#results")).to_be_hidden()
    page.get_by_label("Hits").fill("")
    page.route("**/search", lambda route: route.abort())
    page.get_by_label("Your question").press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The service cannot be reached.")
    page.unroute("**/search")
    for body in ({"detail": HOSTILE}, {"detail": [{"msg": HOSTILE}]}, {"error": {"message": HOSTILE}}):
        page.route("**/search", answer_with(422, body))
        page.get_by_label("Your question").press("Enter")
        expect(page.get_by_role("alert")).to_have_text(HOSTILE)
        page.unroute("**/search")
    search(page)
    expect(page.locator("#error")).to_be_hidden()
    page.route("**/explain**", answer_with(503, {"error": "too many searches"}))
    button = page.get_by_role("button", name="How it was generated").first
    button.click()
    expect(page.get_by_role("alert")).to_have_text("too many searches")
    button.click()
    page.unroute("**/explain**")
    button.click()
    expect(page.locator(".generated")).to_be_visible()


def test_a_service_with_a_key_asks_for_it(open_page, owls):
    with running(make_config(owls, api_key="secret")) as (host, port):
        page = open_page("/?q=owls", f"http://{host}:{port}")
        expect(page.get_by_role("alert")).to_contain_text("API key")
        page.get_by_label("API key").fill("secret")
        search(page)
        page.get_by_role("button", name="How it was generated").first.click()
        expect(page.locator(".generated")).to_be_visible()
        page.reload()
        expect(page.locator("#hits > li").first).to_be_visible()


def test_hostile_titles_and_queries_stay_text(open_page, tokenizer):
    retriever = make_owls(tokenizer)
    retriever.table.titles[:] = [HOSTILE] * len(retriever.table)
    with running(make_config(retriever)) as (host, port):
        page = open_page("/", f"http://{host}:{port}")
        search(page, HOSTILE + QUERY)
        open_everything(page)
        assert set(page.locator("#hits h2").all_text_contents()) == {HOSTILE}
        assert page.locator("main img, main script, #results h2 b").count() == 0
        assert page.title().startswith(HOSTILE)


def test_nothing_is_loaded_from_elsewhere(open_page, address):
    page = open_page("about:blank", "")
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    search(page)
    open_everything(page)
    assert {urlsplit(url).path for url in requests if not url.startswith("data:")} >= {"/", "/search", "/explain"}
    assert [url for url in requests if not url.startswith((address + "/", "data:"))] == []
    page.get_by_role("link", name="The API of this service").click()
    expect(page).to_have_url(f"{address}/docs")


@pytest.mark.parametrize("width", [380, 320, 1200])
def test_the_page_never_scrolls_sideways(open_page, width):
    page = open_page(viewport={"width": width, "height": 700}, has_touch=width < 400)
    search(page)
    open_everything(page)
    page.get_by_text("Options").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.locator("button, input, h2, td, th").evaluate_all(
        "all => all.map(x => x.getBoundingClientRect().toJSON())"
    )
    assert min(box["left"] for box in boxes) >= 0
    assert max(box["right"] for box in boxes) <= width


def test_the_page_can_be_used_by_keyboard_alone(open_page):
    page = open_page()
    keyboard = page.keyboard
    expect(page.get_by_label("Your question")).to_be_focused()
    keyboard.type(QUERY)
    keyboard.press("Enter")
    expect(page.locator("#hits > li").first).to_be_visible()
    button = page.get_by_role("button", name="How it was generated").first
    for _ in range(8):
        if button.evaluate("x => x === document.activeElement"):
            break
        keyboard.press("Tab")
    expect(button).to_be_focused()
    assert button.evaluate("x => getComputedStyle(x).outlineStyle") == "solid"
    keyboard.press("Space")
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".generated")).to_be_visible()
    tree = page.get_by_role("button", name="Show the whole search as a tree")
    keyboard.press("Shift+Tab")
    tree.press("Enter")
    expect(page.locator("#tree svg")).to_be_visible()
    keyboard.press("Tab")
    expect(page.locator("#tree .frame")).to_be_focused()  # so that it can be scrolled


def test_everything_has_a_name_for_screen_readers(open_page):
    page = open_page()
    search(page)
    open_everything(page)
    assert page.locator("html").get_attribute("lang") == "en"
    described = page.get_by_role("button", name="How it was generated").first.get_attribute("aria-describedby")
    assert page.locator(f"#{described}").text_content() == page.locator("#hits h2").first.text_content()
    assert page.locator("table").count() == page.locator("caption").count() > 0
    assert page.locator("th:not([scope])").count() == 0
    for role in ("search", "status", "list"):
        expect(page.get_by_role(role).first).to_be_visible()
    unnamed = "x => !x.labels?.length && !x.textContent.trim() && !x.getAttribute('aria-label')"
    assert not any(x.evaluate(unnamed) for x in page.locator("input, button, summary, a, .frame").all())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast_in_light_and_dark(open_page, scheme):
    page = open_page(color_scheme=scheme)
    search(page)
    open_everything(page)
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(back) < 0.05) == (scheme == "dark")
    texts = page.locator("p, small, code, th, td, h2, button, b, strong, summary, svg text, input")
    for text, color, behind in texts.evaluate_all(COLORS):
        assert contrast(color, behind) >= 4.5, (text, color, behind)
