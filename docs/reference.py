"""`python -m docs.reference [--check]`: writes tools.md, limits.md and rules.md from the toolbox, limits.toml and the rule files."""

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docs.cloud_states import azure_page
from docs.faults_table import faults_page
from docs.states import runs_page

ROOT = Path(__file__).resolve().parent.parent
RESULTS = {
    "inspect_hardware": "`cpu{name,cores,isa}`, `memory{total_bytes,available_bytes}`, `gpus[]`, `npu`, `disk{free_bytes}`, `os`, "
                        "`notes[]`",
    "list_models": "`models[{id,parameters,license,gated,variants[],source,offline}]`",
    "recommend_model": "`choice{model,variant,method,why}`, `alternatives[]`, `rejected[{model,reason}]`",
    "add_dataset": "`dataset`, `rows`, `digest`",
    "validate_dataset": "`ok`, `rows`, `format`, `columns`, `problems[]`, `tokens{model,p50,p95,max}`, "
                        "`split{train,validation,test}`, `digest`",
    "preview_dataset": "`rows[]`; with `model` also `rendered`, `tokens[]`, `in_loss[]`",
    "estimate_cost": "`fits`, `memory{low_bytes,likely_bytes,high_bytes}`, `time{low_s,likely_s,high_s}`, "
                     "`cost{likely,ceiling,currency,price_date}`, `where`, `assumptions[]`",
    "start_finetune": "`run_id`, `state`, `plan`; `waits` when it is queued; of a sweep also `sweep`, `run_ids[]`",
    "list_runs": "`runs[]`",
    "run_status": "`run_id`, `state`, `step`, `steps`, `epoch`, `loss`, `eval_loss`, `tokens_per_s`, `eta_s`, `spent`, "
                  "`peak_memory_bytes`, `where`, `reason`; while it is queued `place`, `expected_start`, `expected_start_s`",
    "tail_logs": "`lines[]` (redacted; for faces only), `offset`, `source` (run, or what Azure heard: stream, analytics, system, none)",
    "cancel_run": "`run_id`, `state`",
    "resume_run": "`run_id`, `state`",
    "compare_runs": "`runs[]`, `table{columns,rows}`, `curves{run_id:{loss,eval_loss}}`, `differs[]`, `best`, `same_data`, `sweep`",
    "evaluate_model": "`baseline`, `tuned`, `exported`, `gain{value,ci_low,ci_high,p}`, `forgetting`, `verdict`",
    "export_model": "`path`, `files[]`, `parity{}`",
    "explain_policy": "`verdict`, `reason`, `remedy`, `quorum`, `effects[{effect,decision,rules[{id,says}],reason,remedy}]`, "
                      "`changes[{fact,verdict}]`, `policy{hash,source,alarm}`, `notes[]`",
    "test_policy": "`ok`, `cases`, `failed`, `failures[{file,name,wanted,got,words}]`, `alarm`, `source`, `hash`",
    "spend_report": "`reserved`, `settled`, `billed`, `currency`, `by_run[{run_id,deployment_id,tool,reserved,settled}]`, "
                    "`budgets[{name,cap,used,left}]`, `tokens{today,cap,left}`",
    "deploy_inference": "`deployment_id`, `url`, `state`, `api_key_hint`, `key_file`, `models[]`, `model`, `precision`, `revision`, "
                        "`memory_bytes`, `expires_at`, `tuned_by`, `curl`",
    "redeploy": "as `deploy_inference`",
    "prepare_cloud": "`state` (listed, ready), `region`, `resource_group`, `subscription`, `tenant`, `account`, `image`, `profiles[]`, "
                     "`resources[{kind,name,state,why}]`, `workspace`, `suffix`",
    "fetch_results": "`run_id`, `files[]`, `verified`",
    "adopt_run": "`run_id`, `state`",
    "teardown_cloud": "`resources[{kind,name,state,cost}]`, `state`, what is left",
    "stop_orphan": "`name`, `kind`, `state`",
    "list_orphans": "`orphans[{kind,name,of,region,resource_group,sku,running[],spent,expires_at,note}]`, `expired[{kind,name,run_id}]`",
    "list_deployments": "`deployments[]` (as `deploy_inference` gives each, with `reason` and, on Azure, "
                        "`answers{revision,models,tuned_by}`), `orphans[{deployment_id,revision,pid,port}]`",
    "stop_deployment": "`deployment_id`, `state`, `reason`",
    "ask_model": "`answers[{model,adapter,precision,text,tokens_per_s}]`",
}
"""What a result holds for faces and `--json`."""
GATES = {
    "add_dataset": "LOCAL, brings in data from outside: asks; the owner, or a person who works alone",
    "start_finetune": "LOCAL, takes the machine for long: asks; with provider=azure SPEND: asks",
    "resume_run": "as the start: asks",
    "cancel_run": "LOCAL, stops something: never asks", "evaluate_model": "LOCAL, light: does not ask for one's own",
    "export_model": "LOCAL, light: does not ask for one's own",
    "deploy_inference": "LOCAL, takes the machine for long: asks; with provider=azure EXPOSE and SPEND: asks",
    "redeploy": "as the deploy: asks",
    "fetch_results": "LOCAL, light: does not ask for one's own", "adopt_run": "LOCAL, unpriced: asks",
    "teardown_cloud": "DESTROY: asks, and the group's name must be typed", "stop_orphan": "LOCAL, stops something: never asks",
    "prepare_cloud": "SPEND: asks; with `dry_run` READ: free",
    "stop_deployment": "LOCAL, stops something: never asks; with `delete` DESTROY: asks",
}
KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "yes or no"}
RULES = {
    "read": "Looking. Free for every known person, at what is theirs or nobody's; owners, approvers and auditors see everybody's.",
    "local": "Work on this machine. Light work on one's own things is free; stopping is always free; what takes the machine for long asks; "
             "data from outside the allowed folders asks, and only the owner or a person who works alone may bring it in. Luthier itself "
             "may stop what a standing order says is due, and nothing else.",
    "spend": "Money. Always asks, needs a known ceiling, room in every budget and a region, hardware, length and hour that the "
             "[limits](limits.md) allow.",
    "expose": "Opening something to others. Always asks, and needs a place and a length that the [limits](limits.md) allow.",
    "destroy": "Deleting what cannot be brought back. Always asks.",
}


def tools_page() -> str:
    """One heading a tool, with what the brain reads, its arguments and its results."""
    from policies.book import Book
    from policies.policy import Policy
    from tools.places import Places
    from tools.toolbox import build_toolbox

    with tempfile.TemporaryDirectory() as folder:
        book = Book.open(Path(folder, "book.sqlite"))
        toolbox = build_toolbox(Places(root=ROOT, home=Path(folder)), book, Policy.load)
        try:
            parts = [_tool(name, tool) for name, tool in sorted(toolbox.tools.items())]
        finally:
            toolbox.close()
            book.close()
    return (
        "# Tools\n\nWritten by `python -m docs.reference` from the toolbox; do not edit it by hand.\n\n"
        "`python -m ui call TOOL name=value … [--json]` performs one through the gateway without any brain. Exit status: 0 done, "
        "3 waiting for an approval, 4 refused, 1 failed, 2 wrong usage. *Gate* says what the default [rules](rules.md) make of it.\n\n"
        + "\n".join(parts)
    )


def _tool(name: str, tool: Any) -> str:
    schema = tool.Args.model_json_schema()
    required = set(schema.get("required", ()))
    rows = [
        f"| `{field}` | {_kind(facts)} | {'' if field in required else 'optional'} | {facts.get('description', '')} |"
        for field, facts in schema.get("properties", {}).items()
    ]
    table = "\n".join(["| argument | kind | | |", "| --- | --- | --- | --- |", *rows]) if rows else "No arguments."
    gate = GATES.get(name, "READ: free")
    return f"## `{name}`\n\n{tool.text}\n\n{table}\n\nGate: {gate}.  \nResult: {RESULTS[name]}\n"


def _kind(facts: Mapping[str, Any]) -> str:
    options = [option for option in facts.get("anyOf", [facts]) if option.get("type") != "null"]
    words = []
    for option in options:
        if "enum" in option:
            words.append(", ".join(f"`{value}`" for value in option["enum"]))
        elif option.get("type") == "array":
            words.append("list")
        else:
            words.append(KINDS.get(option.get("type", ""), "value"))
    return " or ".join(words)


def limits_page() -> str:
    """One heading a key of limits.toml, with its value and the comment above it."""
    lines = [
        "# Limits\n", "Written by `python -m docs.reference` from `policies/limits.toml`; do not edit it by hand.\n",
        "The [rules](rules.md) say who may do what, the limits how much. A copy of the file and of the rules in `$LUTHIER_HOME/policy/` "
        "replaces them as a whole. Money is a decimal text in US dollars.\n",
    ]
    for section, key, value, comment in read_limits((ROOT / "policies" / "limits.toml").read_text(encoding="utf-8")):
        lines.append(f"## `{section}.{key}`\n\n{comment} Default: `{value}`.\n")
    return "\n".join(lines)


def read_limits(text: str) -> list[tuple[str, str, str, str]]:
    """(section, key, value, comment above it) of each line of a limits file."""
    found, section, comment = [], "", []
    for line in text.splitlines():
        if head := re.match(r"\[(\w+)\]", line):
            section, comment = head.group(1), []
        elif line.startswith("#"):
            comment.append(line.lstrip("# "))
        elif pair := re.match(r"(\w+)\s*=\s*(.+)", line):
            found.append((section, pair.group(1), pair.group(2), " ".join(comment)))
            comment = []
        else:
            comment = []
    return found


def rules_page() -> str:
    """One heading a rule file, with each rule as it stands."""
    lines = [
        "# Rules\n", "Written by `python -m docs.reference` from `policies/rules/`; do not edit it by hand.\n",
        "A tool says what a call would do: a set of effects, a cost, a target, whether it takes the machine for long, imports data or "
        "stops something. The rules, in [Cedar](https://www.cedarpolicy.com/), decide from that; no rule knows a tool's name. What no rule "
        "permits is refused; what a rule would permit after a yes asks for one; of several effects the strictest verdict counts.\n",
    ]
    for path in sorted((ROOT / "policies" / "rules").glob("*.cedar")):
        lines.append(f"## `{path.name}`\n\n{RULES.get(path.stem, '')}\n\n```\n{path.read_text(encoding='utf-8').strip()}\n```\n")
    return "\n".join(lines)


PAGES = {"tools.md": tools_page, "runs.md": runs_page, "faults.md": faults_page, "limits.md": limits_page, "rules.md": rules_page,
         "azure.md": azure_page}


def stale() -> list[str]:
    """The pages that are not as the code would have them."""
    return [name for name, page in PAGES.items() if not _same(ROOT / "docs" / name, page())]


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main(words: list[str]) -> int:
    """Write the pages, or with `--check` say which are stale."""
    if "--check" in words:
        old = stale()
        print("\n".join(f"docs/{name} is stale: run `python -m docs.reference`" for name in old) or "The documents are current.")
        return 1 if old else 0
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
