"""What the browser is allowed to do."""

import base64
import hashlib

import pytest

from ui.headers import policy, safe_cookie, safe_headers, script_hashes, without_remote

PAGE = """<head><meta property="og:image" content="https://elsewhere.invalid/a.png">
<link rel="preconnect" href="https://fonts.invalid" crossorigin />
<link
  href="https://fonts.invalid/css2?family=Inter"
  rel="stylesheet"
/><link rel="icon" href="/favicon" /><link rel="stylesheet" crossorigin href="/assets/index.css">
<script>window.theme = {"a": 1};</script><script type="module" src="/assets/index.js"></script></head>"""


def test_nothing_of_the_page_names_another_host():
    page = without_remote(PAGE)
    assert "https://" not in page
    assert 'href="/favicon"' in page and "/assets/index.css" in page and "/assets/index.js" in page


def test_every_inline_script_is_allowed_by_its_hash_and_no_other():
    digest = base64.b64encode(hashlib.sha256(b'window.theme = {"a": 1};').digest()).decode()
    assert script_hashes(PAGE) == (f"'sha256-{digest}'",)
    assert "'unsafe-inline'" not in policy(script_hashes(PAGE)).split("style-src")[0]


def test_the_policy_lets_custom_elements_compile_and_closes_pictures_and_frames():
    text = policy()
    assert "script-src 'self' 'unsafe-eval'" in text
    assert "img-src 'self' data: blob:" in text and "frame-ancestors 'none'" in text and "connect-src 'self'" in text


@pytest.mark.parametrize("https", [False, True])
def test_a_cookie_is_http_only_and_lax_and_secure_exactly_with_https(https: bool):
    flags = safe_cookie("a=b; Path=/; SameSite=None; Secure; Max-Age=10", https=https).split("; ")
    assert flags[:3] == ["a=b", "Path=/", "Max-Age=10"]
    assert "HttpOnly" in flags and "SameSite=Lax" in flags and ("Secure" in flags) is https
    assert (b"strict-transport-security" in dict(safe_headers(https=https))) is https
