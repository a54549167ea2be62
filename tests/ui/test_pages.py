"""Our own pages."""

from ui.pages.plain import Pages, flat


def test_a_message_says_what_to_do_and_escapes_everything():
    page = Pages().message("<b>title</b>", "text & more", "python -m ui link")
    assert "&lt;b&gt;title" in page and "text &amp; more" in page and "python -m ui link" in page
    assert "http" not in page.replace("</html>", "") and "<script" not in page


def test_nested_facts_become_rows():
    assert flat({"a_b": 1, "c": {"d": [], "e": ["x", 2]}, "f": None}) == [("a b", "1"), ("c d", "–"), ("c e", "x, 2"), ("f", "–")]
    assert "solo mode" in Pages().status("solo mode", {"home": "/h"})
