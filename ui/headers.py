"""What the browser is allowed to do: the content security policy of a page as it is served, and the cookies' flags."""

import base64
import hashlib
import re

_REMOTE = re.compile(r"<(?:link|meta)\b[^>]*?(?:href|content)=\"https?://[^>]*>\s*", re.IGNORECASE)
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL | re.IGNORECASE)
_FLAGS = {"secure", "httponly"}


def without_remote(page: str) -> str:
    """The page without anything that makes a browser ask, or names, another host: fonts, style sheets, preview pictures."""
    return _REMOTE.sub("", page)


def script_hashes(page: str) -> tuple[str, ...]:
    """The CSP sources of the page's inline scripts, which change with the theme."""
    return tuple(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in _INLINE.findall(page)
    )


def policy(scripts: tuple[str, ...] = ()) -> str:
    """The content security policy. `unsafe-eval` compiles Chainlit's custom elements: without it no approval card shows."""
    return "; ".join((
        "default-src 'self'",
        " ".join(("script-src 'self' 'unsafe-eval'", *scripts)),
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ))


def safe_headers(*, https: bool) -> list[tuple[bytes, bytes]]:
    """The headers that every answer bears."""
    found = [
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),  # without any, a browser calls our own forms' origin null
        (b"x-frame-options", b"DENY"),
        (b"cross-origin-opener-policy", b"same-origin"),
    ]
    return [*found, (b"strict-transport-security", b"max-age=31536000")] if https else found


def safe_cookie(value: str, *, https: bool) -> str:
    """A `Set-Cookie` value as HttpOnly and SameSite=Lax, Secure exactly when the page came by https.

    Always Secure would break plain clients on 127.0.0.1; Strict would sign out whoever follows a link from a chat tool.
    """
    parts = [part.strip() for part in value.split(";")]
    kept = [part for part in parts if part.lower() not in _FLAGS and not part.lower().startswith("samesite")]
    return "; ".join([*kept, "HttpOnly", "SameSite=Lax", *(["Secure"] if https else [])])
