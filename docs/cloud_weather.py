"""What goes wrong with Azure, line by line, each with the test that shows what becomes of it: two tables of faults.md."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEFORE, RUNS = "test_weather::test_before_anything_is_sent_it_is_refused_with_a_remedy", "test_weather_runs::test_"
MAKING = "test_weather::test_while_a_place_is_made_it_ends_with_a_remedy_and_the_next_call_goes_on"
CANNOT = f"{RUNS}a_run_that_cannot_begin_ends_with_a_remedy_and_costs_nothing"
COMES = f"{RUNS}what_must_not_come_here_is_refused_and_the_run_is_told_as_it_ended"
START = "test_cloud_faults::test_f7_f8_whatever_the_start_answers_it_runs_once"
Line = tuple[str, str, tuple[str, ...]]
"""What is the matter, what is expected, and the tests below tests/azure."""

WEATHER: tuple[Line, ...] = (
    ("no sign-in", "refused, with how to sign in", (BEFORE,)),
    ("expired sign-in", "refused, with `az login`", (BEFORE,)),
    ("several subscriptions", "refused, with each one's name and id and the setting that chooses", (BEFORE,)),
    ("missing role", "refused before anything is made, with the permission, the role and who grants it", (BEFORE, CANNOT)),
    ("provider unregistered", "registered by prepare_cloud; a run says so and costs nothing",
     ("test_weather::test_provider_unregistered_is_registered_by_preparing", CANNOT)),
    ("region without the profile", "refused, with the regions that have it", (BEFORE,)),
    ("quota 0 or unknown", "0: refused with link and numbers; unknown: said on the card",
     (BEFORE, "test_weather::test_quota_unknown_is_said_on_the_card_and_is_no_zero")),
    ("price missing, or older than 30 days", "nothing starts; an estimate is labelled",
     (BEFORE, "test_weather::test_an_estimate_is_given_and_says_that_it_starts_nothing")),
    ("policy forbidding shared keys", "told, with whom to ask for an exemption", (MAKING,)),
    ("name taken", "told, with the setting that makes other names", (MAKING,)),
    ("environment stuck", "told; the next call goes on from there", (MAKING,)),
    ("image not pulled", "said while it waits; stopped, settled, told", (f"{RUNS}image_not_pulled_is_stopped_settled_and_told",)),
    ("execution failing in two seconds without logs", "tried once more, then failed with what to choose",
     (f"{RUNS}execution_failing_in_two_seconds_without_logs_is_tried_once_more_and_told",)),
    ("result written but execution “Running” for ever", "stopped after two minutes; the result counts",
     (f"{RUNS}result_written_but_execution_running_for_ever_is_stopped_and_the_result_counts",)),
    ("share full", "told; the next run goes on from there",
     (f"{RUNS}share_full_ends_the_upload_with_a_remedy_and_a_second_run_goes_on",)),
    ("token expired mid-stream", "a new one is asked for, and no line is lost or shown twice",
     (f"{RUNS}token_expired_mid_stream_is_asked_for_anew_and_no_line_is_lost",
      "test_logs::test_a_token_that_ran_out_is_asked_for_anew")),
    ("hostile file names on the share", "none becomes a path here", (COMES, "test_files::test_a_list_with_hostile_names_is_refused")),
    ("an adapter that is not safetensors", "refused, and nothing of it is kept", (COMES,)),
)
FAULTS: tuple[Line, ...] = (
    ("503 after the start was taken, with and without Retry-After", "one execution, adopted", (START,)),
    ("torn body, truncated JSON, 202 without a body and then 200 or 204", "one execution, adopted", (START,)),
    ("read time-out after the start was taken", "one execution, adopted",
     (f"{RUNS}a_read_that_times_out_after_the_start_was_taken_starts_nothing_again",)),
    ("the execution can be seen only later", "waited for, twice looked for, never started beside it",
     (START, "test_cloud_state::test_an_execution_that_the_list_shows_late_is_the_one_that_runs")),
    ("two executions", "one goes on, the other is stopped", ("test_cloud_faults::test_two_executions_for_one_start_become_one",)),
    ("the execution is gone", "looked for, then failed and settled", (f"{RUNS}an_execution_that_is_gone_is_looked_for_and_then_told",)),
    ("429 with Retry-After", "waited for as long as it says, a few times",
     ("test_cloud_faults::test_f9_a_start_that_was_not_taken_is_sent_again_after_the_wait",
      "test_client::test_a_long_wait_that_azure_asks_for_is_told_and_not_slept")),
    ("409 MissingSubscriptionRegistration", "never registered behind anybody's back",
     (CANNOT, "test_client::test_a_provider_is_never_registered_behind_our_back")),
    ("an operation that ends Failed with an error body", "told by its code", (MAKING, CANNOT)),
    ("an operation that succeeds with a resource that failed", "told, and made anew by the next call",
     ("test_provision::test_an_environment_that_failed_is_told_and_made_anew",)),
    ("404 while an operation is polled", "judged by its resource",
     ("test_provision::test_an_operation_that_azure_lost_sight_of_is_judged_by_its_resource",)),
    ("a name that exists with foreign tags", "left alone",
     ("test_provision::test_a_name_that_exists_with_other_tags_is_refused_and_left_alone",
      "test_cloud_faults::test_f10_a_job_of_that_name_that_is_not_ours_is_left_alone")),
    ("AssigningReplica for ever", "stopped by the standing order", ("test_cloud_faults::test_a_run_that_only_costs_money_is_stopped",)),
    ("the log stream is cut, or its host is none of Azure's", "joined again without doubles; the host gets no token",
     ("test_logs::test_a_cut_stream_is_joined_again_and_no_line_is_shown_twice",
      "test_logs::test_an_address_that_is_none_of_azures_gets_no_token")),
    ("416 at the end of a file, a log that shrinks", "nothing new; begun anew",
     ("test_files::test_a_tail_reads_on_and_hears_that_a_file_was_begun_anew", "test_mirror::test_a_log_that_began_anew_is_copied_anew")),
    ("a file that changes while it is downloaded", "read again",
     ("test_files::test_a_file_that_changes_under_the_download_is_read_again",)),
    ("prices down, stale, in a wrong unit", "nothing starts",
     (BEFORE, "test_prices::test_a_list_that_answers_wrongly_prices_nothing",
      "test_prices::test_an_unknown_unit_is_refused_where_it_matters_and_only_there")),
    ("a clock that is off by an hour, either way", "nothing starts twice or stops early",
     ("test_weather_changes::test_a_clock_that_is_off_by_an_hour_neither_starts_twice_nor_stops_early",)),
    ("another user, tenant or subscription between quote, yes and start", "refused; what runs is not lost from view",
     ("test_weather_changes::test_what_changed_between_the_quote_and_the_yes_is_refused",
      "test_weather_changes::test_a_sign_in_that_changes_between_the_yes_and_the_start_starts_nothing",
      "test_weather_changes::test_another_subscription_loses_no_run_from_view")),
    ("a person stops a run while it is uploaded", "nothing is started, its money is free",
     ("test_cloud_faults::test_f24_a_stop_while_it_is_uploaded_starts_nothing",)),
    ("killed between the reservation and the first request", "its money is free after the lease",
     ("test_weather_changes::test_killed_between_the_reservation_and_the_first_request_its_money_is_free_after_the_lease",)),
    ("kill -9 between any two steps", "at most one execution; money, record and resources as if nothing had happened",
     ("test_killed::test_killed_at_a_point_the_next_program_keeps_every_promise",)),
)


def weather_tables() -> str:
    """Both tables. Raises ValueError where a test that is named is not there."""
    return "\n".join([
        "", "## Bad weather in Azure, as a person meets it", "",
        "Each goes through the gateway with the real tool, against the stand-in for Azure, and ends with a sentence and a remedy, no money "
        "held, nothing running and nothing left that is not tagged.", "", *_table(WEATHER),
        "", "## Faults of Azure that are scripted into its stand-in", "", *_table(FAULTS), ""])


def _table(lines: tuple[Line, ...]) -> list[str]:
    rows = [f"| {what} | {then} | {'<br>'.join(_named(test) for test in tests)} |" for what, then, tests in lines]
    return ["| what | expected | proven by |", "| --- | --- | --- |", *rows]


def _named(test: str) -> str:
    module, _, name = test.partition("::")
    path = ROOT / "tests" / "azure" / f"{module}.py"
    known = {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if name not in known:
        raise ValueError(f"docs/cloud_weather.py names {test}, and there is no such test")
    return f"`tests/azure/{module}.py::{name}`"
