"""Looks through a dataset's rows for secrets, personal data, repeats, contradictions and rows that are too long."""

import hashlib
import re

from policies.redact import looks_secret
from tools.datasets.problem import Findings, Problem
from tools.datasets.shape import Example

LONG_CHARACTERS = 8000
"""About 2000 tokens: more than small models are tuned on here."""
CONTROL = re.compile(r"<\|([A-Za-z0-9_ ]{1,40})\|>")
"""Control tokens of chat templates; inside a row they would end a turn, so the engine keeps them from being read as such."""
EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}")
PHONE = re.compile(r"(?<![\w.,-])(?<!\d )(?:\+\d{1,3}[ /.-]?|0)(?:\(?\d{2,5}\)?(?: ?[/.-] ?| )?){2,4}\d{2,4}(?![\w-])")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
SAMPLE_MAIL = re.compile(r"@(?:[\w-]+\.)*example\.(?:com|org|net)$|\.(?:example|invalid|test)$", re.IGNORECASE)


class Scan:
    """Sees the rows one after the other and keeps hashes, never texts."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._answers: dict[bytes, tuple[int, bytes]] = {}

    def keep(self, example: Example, number: int) -> bool:
        """Look at one row; False when it is to be left out."""
        words = "\n".join(m.content for m in example.messages) or example.text
        if looks_secret(words):
            self._warn("secret", number, "holds what looks like a password, key or token; it is left out",
                       "Remove it: a model repeats what it has learned. If the secret is real, replace it where it is used.")
            return False
        for kind in personal_data(words):
            self._warn(f"personal_{kind}", number, f"holds what looks like {NAMES[kind]}",
                       "Remove or replace personal data unless you may train on it.")
        if len(words) > LONG_CHARACTERS:
            self._warn("long_row", number, f"has {len(words)} characters; a run may leave it out",
                       "Shorten or split rows above about 2000 tokens.")
        if CONTROL.search(words):
            self._warn("control_token", number, "holds a control token of chat templates; a run reads it as plain text",
                       "Remove it if it came from an export of rendered chats.")
        self._compare(example, number)
        return True

    def _compare(self, example: Example, number: int) -> None:
        prompt = hashlib.blake2b(_normal(example.prompt).encode(), digest_size=16).digest()
        answer = hashlib.blake2b(_normal(example.answer).encode(), digest_size=16).digest()
        first = self._answers.setdefault(prompt, (number, answer))
        if first[0] == number:
            return
        if first[1] == answer:
            self._warn("duplicate", number, f"repeats row {first[0]}", "Remove repeats: they teach nothing new and weigh double.")
        else:
            self._warn("conflict", number, f"asks the same as row {first[0]} and gives another answer",
                       "Decide which answer is right and keep that one.")

    def _warn(self, kind: str, number: int, what: str, remedy: str) -> None:
        self._findings.add(Problem("warning", kind, f"Row {number} {what}.", remedy, number))


NAMES = {"email": "an e-mail address", "phone": "a telephone number", "iban": "a bank account (IBAN)", "card": "a payment card number"}


def personal_data(text: str) -> list[str]:
    """Kinds of personal data that a text seems to hold: email, phone, iban, card; checksums are verified where there are any."""
    found: list[str] = []
    if "@" in text and any(not SAMPLE_MAIL.search(match.group()) for match in EMAIL.finditer(text)):
        found.append("email")
    ibans = [match.group() for match in IBAN.finditer(text) if iban_valid(match.group())]
    if ibans:
        found.append("iban")
    cards = [match.group() for match in CARD.finditer(text) if luhn_valid(match.group())]
    if cards:
        found.append("card")
    for known in (*ibans, *cards):
        text = text.replace(known, " ")
    if any(8 <= sum(c.isdigit() for c in match.group()) <= 15 for match in PHONE.finditer(text)):
        found.append("phone")
    return found


def luhn_valid(number: str) -> bool:
    """Whether a card number's check digit fits (ISO/IEC 7812-1, annex B)."""
    digits = [int(c) for c in number if c.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def iban_valid(number: str) -> bool:
    """Whether an IBAN's check digits fit (ISO 13616: the rearranged number is 1 modulo 97)."""
    plain = number.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _normal(text: str) -> str:
    return " ".join(text.lower().split())
