"""Writes helpdesk.jsonl: a made-up ticket goes in, three labels come out; and a few rows in every other format. The same bytes every time.

Run `python samples/make_helpdesk.py`. Training and test rows are composed from separate pools: they share no sentence
template, no device, no place, no person and no phrase of urgency, so that a good score on the test rows means that the task was
learned and not the rows.
"""

import csv
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEED = 20
TRAIN_ROWS = 336
TEST_ROWS = 72
FORMAT_ROWS = 24
SYSTEM = "Reply with category, priority and site."
FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Pools:
    """What the rows of one side are made of."""

    things: dict[str, tuple[str, ...]]
    """Category → what the ticket is about."""
    openings: tuple[str, ...]
    """Templates with {thing} and {site}, some with {person}."""
    urgency: dict[str, tuple[str, ...]]
    """Priority → the sentence that says so."""
    sites: tuple[str, ...]
    people: tuple[str, ...]


TRAIN = Pools(
    things={
        "network": ("wifi", "VPN", "internet connection", "router", "wireless signal", "LAN cable", "broadband line", "office network"),
        "printing": ("printer", "toner", "photocopier", "paper tray", "print queue", "ink cartridge", "label printer", "duplex printing"),
        "account": ("password", "login", "user account", "sign-in code", "access badge", "username", "locked account", "PIN"),
        "software": ("spreadsheet program", "email app", "antivirus update", "web browser", "calendar app", "accounting software",
                     "chat program", "PDF reader"),
        "hardware": ("laptop screen", "keyboard", "mouse", "docking station", "monitor", "battery", "headset", "power adapter"),
    },
    openings=(
        "We have trouble with the {thing} in {site}.",
        "{person} from {site} reports a problem with the {thing}.",
        "The {thing} at our {site} branch needs attention.",
        "Please look at the {thing}, {site} office.",
        "Since this morning the {thing} fails in {site}.",
        "{site}: something is wrong with the {thing}.",
        "Hello, {person} here, the {thing} stopped working in {site}.",
        "Help needed in {site} because of the {thing}.",
        "My {thing} is faulty, I sit in {site}.",
        "Colleagues in {site} complain about the {thing}.",
        "A question on the {thing} for the {site} team.",
        "{person} cannot use the {thing} in {site} any more.",
    ),
    urgency={
        "high": (
            "This is urgent.", "Nobody can work.", "We need help immediately.", "Please hurry!", "Everything has come to a halt.",
            "It must be solved right now.", "Customers are waiting, act fast.", "It is an emergency.",
            "We are losing money every minute.", "Top priority, please.", "The shop stays closed until it works.",
            "We cannot wait a minute longer.", "Drop everything else.", "Production has stopped.",
        ),
        "low": (
            "There is no hurry.", "Any time next week is fine.", "It can wait.", "Just a small thing.", "Not urgent at all.",
            "Take your time.", "Whenever you are free.", "We can live with it for now.",
            "It is only a minor annoyance.", "Low priority, please.", "Later is perfectly fine.",
            "By the end of the quarter is early enough.", "It does not disturb our work.", "Do it in a quiet moment.",
        ),
    },
    sites=(
        "Leeds", "Porto", "Turin", "Graz", "Lyon", "Bergen", "Aarhus", "Bilbao", "Dresden", "Geneva", "Krakow", "Malaga", "Nantes",
        "Odense", "Perth", "Quebec", "Riga", "Seville", "Tampere", "Utrecht", "Verona", "Warsaw", "York", "Zagreb", "Boston", "Denver",
        "Houston", "Memphis", "Oakland", "Phoenix", "Cairo", "Nairobi", "Lima", "Osaka", "Delhi", "Hanoi", "Basel", "Cork", "Dublin",
        "Essen",
    ),
    people=(
        "Maria", "Tom", "Aisha", "Peter", "Lena", "Omar", "Julia", "Chen", "Ivan", "Grace", "Paul", "Nina", "Hugo", "Sara", "Emil",
        "Rosa",
    ),
)

TEST = Pools(
    things={
        "network": ("ethernet port", "network switch", "hotspot", "firewall", "modem"),
        "printing": ("inkjet", "print server", "laser print", "colour printouts", "copier"),
        "account": ("passcode", "multi-factor authentication", "account permissions", "credentials", "user profile"),
        "software": ("word processor", "mail client", "database application", "drawing program", "video app"),
        "hardware": ("touchpad", "webcam", "desktop computer", "charger", "loudspeaker"),
    },
    openings=(
        "Could someone check what happened to the {thing}? I am based in {site}.",
        "Yesterday {person} told me that {site} struggles with the {thing}.",
        "Ticket from {site}: {thing} broken again.",
        "Here in {site} every second attempt with the {thing} ends in an error.",
        "I am {person}, calling from {site} about the failing {thing}.",
        "Can you send a technician to {site}? It concerns the {thing}.",
    ),
    urgency={
        "high": (
            "It is critical, answer at once.", "The whole team is blocked.", "We require a fix as soon as possible.",
            "All business is standing still.", "Every second counts.",
        ),
        "low": (
            "No rush with this one.", "Some day this month would do.", "Feel free to handle it later.", "It hardly bothers us.",
            "Nothing pressing.",
        ),
    },
    sites=(
        "Oslo", "Madrid", "Vienna", "Prague", "Hamburg", "Bristol", "Chicago", "Seattle", "Lisbon", "Athens", "Milan", "Toronto",
        "Sydney", "Berlin", "Helsinki", "Dallas",
    ),
    people=("Anna", "David", "Fatima", "George", "Karin", "Luis", "Olga", "Victor"),
)


def make_rows() -> list[dict]:
    """All rows, training rows first."""
    return [*compose(TRAIN, TRAIN_ROWS, "train", random.Random(SEED)), *compose(TEST, TEST_ROWS, "test", random.Random(SEED + 1))]


def compose(pools: Pools, wanted: int, split: str, rng: random.Random) -> Iterator[dict]:
    """`wanted` rows that are balanced over category and priority, none of them a near-duplicate of another."""
    labels = [(category, priority) for category in pools.things for priority in pools.urgency]
    seen: list[frozenset[tuple[str, ...]]] = []
    openings, sites = Deck(pools.openings, rng), Deck(pools.sites, rng)
    things = {category: Deck(pool, rng) for category, pool in pools.things.items()}
    urgency = {priority: Deck(pool, rng) for priority, pool in pools.urgency.items()}
    while len(seen) < wanted:
        category, priority = labels[len(seen) % len(labels)]
        site = sites.draw()
        problem = openings.draw().format(thing=things[category].draw(), site=site, person=rng.choice(pools.people))
        ticket = f"{problem} {urgency[priority].draw()}"
        shingles = trigrams(ticket)
        if any(len(shingles & other) >= 0.5 * len(shingles | other) for other in seen):
            continue
        seen.append(shingles)
        yield {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": ticket},
                {"role": "assistant", "content": f"{category} | {priority} | {site}"},
            ],
            "split": split,
        }


class Deck:
    """Draws from a pool without putting back, and shuffles anew when it is empty: every card comes up equally often."""

    def __init__(self, pool: tuple[str, ...], rng: random.Random) -> None:
        self.pool, self.rng, self.left = pool, rng, list[str]()

    def draw(self) -> str:
        """The next card."""
        if not self.left:
            self.left = self.rng.sample(self.pool, len(self.pool))
        return self.left.pop()


def trigrams(text: str) -> frozenset[tuple[str, ...]]:
    """The word 3-grams of a text, in lower case and without punctuation."""
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def make_formats() -> dict[str, str]:
    """File name → content: the same few tickets in every format that validate_dataset knows."""
    rows = [row["messages"] for row in compose(TRAIN, FORMAT_ROWS, "train", random.Random(SEED + 2))]
    pairs = [(ticket["content"], answer["content"]) for _, ticket, answer in rows]
    speakers = {"system": "system", "user": "human", "assistant": "gpt"}
    return {
        "chat.jsonl": json_lines([{"messages": row} for row in rows]),
        "chat.json": json.dumps([{"messages": row} for row in rows], indent=1) + "\n",
        "sharegpt.jsonl": json_lines(
            [{"conversations": [{"from": speakers[m["role"]], "value": m["content"]} for m in row]} for row in rows]
        ),
        "instruction.jsonl": json_lines([{"instruction": SYSTEM, "input": ticket, "output": answer} for ticket, answer in pairs]),
        "prompt.jsonl": json_lines([{"prompt": ticket, "completion": answer} for ticket, answer in pairs]),
        "question.jsonl": json_lines([{"question": ticket, "answer": answer} for ticket, answer in pairs]),
        "text.jsonl": json_lines([{"text": f"{ticket} {answer}"} for ticket, answer in pairs]),
        "text.txt": "".join(f"{ticket} {answer}\n" for ticket, answer in pairs),
        "labelled.csv": table(("text", "label"), [(ticket, answer.split(" | ")[0]) for ticket, answer in pairs], ","),
        "labelled.tsv": table(("prompt", "completion"), pairs, "\t"),
        "preference.jsonl": json_lines([{"prompt": ticket, "chosen": answer, "rejected": "I do not know."} for ticket, answer in pairs]),
    }


def json_lines(rows: list[dict]) -> str:
    """One object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(header: tuple[str, str], rows: list[tuple[str, str]], delimiter: str) -> str:
    """A table with a first line of names."""
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator="\n").writerows([header, *rows])
    return written.getvalue()


def main(folder: Path = FOLDER) -> None:
    """Write all files below a folder."""
    (folder / "formats").mkdir(parents=True, exist_ok=True)
    (folder / "helpdesk.jsonl").write_bytes(json_lines(make_rows()).encode())
    for name, content in make_formats().items():
        (folder / "formats" / name).write_bytes(content.encode())


if __name__ == "__main__":
    main()
