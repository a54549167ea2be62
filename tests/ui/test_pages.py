"""Our own pages."""

from ui.pages.plain import Pages, flat, panels


def test_a_message_says_what_to_do_and_escapes_everything():
    page = Pages().message("<b>title</b>", "text & more", "python -m ui link")
    assert "&lt;b&gt;title" in page and "text &amp; more" in page and "python -m ui link" in page
    assert "http:" not in page and "https:" not in page and page.count("<script") == 1, "one script of ours, that takes the chat's theme"


def test_nested_facts_become_rows():
    assert flat({"a_b": 1, "c": {"d": [], "e": ["x", 2]}, "f": None}) == [("a b", "1"), ("c d", "–"), ("c e", "x, 2"), ("f", "–")]
    assert flat({"a": True, "b": [{"x": 1, "y": 2}]}) == [("a", "yes"), ("b", "1 2")]
    assert flat({"disk_free_bytes": 1024**3, "age_s": 90, "note": None}) == [("disk free", "1.0 GiB"), ("age", "2 min"), ("note", "–")]
    assert panels({"a": 1, "the_policy": {"b": 2}}) == [("", [("a", "1")]), ("The policy", [("b", "2")])]
    assert "solo mode" in Pages().status("solo mode", {"home": "/h"})
