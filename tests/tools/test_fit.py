"""The estimates: measured cases lie within the bounds, and the figures move the right way."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.fakes_machine import RTX_3050, RTX_4090, TESLA_T4, machine
from tools.engine.spec import TrainSpec
from tools.entries import read_catalogue
from tools.fit import MB, Fits, Lengths, MemoryEstimate, TooBig, choose_settings, estimate_memory, estimate_time, judge_fit
from tools.models import ModelShape

SHAPES = {entry.short: entry.shape for entry in read_catalogue()}
SMOL = SHAPES["bundled"]
HELPDESK = Lengths(train_rows=320, p50=70, p95=90, max=110)

any_shape = st.sampled_from(sorted(SHAPES)).map(SHAPES.__getitem__)
any_method = st.sampled_from(["qlora", "lora", "full"])
any_device = st.sampled_from(["cpu", "cuda"])


@pytest.mark.parametrize(("method", "measured_bytes"), [("qlora", 2_150_854_656), ("lora", 2_020_257_792)])
def test_what_two_steps_of_the_engine_took_is_met_within_five_percent(method, measured_bytes: int) -> None:
    """The engine's probe: SmolLM2 from an fp32 file, batch 4, longest row 54 tokens, dropout 0.05."""
    found = estimate_memory(SMOL, method, batch_size=4, length=54)
    assert found.likely_bytes == pytest.approx(measured_bytes, rel=0.05)
    assert found.low_bytes <= measured_bytes <= found.high_bytes


@pytest.mark.parametrize(("method", "measured_mb"), [("lora", 1963), ("qlora", 1685)])
def test_older_runs_from_a_16_bit_file_lie_within_the_bounds(method, measured_mb: int) -> None:
    """Olive, batch 4; the rows' length was not recorded and was about 55 tokens by what the two agree on."""
    for length in (50, 55, 58):
        found = estimate_memory(replace(SMOL, file_bytes=2), method, batch_size=4, length=length)
        assert found.low_bytes <= measured_mb * MB <= found.high_bytes


@pytest.mark.parametrize(("tokens", "dropout", "measured_mb"), [(140, 0, 2574), (54, 0.05, 1856), (140, 0.05, 3223), (250, 0.05, 4615)])
def test_long_batches_measured_without_olive_lie_within_the_bounds(tokens: int, dropout: float, measured_mb: int) -> None:
    """PEFT LoRA on an fp32 file, batch 4, no Olive and no Trainer: their modules are about 150 MB."""
    found = estimate_memory(SMOL, "lora", batch_size=4, length=tokens, lora_dropout=dropout)
    assert found.low_bytes <= (measured_mb + 150) * MB <= found.high_bytes


def test_parameters_of_the_bundled_model_are_counted_from_its_shape() -> None:
    assert SMOL.linear_parameters == 106_168_320
    assert SMOL.lora_width * 8 == 2_442_240


def test_checkpointing_saves_about_what_was_measured() -> None:
    plain = estimate_memory(SMOL, "lora", batch_size=4, length=70).likely_bytes
    saved = estimate_memory(SMOL, "lora", batch_size=4, length=70, gradient_checkpointing=True).likely_bytes
    assert 0.65 <= saved / plain <= 0.85


def test_four_bits_save_memory_where_weights_dominate() -> None:
    phi = SHAPES["phi-3-mini-4k-instruct"]
    four, sixteen = (estimate_memory(phi, method, batch_size=1, length=256, device="cuda") for method in ("qlora", "lora"))
    assert four.likely_bytes < 0.6 * sixteen.likely_bytes


@given(any_shape, any_method, any_device, st.integers(1, 16), st.integers(8, 2048), st.integers(1, 64), st.booleans())
def test_low_likely_and_high_are_in_order_and_memory_grows_with_batch_length_and_rank(
    shape: ModelShape, method, device, batch: int, length: int, r: int, checkpointing: bool,
) -> None:
    def likely(batch: int, length: int, r: int) -> MemoryEstimate:
        return estimate_memory(
            shape, method, batch_size=batch, length=length, lora_r=r, gradient_checkpointing=checkpointing, device=device)

    found = likely(batch, length, r)
    assert 0 < found.low_bytes <= found.likely_bytes <= found.high_bytes
    for more in (likely(batch + 1, length, r), likely(batch, length + 8, r), likely(batch, length, r + 1)):
        assert more.likely_bytes >= found.likely_bytes


@given(any_shape, any_method, st.integers(1, 5000), st.integers(1, 3000), st.floats(1, 200), st.integers(1, 64), st.floats(0, 70))
def test_every_choice_is_a_valid_spec(
    shape: ModelShape, method, rows: int, longest: int, memory: float, cores: int, load: float,
) -> None:
    lengths = Lengths(rows, max(1, longest // 2), max(1, longest * 3 // 4), longest)
    chosen = choose_settings(shape, lengths, machine(memory, cores=cores, load=load), method)
    fields = {name: getattr(chosen, name) for name in chosen.__dataclass_fields__ if name in TrainSpec.model_fields}
    spec = TrainSpec(run_id="0123456789", model_id="m", model_dir="/m", model_digest="", data_dir="/d", data_digest="", **fields)
    assert spec.max_steps == chosen.max_steps
    assert chosen.max_length <= max(8, shape.context)
    assert chosen.batch_size * chosen.grad_accumulation == 4
    time = estimate_time(shape, chosen, length=lengths.p95)
    assert 0 < time.low_s <= time.likely_s <= time.high_s
    assert time.likely_s == pytest.approx(time.start_s + time.train_s + time.score_s + time.export_s)


def test_the_helpdesk_sample_gets_sixty_steps_on_a_processor_and_says_so() -> None:
    chosen = choose_settings(SMOL, HELPDESK, machine())
    assert (chosen.max_steps, chosen.batch_size, chosen.grad_accumulation, chosen.epochs) == (60, 4, 1, 0.75)
    assert (chosen.learning_rate, chosen.lora_r, chosen.lora_alpha, chosen.dtype) == (1e-3, 8, 16, "float32")
    assert chosen.max_length >= HELPDESK.max and not chosen.gradient_checkpointing
    assert chosen.eval_steps == chosen.save_steps == 20
    assert any("60 steps: the default on a processor; three epochs would be 240" in line for line in chosen.why)


@pytest.mark.parametrize(("epochs", "max_steps", "steps"), [(1, None, 80), (3, None, 240), (None, 7, 7), (3, 100, 100), (0.01, None, 1)])
def test_epochs_and_steps_are_taken_as_asked(epochs, max_steps, steps: int) -> None:
    assert choose_settings(SMOL, HELPDESK, machine(), epochs=epochs, max_steps=max_steps).max_steps == steps


@pytest.mark.parametrize(("rows", "steps"), [(5, 20), (40, 30), (4000, 60)])
def test_few_rows_get_three_epochs_and_at_least_twenty_steps(rows: int, steps: int) -> None:
    assert choose_settings(SMOL, Lengths(rows, 70, 90, 110), machine()).max_steps == steps


def test_a_gpu_gets_three_epochs_and_its_own_type() -> None:
    chosen = choose_settings(SMOL, HELPDESK, machine(gpus=(RTX_4090,)), device="cuda")
    assert (chosen.max_steps, chosen.dtype) == (240, "bfloat16")
    assert choose_settings(SMOL, HELPDESK, machine(gpus=(TESLA_T4,)), device="cuda").dtype == "float16"


def test_short_memory_first_costs_time_then_batch_then_rows() -> None:
    long = Lengths(300, 300, 600, 2000)
    plenty = choose_settings(SMOL, long, machine(64))
    assert (plenty.batch_size, plenty.gradient_checkpointing, plenty.max_length) == (4, False, 2008)
    less = choose_settings(SMOL, long, machine(20))
    assert (less.batch_size, less.gradient_checkpointing, less.max_length) == (4, True, 2008)
    little = choose_settings(SMOL, long, machine(6))
    assert (little.batch_size, little.grad_accumulation, little.max_length) == (1, 4, 2008)
    least = choose_settings(SMOL, long, machine(2))
    assert (least.batch_size, least.max_length) == (1, 608)
    assert any("left out and counted" in line for line in least.why)


def test_larger_models_learn_slower_and_full_tuning_slowest() -> None:
    assert choose_settings(SMOL, HELPDESK, machine(), "qlora").learning_rate == 1e-3
    assert choose_settings(SHAPES["qwen3-4b"], HELPDESK, machine(), "qlora").learning_rate == 2e-4
    assert choose_settings(SMOL, HELPDESK, machine(), "full").learning_rate == 5e-5


def test_a_step_on_one_core_takes_the_measured_time_and_on_two_little_more_than_half() -> None:
    chosen = choose_settings(SMOL, HELPDESK, machine(cores=1))
    one = estimate_time(SMOL, chosen, length=140).step_s
    assert one == pytest.approx(5.2, rel=0.25)
    two = estimate_time(SMOL, choose_settings(SMOL, HELPDESK, machine(cores=2)), length=140).step_s
    assert one / two == pytest.approx(1.79, rel=0.02)


def test_a_whole_short_run_took_as_long_as_estimated_within_the_bounds() -> None:
    """Eight steps of the engine on the helpdesk sample with everything around them: 128 s of processor time."""
    chosen = replace(choose_settings(SMOL, Lengths(302, 48, 53, 55), machine(cores=1), max_steps=8), eval_steps=4)
    found = estimate_time(SMOL, chosen, length=56)
    assert found.likely_s == pytest.approx(128, rel=0.2)


def test_a_busy_machine_is_slower() -> None:
    idle, busy = (estimate_time(SMOL, choose_settings(SMOL, HELPDESK, machine(cores=1, load=load)), length=70) for load in (0.0, 4.0))
    assert busy.step_s == pytest.approx(5 * idle.step_s)


def test_judging_gives_the_numbers_and_the_way_out() -> None:
    estimate = MemoryEstimate(90, 100, 130)
    assert judge_fit(estimate, 200) == Fits(100, tight=False)
    assert judge_fit(estimate, 110) == Fits(10, tight=True)
    assert judge_fit(estimate, 99, ("close other programs",)) == TooBig(100, 99, ("close other programs",))


def test_a_four_gib_card_holds_a_small_model_and_not_a_seven_billion_one() -> None:
    room = machine(gpus=(RTX_3050,)).free_for("cuda")
    small = estimate_memory(SHAPES["qwen2.5-0.5b-instruct"], "qlora", batch_size=1, length=128, gradient_checkpointing=True, device="cuda")
    large = estimate_memory(SHAPES["mistral-7b-v0.1"], "qlora", batch_size=1, length=128, gradient_checkpointing=True, device="cuda")
    assert isinstance(judge_fit(small, room), Fits)
    assert isinstance(judge_fit(large, room), TooBig)
