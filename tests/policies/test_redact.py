"""Secrets out of text, odd characters into sight."""

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.redact import looks_secret, redact, redact_value, secret_in, visible

KEY64 = base64.b64encode(bytes(range(64))).decode()
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\nabc\n-----END RSA PRIVATE KEY-----"

STRONG = [
    ("huggingface_token", "hf_" + "AbCdEfGhIj" * 3 + "1234"),
    ("huggingface_token", "api_org_" + "AbCdEfGhIj" * 3),
    ("aws_access_key", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("aws_access_key", "ASIA" + "IOSFODNN7EXAMPLE"),
    ("aws_secret_key", "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("jwt", JWT),
    ("azure_connection_string", f"DefaultEndpointsProtocol=https;AccountName=x;AccountKey={KEY64};EndpointSuffix=core.windows.net"),
    ("azure_connection_string", f"Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=a;SharedAccessKey={KEY64[:43]}="),
    ("azure_storage_key", KEY64),
    ("azure_sas", "https://x.blob.core.windows.net/c?sv=2024-01-01&sig=" + "aB3%2Fd" * 6 + "%3D&se=2027"),
    ("pem", PEM),
    ("pem", PEM[:60]),
    ("pem", PEM.replace("RSA ", "ENCRYPTED ")),
    ("slack_token", "xoxb-" + "1234567890-abcdefghij"),
    ("slack_token", "https://hooks.slack.com/" + "services/T0000/B0000/" + "x" * 24),
    ("openai_key", "sk-" + "proj-" + "a1B2" * 10),
    ("anthropic_key", "sk-ant-" + "api03-" + "a1B2" * 10),
    ("github_token", "ghp_" + "a1B2" * 9),
    ("github_token", "github_pat_" + "a1B2" * 12),
    ("google_key", "AIza" + "a1B2c" * 7),
    ("bearer", "Authorization: Bearer " + "a1B2c3D4" * 4),
    ("url_password", "postgresql://luthier:hunter22@db/book"),
]
WEAK = [
    'password=hunter22', '"password": "hunter22"', "PASSWORD : hunter22", "db_password='hunter22'", "api_key=hunter22",
    "client_secret=hunter22", "AZURE_OPENAI_API_KEY=hunter22", "access_token=hunter22",
]
HARMLESS = [
    "How do I reset my password?", "The secret of good soup is patience.", "sk-learn and scikit-learn are the same",
    "run:4k2j8m9qxz", "helpdesk@3f2a91c0", "a" * 100, "0123456789abcdef" * 4, "loss=0.123 eval_loss=0.2", "hf_hub_download",
    "HuggingFaceTB/SmolLM2-135M-Instruct", "https://example.org/a?b=c", "tokens=512 max_tokens: 200", "key: value", "Bearer of bad news",
    "-----BEGIN", "eyJ", "the ratio 3://4", "gh_pages", "disk-sk-a",
]


@pytest.mark.parametrize(("kind", "text"), STRONG, ids=[f"{index} {kind}" for index, (kind, _) in enumerate(STRONG)])
def test_a_secret_is_found_and_removed_wherever_it_stands(kind: str, text: str) -> None:
    assert looks_secret(text) == kind
    for around in (text, f"before {text} after", f"x={text}", f'"{text}"', f"line one\n{text}\nline three"):
        said = redact(around)
        assert looks_secret(said) is None and "<secret: " in said
        assert redact(said) == said
    assert secret_in({"a": [1, {"b": text}]}) == kind and secret_in({text: None}) == kind


def test_what_stands_around_a_secret_stays_readable() -> None:
    assert redact(f"AccountName=x;AccountKey={KEY64};End=y") == "AccountName=x;AccountKey=<secret: azure_connection_string>;End=y"
    assert redact("postgresql://luthier:hunter22@db/book") == "postgresql://luthier:<secret: url_password>@db/book"
    assert redact(f"a {PEM} z") == "a <secret: pem> z"


@pytest.mark.parametrize("text", WEAK)
def test_the_value_of_a_password_like_name_is_removed_from_logs(text: str) -> None:
    assert "hunter22" not in redact(text) and redact(redact(text)) == redact(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert looks_secret(text) is None and redact(text) == text


def test_a_value_is_redacted_throughout_and_keeps_its_shape() -> None:
    token = STRONG[0][1]
    assert redact_value({"a": [token, 1, None, True, 1.5], token: {}}) == {
        "a": ["<secret: huggingface_token>", 1, None, True, 1.5], "<secret: huggingface_token>": {}}


@pytest.mark.parametrize(("text", "shown"), [
    ("plain text, ÄÖÜ 漢字 🎻", "plain text, ÄÖÜ 漢字 🎻"),
    ("a\u202eb", "a\\u{202e}b"), ("a\u2066b", "a\\u{2066}b"), ("a\u200bb", "a\\u{200b}b"), ("a\ufeffb", "a\\u{feff}b"),
    ("a\x1b[31mb", "a\\u{1b}[31mb"), ("a\nb\tc\rd", "a\\nb\\tc\\u{d}d"), ("a\u00a0b", "a\\u{a0}b"), ("a\u2028b", "a\\u{2028}b"),
    ("a\x00b", "a\\u{0}b"), ("\ud800", "\\u{d800}"),
    ("a\U000e0041b", "a\\u{e0041}b"), ("a\u3164b", "a\\u{3164}b"), ("a\ufe0fb", "a\\u{fe0f}b"),
])
def test_characters_that_are_not_plainly_visible_are_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_no_text_breaks_the_redactor_and_a_second_pass_changes_nothing(text: str) -> None:
    once = redact(text)
    assert redact(once) == once and all(ord(one) >= 32 for one in visible(text))


@pytest.mark.parametrize("text", [
    "a" * 200_000, "password" * 20_000, "=" * 200_000, "eyJ" * 60_000, "-----BEGIN " * 15_000, "a." * 90_000, "://" * 60_000, " " * 200_000,
    "password:" + " " * 100_000, "sig=" * 50_000, "Bearer " * 30_000, "sk-" * 60_000, "A" * 86 + "=" * 100_000, "_key" * 50_000,
], ids=range(14))
def test_no_text_makes_the_redactor_slow(text: str) -> None:
    began = time.process_time()
    redact(text)
    looks_secret(text)
    assert time.process_time() - began < 2


def test_a_log_line_costs_microseconds() -> None:
    line = '{"t": 1764000000.1, "kind": "step", "step": 12, "steps": 60, "loss": 1.234, "tokens_per_s": 512.3}'
    began = time.process_time()
    for _ in range(2000):
        redact(line)
    assert (time.process_time() - began) / 2000 < 200e-6
