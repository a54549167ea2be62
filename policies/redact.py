"""Secrets out of text, and odd characters into sight: what every sink runs before it shows or keeps anything."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

# Each kind: one pattern whose named group `s`, where present, is the secret part; the rest of the match stays readable.
# `hint` is a literal that every match contains, so that a line without it costs one substring search.
_STRONG: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = (
    ("pem", ("-----BEGIN",),
     re.compile(r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----(?:.*?-----END [A-Z0-9 ]{3,60}-----|.*\Z)")),
    ("azure_connection_string", ("AccountKey", "SharedAccessKey", "accountkey"),
     re.compile(r"(?i)\b(?:AccountKey|SharedAccessKey)\s*=\s*(?P<s>[A-Za-z0-9+/]{20,}={0,2})")),
    ("azure_sas", ("sig=", "sig%3D"), re.compile(r"(?i)(?<![A-Za-z])sig(?:=|%3D)(?P<s>[A-Za-z0-9%+/_-]{20,}={0,2})")),
    ("jwt", ("eyJ",), re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")),
    ("huggingface_token", ("hf_", "api_org_"), re.compile(r"(?<![A-Za-z0-9])(?:hf_|api_org_)[A-Za-z0-9]{20,}")),
    ("aws_access_key", ("AKIA", "ASIA"), re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])")),
    ("aws_secret_key", ("aws_secret", "AWS_SECRET", "SecretAccessKey", "secret_access_key"),
     re.compile(r"(?i)(?:aws_secret(?:_access)?_key|SecretAccessKey)[\"']?\s*[:=]\s*[\"']?(?P<s>[A-Za-z0-9/+=]{40})(?![A-Za-z0-9/+=])")),
    ("anthropic_key", ("sk-ant-",), re.compile(r"(?<![A-Za-z0-9])sk-ant-[A-Za-z0-9_-]{16,}")),
    ("openai_key", ("sk-",), re.compile(r"(?<![A-Za-z0-9_-])sk-(?!ant-)(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}")),
    ("github_token", ("gh", "github_pat_"), re.compile(r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{40,})")),
    ("slack_token", ("xox", "xapp-", "hooks.slack.com"),
     re.compile(r"(?<![A-Za-z0-9])(?:xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|(?<=hooks\.slack\.com/)services/[A-Za-z0-9/]{20,})")),
    ("google_key", ("AIza",), re.compile(r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{35}")),
    ("bearer", ("earer ", "EARER "), re.compile(r"(?i)\bbearer\s+(?P<s>[A-Za-z0-9._~+/-]{16,}=*)")),
    ("url_password", ("://",), re.compile(r"(?<=://)[^\s/:@]{0,64}:(?P<s>[^\s/@]{3,})(?=@)")),
)
_WEAK = re.compile(
    r"(?i)(?P<head>(?<![a-z0-9<])[a-z0-9_.-]{0,40}(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|account[_-]?key|auth[_-]?token|access[_-]?token|client[_-]?secret)"
    r"[\"']?\s{0,3}[:=]\s{0,3})(?P<q>[\"']?)(?P<s>(?!<)[^\s\"',;&}]{4,})"
)
_WEAK_HINT = re.compile(r"(?i)passw|passphrase|secret|[_-]?key|token")
_BARE_AZURE_KEY = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86}==(?![A-Za-z0-9+/=])")


def looks_secret(text: str) -> str | None:
    """The kind of secret that `text` carries, when it certainly carries one; else None. Words about secrets are none."""
    for kind, hints, pattern in _STRONG:
        if any(hint in text for hint in hints) and pattern.search(text):
            return kind
    return "azure_storage_key" if "==" in text and _BARE_AZURE_KEY.search(text) else None


def redact(text: str) -> str:
    """`text` with every secret of a known kind replaced by `<secret: kind>`; assignments to password-like names too."""
    for kind, hints, pattern in _STRONG:
        if any(hint in text for hint in hints):
            text = pattern.sub(lambda found, kind=kind: _placed(found, kind), text)
    if "==" in text:
        text = _BARE_AZURE_KEY.sub("<secret: azure_storage_key>", text)
    if _WEAK_HINT.search(text):
        text = _WEAK.sub(lambda found: f"{found['head']}{found['q']}<secret: value>", text)
    return text


def _placed(found: re.Match[str], kind: str) -> str:
    mark = f"<secret: {kind}>"
    if "s" not in found.re.groupindex:
        return mark
    start, end = found.span("s")
    return found.string[found.start():start] + mark + found.string[end:found.end()]


def secret_in(value: Any) -> str | None:
    """The kind of the first secret anywhere in a JSON value, keys included; None when there is none."""
    match value:
        case str():
            return looks_secret(value)
        case Mapping():
            return next((kind for pair in value.items() for part in pair if (kind := secret_in(part))), None)
        case list() | tuple():
            return next((kind for part in value if (kind := secret_in(part))), None)
        case _:
            return None


def redact_value(value: Any) -> Any:
    """A JSON value with every text in it redacted, keys included."""
    match value:
        case str():
            return redact(value)
        case Mapping():
            return {redact(str(key)): redact_value(part) for key, part in value.items()}
        case list() | tuple():
            return [redact_value(part) for part in value]
        case _:
            return value


def visible(text: str) -> str:
    """`text` with every control, format (bidi, zero-width), private, unassigned and surrogate character shown as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(one) for one in text)


def _shown(one: str) -> str:
    if one == "\n":
        return "\\n"
    if one == "\t":
        return "\\t"
    category = unicodedata.category(one)
    if category[0] == "C" or (category[0] == "Z" and one != " ") or one in _INVISIBLE:
        return f"\\u{{{ord(one):x}}}"
    return one


# Letters and marks by category that show nothing: fillers, the combining joiner, variation selectors.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}
