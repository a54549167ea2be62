"""The stages around a training without Luthier, each a plain script: `score`, `merge`, `answer`.

    python bench/bare_stages.py score MODEL ADAPTER|- ROWS THREADS
    python bench/bare_stages.py merge MODEL ADAPTER OUT THREADS
    python bench/bare_stages.py answer GENAI_FOLDER ROWS THREADS
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

SLACK, BATCH = 8, 20


def read(path: str, count: int = 40) -> list[list[dict[str, str]]]:
    """The first held-out conversations."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()[:count]
    return [json.loads(line)["messages"] for line in lines]


def load(model: str, adapter: str, threads: str) -> tuple[Any, Any]:
    """Model in float32 with its adapter, and its tokenizer."""
    os.environ.update(OMP_NUM_THREADS=threads, OMP_WAIT_POLICY="PASSIVE", HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="sdpa")
    if adapter != "-":
        loaded = PeftModel.from_pretrained(loaded, adapter)
    return loaded.eval(), AutoTokenizer.from_pretrained(model, padding_side="left")


def score(model_dir: str, adapter: str, path: str, threads: str) -> None:
    """Greedy answers in batches, exact match, and the loss on the answers."""
    model, tokenizer = load(model_dir, adapter, threads)
    import torch

    rows = read(path)
    hits, total, count = 0, 0.0, 0
    with torch.inference_mode():
        for at in range(0, len(rows), BATCH):
            batch = rows[at : at + BATCH]
            prompts = [tokenizer.apply_chat_template(row[:-1], tokenize=False, add_generation_prompt=True) for row in batch]
            wanted = [row[-1]["content"] for row in batch]
            longest = max(len(tokenizer.encode(text)) for text in wanted) + 1 + SLACK
            inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
            made = model.generate(**inputs, max_new_tokens=longest, do_sample=False)[:, inputs["input_ids"].shape[1] :]
            hits += sum(a.strip() == b.strip() for a, b in zip(tokenizer.batch_decode(made, skip_special_tokens=True), wanted, strict=True))
        for row in rows:
            prompt = tokenizer.apply_chat_template(row[:-1], tokenize=False, add_generation_prompt=True)
            full = tokenizer.apply_chat_template(row, tokenize=False).rstrip()
            ids = torch.tensor([tokenizer.encode(full, add_special_tokens=False)])
            start = len(tokenizer.encode(prompt, add_special_tokens=False))
            logits = model(input_ids=ids).logits[0, start - 1 : -1].float()
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, start:], reduction="sum"))
            count += ids.shape[1] - start
    print(json.dumps({"exact_match": hits / len(rows), "loss": total / count}))


def merge(model_dir: str, adapter: str, out: str, threads: str) -> None:
    """Merge and save."""
    model, tokenizer = load(model_dir, adapter, threads)
    model.merge_and_unload().save_pretrained(out)
    tokenizer.save_pretrained(out)


def answer(folder: str, path: str, threads: str) -> None:
    """Answers one after another by a bare GenAI loop."""
    import onnxruntime_genai

    og: Any = onnxruntime_genai
    config = og.Config(folder)
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": int(threads)}}}}))
    model = og.Model(config)
    tokenizer = og.Tokenizer(model)
    hits, rows = 0, read(path)
    for row in rows:
        ids = tokenizer.encode(tokenizer.apply_chat_template(json.dumps(row[:-1]), add_generation_prompt=True))
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=len(ids) + len(tokenizer.encode(row[-1]["content"])) + 1 + SLACK, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(ids)
        while not generator.is_done():
            generator.generate_next_token()
        hits += tokenizer.decode(generator.get_sequence(0)[len(ids) :]).strip() == row[-1]["content"].strip()
    print(json.dumps({"exact_match": hits / len(rows)}))


if __name__ == "__main__":
    {"score": score, "merge": merge, "answer": answer}[sys.argv[1]](*sys.argv[2:])
