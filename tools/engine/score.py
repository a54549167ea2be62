"""A model on held-out rows: it answers each by greedy decoding, and its loss on the wanted answers is measured."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools.engine import environment
from tools.engine.data import Question, Renderer, read_rows
from tools.engine.failure import EngineFailed
from tools.engine.folders import write_json
from tools.engine.served import Served
from tools.engine.spec import Score, ScoreSpec

SLACK = 8
"""Tokens that an answer may run past the wanted one before it is cut: it can't match any more."""
ANSWER_BATCH = 20
LOSS_BATCH = 4

Report = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one held-out row."""

    row: int
    wanted: str
    answer: str
    match: bool
    loss: float | None


@dataclass(frozen=True, slots=True)
class Scored:
    """A score and the answers it sums up."""

    score: Score
    answers: tuple[Answer, ...]


def same(answer: str, wanted: str) -> bool:
    """Word for word, blanks at the ends aside."""
    return answer.strip() == wanted.strip()


def questions(renderer: Renderer, path: Path, rows: int, context: int) -> list[Question]:
    """The first `rows` held-out rows whose prompt and answer fit into `context` tokens; a text row asks for all but its first token."""
    found: list[Question] = []
    for row in read_rows(path):
        if len(found) >= rows:
            break
        if "messages" in row:
            question = renderer.question(row)
        else:
            ids = renderer.encode(row).ids
            question = Question(ids[:1], ids[1:], (), "")
        if question is not None and question.answer_ids and len(question.prompt_ids) + len(question.answer_ids) <= context:
            found.append(question)
    if not found:
        raise EngineFailed("data", f"None of the held-out rows in {path.name} can be scored. Give the dataset rows that end in an answer.")
    return found


def _batches(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for at in range(0, len(indices), size):
        yield indices[at : at + size]


def _left_padded(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Any, Any]:
    """Ids and attention mask, padded on the left so that all rows end together."""
    import torch

    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


def answer_losses(model: Any, asked: Sequence[Question], pad: int, report: Report) -> list[tuple[float, int]]:
    """Summed cross-entropy in nats and the number of tokens of each wanted answer; logits are made for the answers alone."""
    import torch

    out: dict[int, tuple[float, int]] = {}
    order = sorted(range(len(asked)), key=lambda at: len(asked[at].prompt_ids) + len(asked[at].answer_ids))
    for batch in _batches(order, LOSS_BATCH):
        rows = [[*asked[at].prompt_ids, *asked[at].answer_ids] for at in batch]
        ids, mask = _left_padded(rows, pad, model.device)
        longest = max(len(asked[at].answer_ids) for at in batch)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=longest + 1, use_cache=False).logits
            for at, row, told in zip(batch, ids, logits, strict=True):
                count = len(asked[at].answer_ids)
                loss = torch.nn.functional.cross_entropy(told[-count - 1 : -1].float(), row[-count:], reduction="sum")
                out[at] = (float(loss), count)
        report("measuring the loss", len(out) / len(asked))
    return [out[at] for at in range(len(asked))]


def answers_of(model: Any, renderer: Renderer, asked: Sequence[Question], limit: int, pad: int, report: Report) -> list[str]:
    """Greedy answers, batched by length of the wanted answer; each is cut `SLACK` tokens after the longest wanted one of its batch."""
    import torch

    out: dict[int, str] = {}
    order = sorted(range(len(asked)), key=lambda at: (len(asked[at].answer_ids), len(asked[at].prompt_ids)))
    for batch in _batches(order, ANSWER_BATCH):
        ids, mask = _left_padded([asked[at].prompt_ids for at in batch], pad, model.device)
        tokens = min(limit, max(len(asked[at].answer_ids) for at in batch) + SLACK)
        with torch.inference_mode():
            made = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False, num_beams=1, pad_token_id=pad, use_cache=True
            )
        for at, row in zip(batch, made[:, ids.shape[1] :].tolist(), strict=True):
            out[at] = renderer.decode(row)
        report("answering", len(out) / len(asked))
    return [out[at] for at in range(len(asked))]


def summed(asked: Sequence[Question], said: Sequence[str], losses: Sequence[tuple[float, int]] | None, label: Score) -> Scored:
    """Put answers and losses together under `label`, whose numbers are filled in."""
    answers = tuple(
        Answer(at, q.answer, text, bool(q.answer) and same(text, q.answer), losses[at][0] / losses[at][1] if losses else None)
        for at, (q, text) in enumerate(zip(asked, said, strict=True))
    )
    mean = sum(loss for loss, _ in losses) / sum(count for _, count in losses) if losses else None
    share = sum(answer.match for answer in answers) / len(answers)
    return Scored(label.model_copy(update={"rows": len(answers), "exact_match": share, "loss": mean}), answers)


def score_model(
    model: Any, renderer: Renderer, asked: Sequence[Question], limit: int, label: Score, report: Report = lambda *_: None
) -> Scored:
    """Score a loaded transformers model. The speed is left out: batched answers can't be compared with one person's question."""
    pad = renderer.tokenizer.pad_token_id
    pad = renderer.tokenizer.eos_token_id if pad is None else pad
    model.eval()
    losses = answer_losses(model, asked, pad, report)
    speaking = any(question.answer for question in asked)
    said = answers_of(model, renderer, asked, limit, pad, report) if speaking else ["" for _ in asked]
    return summed(asked, said, losses, label)


def score_served(served: Served, renderer: Renderer, asked: Sequence[Question], limit: int, label: Score, report: Report) -> Scored:
    """Score exported files, one question after another, as a person is served; GenAI gives no loss."""
    said: list[str] = []
    tokens, seconds = 0, 0.0
    for question in asked:
        if not question.answer:
            said.append("")
            continue
        made = served.generate(question.prompt_ids, min(limit, len(question.answer_ids) + SLACK))
        said.append(renderer.unescaped(made.text))
        tokens, seconds = tokens + max(0, made.tokens - 1), seconds + made.seconds
        report("answering", len(said) / len(asked))
    scored = summed(asked, said, None, label)
    speed = round(tokens / seconds, 2) if seconds > 0 else None
    return Scored(scored.score.model_copy(update={"tokens_per_s": speed}), scored.answers)


def write_answers(path: Path, answers: Sequence[Answer]) -> None:
    """One JSON object a row, in the order of the file, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_text("".join(json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in answers), encoding="utf-8")
    part.replace(path)


def empty(model: str, adapter: str | None, precision: str) -> Score:
    """A label whose numbers are still to come."""
    return Score(model=model, adapter=adapter, precision=precision, rows=0, exact_match=0.0, loss=None)


def load(model_dir: Path, adapter_dir: Path | None, device: str = "cpu") -> Any:
    """The model in float32, with its adapter when there is one; safetensors only."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(
        str(model_dir), dtype=torch.float32, use_safetensors=True, attn_implementation="sdpa"
    )
    if adapter_dir is not None:
        model = PeftModel.from_pretrained(model, str(adapter_dir), use_safetensors=True)
    return model.to(device)


def context_of(model_dir: Path) -> int:
    """Tokens that the model reads at most, from its config.json."""
    config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    return int(config.get("max_position_embeddings") or 1_000_000)


def score(spec: ScoreSpec) -> list[Score]:
    """`python -m tools.engine score`: score a model and served folders with the same rows; the list is `out`/result.json."""
    environment.settle(spec.threads)
    started = time.monotonic()
    model_dir, out = Path(spec.model_dir), Path(spec.out)
    adapter = Path(spec.adapter_dir) if spec.adapter_dir else None
    renderer = Renderer(model_dir)
    asked = questions(renderer, Path(spec.rows_path), spec.rows, context_of(model_dir))

    def report(text: str, fraction: float) -> None:
        print(f"{time.monotonic() - started:.0f} s: {text} {fraction:.0%}", flush=True)

    out.mkdir(parents=True, exist_ok=True)
    label = empty(spec.model_id, spec.adapter_dir, "fp32")
    found = {"checkpoint": score_model(load(model_dir, adapter), renderer, asked, spec.answer_tokens, label, report)}
    for name, folder in spec.served_dirs.items():
        label = empty(spec.model_id, None if spec.adapter_dir is None else spec.adapter_dir, name)
        served = Served(Path(folder), spec.threads)
        found[name] = score_served(served, renderer, asked, spec.answer_tokens, label, report)
        del served
    for name, scored in found.items():
        write_answers(out / f"{name}.jsonl", scored.answers)
    scores = [scored.score for scored in found.values()]
    write_json(out / "result.json", [each.model_dump() for each in scores])
    return scores
