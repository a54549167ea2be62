"""A bare GenAI loop that decodes once for each line on its input: `FOLDER THREADS TOKENS`. Prints first-token seconds and tokens/s.

    python bench/bare_loop.py FOLDER THREADS TOKENS
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

MESSAGES = [{"role": "user", "content": "Write a short story about a violin maker and her apprentice."}]


def bare(folder: str, threads: int, tokens: int) -> Callable[[], tuple[float, float, int]]:
    """What decodes once, greedily: gives seconds to the first token, tokens a second after it, and how many there were."""
    import onnxruntime_genai

    og: Any = onnxruntime_genai
    config = og.Config(folder)
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
    model = og.Model(config)
    tokenizer = og.Tokenizer(model)

    def once() -> tuple[float, float, int]:
        began = time.perf_counter()
        ids = tokenizer.encode(tokenizer.apply_chat_template(json.dumps(MESSAGES), add_generation_prompt=True))
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=len(ids) + tokens, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(ids)
        times: list[float] = []
        while not generator.is_done():
            generator.generate_next_token()
            times.append(time.perf_counter())
        return times[0] - began, (len(times) - 1) / (times[-1] - times[0]), len(times)

    return once


def main(folder: str, threads: int, tokens: int) -> None:
    """Load, say so, then decode once for each line."""
    once = bare(folder, threads, tokens)
    print("{}", flush=True)
    for _ in sys.stdin:
        first, speed, count = once()
        print(json.dumps({"first_s": first, "tokens_per_s": speed, "tokens": count}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
