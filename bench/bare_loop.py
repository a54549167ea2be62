"""A bare GenAI loop that decodes once for each line on its input: `FOLDER THREADS TOKENS`. Prints first-token seconds and tokens/s.

    python bench/bare_loop.py FOLDER THREADS TOKENS
"""

import json
import sys
import time
from typing import Any

MESSAGES = [{"role": "user", "content": "Write a short story about a violin maker and her apprentice."}]


def main(folder: str, threads: int, tokens: int) -> None:
    """Load, say so, then decode greedily once for each line."""
    import onnxruntime_genai

    og: Any = onnxruntime_genai
    config = og.Config(folder)
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
    model = og.Model(config)
    tokenizer = og.Tokenizer(model)
    print("{}", flush=True)
    for _ in sys.stdin:
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
        speed = (len(times) - 1) / (times[-1] - times[0])
        print(json.dumps({"first_s": times[0] - began, "tokens_per_s": speed, "tokens": len(times)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
