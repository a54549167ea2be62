"""A run on Azure through the real gateway and book: card, approval, job, result, money; and everything that is refused before."""

from dataclasses import replace
from pathlib import Path

from tests.azure.cloud import Cloud
from tests.azure.faults import Fault
from tests.azure.run_home import OWNER, RunHome, trains, works
from tools.runs.cloud_row import Phase
from tools.runs.state import RunState


async def test_a_run_goes_from_the_sentence_to_the_settled_bill(home: RunHome, cloud: Cloud) -> None:
    cloud.script(works())
    answer = await home.ask(gpu="T4")
    card = dict(home.view(answer).lines)
    assert answer.status == "waiting" and "T4" in card["Where"] and "USD" in card["Most it can cost"]
    assert cloud.bodies("PUT", "/jobs/") == []
    done = await home.gateway.decide(home.view(answer).id, "approve", OWNER)
    assert done.answer is not None and done.answer.status == "done", done
    run = str(done.answer.result["run_id"])
    assert home.money(run)[0] > 0
    row = await home.until_over(run)
    assert row.phase is Phase.SUCCEEDED, row
    assert home.runs.wanted(run).state is RunState.FINISHED
    reserved, settled = home.money(run)
    assert reserved == 0 and 0 <= settled < row.plan.ceiling_micros
    assert (home.local.folder(run) / "adapter" / "adapter_model.safetensors").read_bytes() == b"weights"
    assert (home.local.folder(run) / "log.txt").read_text() == "training\n"
    assert len(cloud.executions) == 1


async def test_the_same_proposal_made_again_is_the_same(home: RunHome) -> None:
    tool = home.tools["start_finetune"]
    args = tool.Args.model_validate({"model": "bundled", "dataset": "samples/helpdesk.jsonl", "provider": "azure"})
    assert tool.propose(args) == tool.propose(args)


async def test_the_ceiling_the_limits_and_the_stops_are_on_the_card(home: RunHome) -> None:
    view = home.view(await home.ask(gpu="T4"))
    card = dict(view.lines)
    assert view.effects == ("SPEND",) and float(view.ceiling) > 0
    assert {"Likely", "Price", "Time limit", "Counted", "Signed in as", "Subscription", "Image", "Region", "Hardware",
            "Leaves this machine"} <= set(card)
    assert "@sha256:" in card["Image"] and "ada@example.com" in card["Signed in as"]
    assert len(view.stop_rules) == 7


async def test_a_budget_shortens_the_time_limit(home: RunHome) -> None:
    whole, part = home.view(await home.ask(gpu="T4")), home.view(await home.ask(gpu="T4", budget_usd=2))
    assert float(part.ceiling) <= 2 < float(whole.ceiling)


async def test_a_budget_for_nothing_is_refused(home: RunHome) -> None:
    answer = await home.ask(gpu="T4", budget_usd=0.05)
    assert answer.status == "failed" and "Ten minutes" in answer.reason


async def test_the_cheapest_that_fits_is_chosen(home: RunHome) -> None:
    assert "T4" in dict(home.view(await home.ask()).lines)["Where"]
    assert "A100" in dict(home.view(await home.ask(gpu="a100")).lines)["Where"]


async def test_nothing_is_asked_before_the_cloud_is_prepared(cloud: Cloud, tmp_path: Path) -> None:
    home = RunHome(tmp_path / "home", cloud)
    answer = await home.ask()
    assert answer.status == "failed" and "prepare the cloud" in answer.remedy
    home.close()


async def test_without_quota_nothing_is_made_and_the_link_is_given(home: RunHome, cloud: Cloud) -> None:
    cloud.world.usages["westus3"]["SubscriptionConsumptionT4Gpus"] = (0, 0)
    answer = await home.ask(gpu="T4")
    assert answer.status == "failed" and "quota" in answer.reason and "portal.azure.com" in answer.remedy
    assert [each for each in cloud.requests if each[0] in {"PUT", "POST", "DELETE"}] == []


async def test_a_region_that_is_not_allowed_is_denied(home: RunHome, cloud: Cloud) -> None:
    home.prepared.put(cloud.prepared(home.book.home_id(), "northeurope"))
    answer = await home.ask(region="northeurope", gpu="cpu")
    assert answer.status in {"refused", "failed"} and "northeurope" in answer.reason


async def test_a_gpu_that_is_not_offered_is_named_with_what_is(home: RunHome) -> None:
    answer = await home.ask(gpu="H100")
    assert answer.status == "failed" and "T4" in answer.reason and "A100" in answer.reason


async def test_a_sweep_stays_on_this_machine(home: RunHome) -> None:
    answer = await home.ask(sweep="r=8,16")
    assert answer.status == "failed" and "this machine" in answer.reason


async def test_the_job_has_the_runs_key_as_a_secret_and_nothing_else_shows_it(home: RunHome, cloud: Cloud) -> None:
    home.secrets["HF_TOKEN"] = "hf_canary_0123456789abcdefghij"
    cloud.script(works())
    run = await home.begin(gpu="T4")
    await home.until_over(run)
    (body,) = cloud.bodies("PUT", "/jobs/")
    secrets = {each["name"]: each["value"] for each in body["properties"]["configuration"].pop("secrets")}
    assert secrets["hf-token"] == home.secrets["HF_TOKEN"] and secrets["run-key"] == (home.local.folder(run) / "run.key").read_text()
    book = (home.home / "book.sqlite").read_bytes() + (home.home / "book.sqlite-wal").read_bytes()
    for value in secrets.values():
        assert value not in str(body) and value.encode() not in book


async def test_a_stop_by_a_person_ends_it_and_settles_what_it_cost(home: RunHome, cloud: Cloud) -> None:
    cloud.script(trains())
    run = await home.begin(gpu="T4")
    await home.until(lambda: home.row(run).phase is Phase.RUNNING)
    answer = await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    assert answer.status == "done" and cloud.executions[0].status == "Stopped"
    row = await home.until_over(run)
    assert row.phase is Phase.STOPPED and home.runs.wanted(run).state is RunState.CANCELLED and home.money(run)[0] == 0


async def test_the_view_says_what_it_waits_for_and_what_it_has_cost(home: RunHome, cloud: Cloud) -> None:
    cloud.script(trains())
    run = await home.begin(gpu="T4")
    assert home.views.of(home.runs.wanted(run)).progress == "uploading"
    await home.until(lambda: home.row(run).phase is Phase.RUNNING)
    view = home.views.of(home.runs.wanted(run))
    assert view.phase == "train" and view.where.startswith("Azure, westus3") and float(view.spent) >= 0.01
    await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await home.until_over(run)


async def test_a_lost_answer_to_the_start_begins_one_execution(home: RunHome, cloud: Cloud) -> None:
    cloud.script(works(), works())
    cloud.faults.at("POST", r"/start$", Fault.ACCEPTED_503)
    row = await home.until_over(await home.begin(gpu="T4"))
    assert row.phase is Phase.SUCCEEDED and len(cloud.executions) == 1


async def test_a_run_that_was_stopped_is_resumed_there_under_an_approval_of_its_own(home: RunHome, cloud: Cloud) -> None:
    cloud.script(trains(), works())
    run = await home.begin(gpu="T4")
    await home.until(lambda: home.row(run).phase is Phase.RUNNING)
    await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    first = (await home.until_over(run)).call_id
    answer = await home.gateway.call("resume_run", {"run_id": run}, OWNER)
    done = await home.gateway.decide(home.view(answer).id, "approve", OWNER)
    assert done.answer is not None and done.answer.status == "done", done
    row = await home.until_over(run)
    assert row.phase is Phase.SUCCEEDED and row.attempt == 2 and row.call_id != first
    assert home.runs.wanted(run).state is RunState.FINISHED and home.runs.wanted(run).attempt == 2
    assert [each.environment["LUTHIER_ATTEMPT"] for each in cloud.executions] == ["1", "2"]


async def test_a_place_in_another_subscription_is_not_used(home: RunHome) -> None:
    place = home.prepared.get()
    assert place is not None
    home.prepared.put(replace(place, subscription="6f1c1bd0-0000-4000-8000-0000000000ff"))
    answer = await home.ask(gpu="T4")
    assert "is in use" in str(answer.reason) and "LUTHIER_AZURE_SUBSCRIPTION" in str(answer.remedy)
