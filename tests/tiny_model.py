"""`python tests/tiny_model.py OUT`: a random Llama of four layers with a tokenizer and a chat template, made in a second.

Runs in the engine's environment. It can be tuned by LoRA and QLoRA, exported at int8 and served, like a real model.
"""

import sys
from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a tiny model.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = (
    "The printer on floor two is out of paper and the queue is stuck.",
    "Reset my password please, the portal says it has expired.",
    "category: network, priority: high. category: account, priority: low.",
    "user assistant system You are a tiny model. Hello, how can I help you today?",
)


def make_tiny_model(out: Path, seed: int = 0) -> Path:
    """Write the model to `out` and return it: hidden 64, four layers, 512 tokens of byte-level BPE."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>", unk_token="<|endoftext|>"
    )
    wrapped.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=special.index("<|im_start|>"),
        eos_token_id=special.index("<|im_end|>"),
        pad_token_id=special.index("<|im_end|>"),
    )
    model = LlamaForCausalLM(config)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    wrapped.save_pretrained(out)
    return out


if __name__ == "__main__":
    make_tiny_model(Path(sys.argv[1]))
