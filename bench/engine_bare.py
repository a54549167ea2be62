"""The same training without Luthier: transformers' Trainer and PEFT in one script, from a run's spec. Prints one JSON object.

    python bench/engine_bare.py RUN_FOLDER [ADAPTER_OUT]
"""

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

spec = json.loads((Path(sys.argv[1]) / "spec.json").read_text(encoding="utf-8"))
os.environ.update(
    OMP_NUM_THREADS=str(spec["threads"]), OMP_WAIT_POLICY="PASSIVE", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TQDM_DISABLE="1"
)

import torch  # noqa: E402
import transformers  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback  # noqa: E402

FIRST, LAST = 3, 20
"""The steps that are measured: the first two also allocate."""


def encode(tokenizer: Any, messages: list[dict[str, str]]) -> dict[str, list[int]]:
    """Ids of a row with one answer; labels on the answer and its end-of-turn token."""
    before = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    rest = tokenizer.apply_chat_template(messages, tokenize=False)[len(before) :]
    answer, after = rest.rstrip(), rest[len(rest.rstrip()) :]
    parts = [tokenizer.encode(text, add_special_tokens=False) for text in (before, answer, after)]
    ids = [token for part in parts for token in part]
    return {"input_ids": ids, "labels": [-100] * len(parts[0]) + parts[1] + [-100] * len(parts[2])}


def main() -> None:
    """Train and print `cpu_s_per_step`, `losses` and `final_loss`."""
    model_dir, steps = spec["model_dir"], spec["max_steps"]
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    lines = (Path(spec["data_dir"]) / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [encode(tokenizer, json.loads(line)["messages"]) for line in lines]
    rows = [row for row in rows if len(row["input_ids"]) <= spec.get("max_length", 512)]

    def collate(batch: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in batch)

        def padded(values: list[list[int]], pad: int) -> torch.Tensor:
            return torch.tensor([value + [pad] * (width - len(value)) for value in values])

        return {
            "input_ids": padded([row["input_ids"] for row in batch], tokenizer.pad_token_id),
            "labels": padded([row["labels"] for row in batch], -100),
            "attention_mask": padded([[1] * len(row["input_ids"]) for row in batch], 0),
        }

    transformers.set_seed(spec.get("seed", 0))
    dtype = getattr(torch, spec["dtype"])
    load: dict[str, Any] = {"dtype": dtype, "attn_implementation": "sdpa"}
    if spec["method"] == "qlora":
        load["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    base = AutoModelForCausalLM.from_pretrained(model_dir, **load)
    for parameter in base.parameters():
        parameter.requires_grad = False
    adapter = LoraConfig(
        r=spec.get("lora_r", 8),
        lora_alpha=spec.get("lora_alpha", 16),
        lora_dropout=spec.get("lora_dropout", 0.05),
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, adapter)
    losses: list[float] = []
    cpu: list[float] = []

    class Watch(TrainerCallback):
        """Keeps losses and the processor time after each step."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            """One step's loss."""
            if "loss" in (logs or {}):
                losses.append(float(logs["loss"]))
                cpu.append(time.process_time())

    arguments = transformers.TrainingArguments(
        output_dir=str(Path(sys.argv[1]) / "bare"),
        max_steps=steps,
        learning_rate=spec["learning_rate"],
        lr_scheduler_type=spec.get("scheduler", "linear"),
        warmup_steps=math.ceil(steps * spec.get("warmup_ratio", 0.05)),
        per_device_train_batch_size=spec.get("batch_size", 4),
        optim="adamw_torch",
        seed=spec.get("seed", 0),
        data_seed=spec.get("seed", 0),
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
    )
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[Watch()])  # type: ignore[arg-type]
    trainer.train()
    if len(sys.argv) > 2:
        model.save_pretrained(sys.argv[2])
    last = min(LAST, len(cpu))
    per_step = (cpu[last - 1] - cpu[FIRST - 2]) / (last - FIRST + 1)
    print(json.dumps({"cpu_s_per_step": per_step, "losses": losses, "final_loss": losses[-1], "cpu_s": time.process_time()}))


if __name__ == "__main__":
    main()
