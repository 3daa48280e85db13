"""The section of ``report.md`` that says what the runs ran on and how to rebuild its folder."""

from __future__ import annotations

from collections import Counter
from typing import Any

from experiments.reporting.render import plural
from experiments.reporting.rows import Description
from experiments.runs.canonical import canonical_json
from experiments.runs.record import Record
from experiments.runs.store import Evidence


def environment_section(evidence: Evidence, description: Description) -> str:
    """Return what the runs ran on, and how to rebuild this folder."""
    groups = Counter(canonical_json(_environment(record)) for record in evidence.records)
    examples = {canonical_json(_environment(record)): record.environment for record in evidence.records}
    lines = []
    for key, count in sorted(groups.items(), key=lambda group: (-group[1], group[0])):
        environment = examples[key]
        versions = ", ".join(f"{name} {version}" for name, version in sorted(environment.get("versions", {}).items()))
        members = environment.get("population")
        device = environment.get("device")
        population = f", in a population of {members} (an earlier version; today's code cannot repeat it)"
        where = f"{device}{population if members else ''}"
        dirty = ", with uncommitted changes" if environment.get("git_dirty") else ""
        lines.append(
            f"- {plural(count, 'run')}: {where}, precision {environment.get('precision')}, "
            f"{plural(environment.get('threads', 1), 'thread')}, Python {environment.get('python')}, {versions}; "
            f"commit `{environment.get('git_commit') or 'unknown'}`{dirty}"
        )
    command = f"python -m experiments.ablation report {description.arguments}"
    lines += [
        "",
        "`records.jsonl.gz` and `predictions.parquet` hold every run behind these tables (times stand in "
        f"`timing.csv`). `{command}` rewrites this folder from them; "
        f"`python -m experiments.ablation run {description.arguments}` makes the runs again.",
    ]
    return "\n".join(lines)


def _environment(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.environment.items() if name != "git_branch"}
