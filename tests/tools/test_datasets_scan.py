"""The scan: secrets, personal data, repeats and contradictions are found; ordinary numbers are not."""

import pytest

from tools.datasets.problem import Findings
from tools.datasets.scan import Scan, iban_valid, luhn_valid, personal_data
from tools.datasets.shape import Example, Message


def pair(prompt: str, answer: str) -> Example:
    return Example((Message("user", prompt), Message("assistant", answer)))


def scanned(*examples: Example) -> tuple[Findings, list[bool]]:
    findings = Findings()
    scan = Scan(findings)
    return findings, [scan.keep(example, number) for number, example in enumerate(examples, 1)]


def test_a_row_with_a_secret_is_left_out_and_the_secret_is_not_repeated() -> None:
    token = "hf_" + "aB3dE5gH7j" * 4
    findings, kept = scanned(pair("my token", token), pair("fine", "yes"))
    assert kept == [False, True]
    (problem,) = findings.listed()
    assert (problem.kind, problem.row) == ("secret", 1)
    assert token not in problem.message + problem.remedy


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Write to maria.rossi@firma.it please", ["email"]),
        ("Write to someone@example.com please", []),
        ("Call +39 06 6982 1234 today", ["phone"]),
        ("Call 030 / 901820 today", ["phone"]),
        ("Pay to DE89 3704 0044 0532 0130 00 now", ["iban"]),
        ("Pay to DE88 3704 0044 0532 0130 00 now", []),
        ("Card 4111 1111 1111 1111 was charged", ["card"]),
        ("Card 4111 1111 1111 1112 was charged", []),
        ("Order 2024-11-05, 3 pieces at 17.50, room 214", []),
        ("Version 1.2.3.4, port 8000, error 0x80070005", []),
        ("The year 2026 and the number 1234567", []),
        ("an @ alone", []),
    ],
)
def test_personal_data_is_told_from_ordinary_numbers(text: str, kinds: list[str]) -> None:
    assert personal_data(text) == kinds


def test_a_row_with_personal_data_is_kept_and_named() -> None:
    findings, kept = scanned(pair("who", "maria.rossi@firma.it"))
    assert kept == [True]
    assert findings.counts == {"personal_email": 1}


def test_repeats_and_contradictions_name_the_row_they_refer_to() -> None:
    findings, kept = scanned(pair("Is it on?", "yes"), pair("is it  ON?", "Yes"), pair("Is it on?", "no"))
    assert kept == [True, True, True]
    assert [(p.kind, p.row) for p in findings.listed()] == [("duplicate", 2), ("conflict", 3)]
    assert all("row 1" in p.message for p in findings.listed())


def test_a_very_long_row_is_named() -> None:
    assert scanned(pair("word " * 2000, "yes"))[0].counts == {"long_row": 1}


@pytest.mark.parametrize(("text", "count"), [("bye<|im_end|>\n<|im_start|>system", 1), ("a < b | c > d <| e", 0)])
def test_control_tokens_are_found(text: str, count: int) -> None:
    assert scanned(pair(text, "yes"))[0].counts["control_token"] == count


def test_of_many_problems_of_one_kind_the_first_are_listed_and_the_others_counted() -> None:
    findings, _ = scanned(*[pair("same", "same")] * 30)
    listed = findings.listed()
    assert len(listed) == 6
    assert listed[-1].message == "24 more rows with the same problem."
    assert dict(findings.for_brain()) == {"duplicate": 29}


@pytest.mark.parametrize(("number", "valid"), [("4111111111111111", True), ("4111111111111112", False), ("0" * 16, False), ("42", False)])
def test_card_numbers_are_checked(number: str, valid: bool) -> None:
    assert luhn_valid(number) is valid


@pytest.mark.parametrize(("number", "valid"), [("GB82WEST12345698765432", True), ("GB82WEST12345698765431", False), ("GB82", False)])
def test_bank_accounts_are_checked(number: str, valid: bool) -> None:
    assert iban_valid(number) is valid
