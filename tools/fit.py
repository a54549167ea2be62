"""Will it fit, and how long will it take: pure estimates with bounds, and the settings chosen from them.

The processor's constants were measured with SmolLM2-135M on AVX2 cores under Olive; the GPU's are arithmetic on the same terms in 16 bits
and were not measured. Every estimate therefore carries a low and a high bound.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Literal

from tools.engine.spec import Method
from tools.hardware import Machine
from tools.models import ModelShape

Device = Literal["cpu", "cuda"]

MB = 1_000_000
GIB = 1024**3
CPU_BASE = 650 * MB
"""Interpreter, torch, Olive and the Trainer without any weight: the peak of a run of a model with next to none."""
CUDA_BASE = 900 * MB
"""CUDA context, libraries and the allocator's slack."""
NF4_BYTES = 0.5625
"""Bytes of a parameter in 4 bits: 0.5 and a 32-bit scale for every 64."""
CPU_FLOPS = 70e9
"""6 x parameters x tokens of a step, per second and core: 87e9 without adapter dropout, less with it; 134.5 M x 560 tokens in 5.2 s."""
CPU_SCALING = 0.85
"""Two threads gave 1.79 times the work of one."""
SCORE_S = 0.064
"""Seconds a row and token of scoring with 134.5 M parameters: base and tuned, as trained and as served, all four together."""
CUDA_FLOPS = 8e12
"""A cautious figure for a small recent NVIDIA GPU, in the same measure."""
VALIDATION_ROWS = 34
"""As many as the helpdesk sample has; a guess for other data, and a small part of the time."""
METHOD_TIME = {"qlora": 1.0, "lora": 1.24, "full": 1.5}
"""Seconds a step against QLoRA; the first two measured under Olive."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Peak memory of a run in bytes: it will hardly stay below `low` nor pass `high`."""

    low_bytes: int
    likely_bytes: int
    high_bytes: int


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Seconds from go to the scored and exported result, with the likely share of each part."""

    low_s: float
    likely_s: float
    high_s: float
    step_s: float
    start_s: float
    train_s: float
    score_s: float
    export_s: float


@dataclass(frozen=True, slots=True)
class Fits:
    """It fits; `tight` when only the likely figure does and the high bound does not."""

    spare_bytes: int
    tight: bool


@dataclass(frozen=True, slots=True)
class TooBig:
    """It does not fit: what it needs, what there is, what would help."""

    need_bytes: int
    have_bytes: int
    remedies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of a rendered training row, and how many rows there are to train on."""

    train_rows: int
    p50: int
    p95: int
    max: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The knobs of one run, named as in the engine's spec, with a sentence for each choice that is not obvious."""

    method: Method
    max_steps: int
    epochs: float
    learning_rate: float
    batch_size: int
    grad_accumulation: int
    max_length: int
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    gradient_checkpointing: bool
    warmup_ratio: float
    eval_steps: int
    save_steps: int
    threads: int
    core_share: float
    """The part of their time that the threads will get: below 1 when others keep the processor busy."""
    dtype: Literal["float32", "bfloat16", "float16"]
    device: Device
    why: tuple[str, ...]


def estimate_memory(
    shape: ModelShape, method: Method, *, batch_size: int, length: int, lora_r: int = 8, lora_dropout: float = 0.05,
    gradient_checkpointing: bool = False, device: Device = "cpu",
) -> MemoryEstimate:
    """Peak bytes of training: resident memory on a CPU (fp32), device memory on a GPU (16 bits).

    `length` is the padded length in tokens of the longest batch. Raises nothing; grows with batch, length and rank.
    """
    cpu = device == "cpu"
    width = 4 if cpu else 2
    kept = _kept_by_a_layer(shape, lora_dropout > 0 and method != "full")
    layers = width * (shape.layers * shape.hidden + kept if gradient_checkpointing else shape.layers * kept)
    # Logits and their gradients dominate: seven fp32 copies on a processor; 16 bits, an fp32 copy and the gradients of both on a GPU.
    tokens = batch_size * length * ((28 if cpu else 12) * shape.vocab + layers)
    trained = 16 * shape.lora_width * lora_r
    peak = _cpu_still(shape, method, trained, tokens) if cpu else _cuda_still(shape, method, trained) + tokens
    low, likely, high = (0.85, 1.0, 1.2) if cpu else (0.8, 1.0, 1.35)
    return MemoryEstimate(int(peak * low), int(peak * likely), int(peak * high))


def _kept_by_a_layer(shape: ModelShape, dropout: bool) -> float:
    """Numbers a token that one layer keeps for the backward pass; dropout keeps every adapter's input again, with its mask."""
    plain = 8 * shape.hidden + 5 * shape.intermediate
    return plain + (1.5 * (6 * shape.hidden + shape.intermediate) if dropout else 0)


def _cpu_still(shape: ModelShape, method: Method, trained: int, tokens: float) -> float:
    """Peak on a processor: while loading, or with everything that stands still under the tokens of a step."""
    n, linear = shape.parameters, shape.linear_parameters
    # An fp32 file is not copied: its pages stay mapped and are the weights, also beside the quantised ones.
    mapped = shape.file_bytes == 4
    match method:
        case "qlora":
            # One layer's weight is dequantised to fp32 at a time; 130 MB was seen where that layer is 3.5 MB.
            scratch = 130 * MB + 8 * shape.hidden * shape.intermediate
            weights, optimizer = NF4_BYTES * linear + scratch + 4 * (n if mapped else n - linear), trained
        case "lora":
            weights, optimizer = 4 * n, trained
        case "full":
            weights, optimizer = 4 * n, 12 * n
    return max(CPU_BASE + n * (shape.file_bytes + 4), CPU_BASE + weights + optimizer + tokens)


def _cuda_still(shape: ModelShape, method: Method, trained: int) -> float:
    """Weights and optimizer on a GPU, in 16 bits or 4."""
    n, linear = shape.parameters, shape.linear_parameters
    match method:
        case "qlora":
            return CUDA_BASE + 2 * (n - linear) + NF4_BYTES * linear + 4 * shape.hidden * shape.intermediate + trained
        case "lora":
            return CUDA_BASE + 2 * n + trained
        case "full":
            return CUDA_BASE + 16 * n


def estimate_time(
    shape: ModelShape, settings: Settings, *, length: int, score_rows: int = 40, answer_tokens: int = 16, has_avx2: bool = True,
) -> TimeEstimate:
    """Seconds of a whole run: start, training, scoring of base and tuned as trained and as served, the export.

    `length` is the padded length of a usual batch. Whoever shares the processor is counted by `settings.core_share`.
    """
    cpu = settings.device == "cpu"
    share = settings.core_share
    rate = CPU_FLOPS * settings.threads**CPU_SCALING * share * (1.0 if has_avx2 else 0.25) if cpu else CUDA_FLOPS
    tokens = settings.batch_size * settings.grad_accumulation * length
    step = 6 * shape.parameters * tokens / rate * METHOD_TIME[settings.method] * (1.33 if settings.gradient_checkpointing else 1.0)
    # Looking at the validation rows, about a tenth of the data, is a forward pass: a third of a step's work.
    looks = ceil(settings.max_steps / settings.eval_steps) * 2 * shape.parameters * VALIDATION_ROWS * length / rate
    scale = shape.parameters / 134_500_000
    start = (26 + 4 * scale) / share
    train = step * settings.max_steps + looks
    score = score_rows * answer_tokens * (SCORE_S if cpu else 0.01) * scale / share
    export = (4 + 8 * scale) / share
    likely = start + train + score + export
    low, high = (0.5, 2.0) if cpu else (0.3, 3.0)
    return TimeEstimate(likely * low, likely, likely * high, step, start, train, score, export)


def judge_fit(estimate: MemoryEstimate, available_bytes: int, remedies: tuple[str, ...] = ()) -> Fits | TooBig:
    """Compare an estimate with what is free; `remedies` are handed on when it is too big."""
    if estimate.likely_bytes > available_bytes:
        return TooBig(estimate.likely_bytes, available_bytes, remedies)
    return Fits(available_bytes - estimate.likely_bytes, tight=estimate.high_bytes > available_bytes)


def choose_settings(
    shape: ModelShape, lengths: Lengths, machine: Machine, method: Method = "qlora", *, epochs: float | None = None,
    max_steps: int | None = None, learning_rate: float | None = None, device: Device = "cpu", available_bytes: int | None = None,
) -> Settings:
    """The settings of a run on this machine; deterministic. What does not fit even so is for `judge_fit` to refuse.

    `available_bytes` overrides the free memory of `machine` (or of its roomiest GPU). Rows are kept whole where memory allows.
    """
    why: list[str] = []
    room = machine.free_for(device) if available_bytes is None else available_bytes
    longest = min(shape.context, _up8(lengths.max + 8))
    usual = min(longest, _up8(lengths.p95 + 8))

    def fits(batch: int, length: int, checkpointing: bool) -> bool:
        estimate = estimate_memory(
            shape, method, batch_size=batch, length=length, gradient_checkpointing=checkpointing, device=device)
        return estimate.high_bytes <= room

    batch, length, checkpointing = _first_that_fits(fits, longest, usual)
    accumulation = 4 // batch
    if checkpointing:
        why.append("gradient checkpointing on: memory is short, a step takes a third longer")
    if batch < 4:
        why.append(f"batch {batch} with {accumulation} accumulated: memory is short, the effective batch stays 4")
    if length < _up8(lengths.max):
        why.append(f"rows above {length} tokens are left out and counted")
    per_epoch = max(1, ceil(lengths.train_rows / (batch * accumulation)))
    steps, reason = _steps(per_epoch, epochs, max_steps, device)
    why.append(reason)
    if learning_rate is None:
        small = shape.parameters < 500_000_000
        learning_rate = (5e-5 if small else 1e-5) if method == "full" else (1e-3 if small else 2e-4)
        why.append(f"learning rate {learning_rate:g}: the usual for {shape.parameters / 1e6:,.0f} M parameters with {method}")
    threads = machine.free_cores() if device == "cpu" else max(1, min(4, machine.cpu.cores))
    if device == "cpu":
        why.append(f"{threads} of {machine.cpu.cores} cores: what is free at the moment")
    pause = max(1, min(100, ceil(steps / 3)))
    return Settings(
        method=method, max_steps=steps, epochs=round(max(0.01, min(1000.0, steps / per_epoch)), 4), learning_rate=learning_rate,
        batch_size=batch, grad_accumulation=accumulation, max_length=length, lora_r=8, lora_alpha=16, lora_dropout=0.05,
        gradient_checkpointing=checkpointing, warmup_ratio=0.05, eval_steps=pause, save_steps=min(pause, 50), threads=threads,
        core_share=machine.share_for(threads) if device == "cpu" else 1.0,
        dtype=machine.dtype_for(device), device=device, why=tuple(why))


def _up8(tokens: int) -> int:
    """The next multiple of eight, as the spec's least length asks."""
    return max(8, -(-tokens // 8) * 8)


def _first_that_fits(fits: Callable[[int, int, bool], bool], longest: int, usual: int) -> tuple[int, int, bool]:
    """Batch, length and checkpointing: speed is given up before batch, batch before rows."""
    for length in (longest, usual):
        for batch, checkpointing in ((4, False), (4, True), (2, True), (1, True)):
            if fits(batch, length, checkpointing):
                return batch, length, checkpointing
    return 1, usual, True


def _steps(per_epoch: int, epochs: float | None, max_steps: int | None, device: Device) -> tuple[int, str]:
    """Optimizer steps, and where the number comes from."""
    if max_steps is not None and epochs is not None:
        steps = max(1, min(max_steps, ceil(per_epoch * epochs)))
        return steps, f"{steps} steps: {epochs:g} epochs, at most {max_steps} as asked"
    if max_steps is not None:
        return max(1, max_steps), f"{max_steps} steps, as asked"
    if epochs is not None:
        return max(1, ceil(per_epoch * epochs)), f"{epochs:g} epochs, as asked"
    ceiling = 60 if device == "cpu" else 1200
    steps = max(20, min(3 * per_epoch, ceiling))
    if steps < 3 * per_epoch:
        return steps, f"{steps} steps: the default on a {'processor' if device == 'cpu' else 'GPU'}; three epochs would be {3 * per_epoch}"
    return steps, f"{steps} steps: three epochs" if steps > 20 else f"{steps} steps: the least that teaches anything on so few rows"
