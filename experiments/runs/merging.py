"""Which records belong to one table: the same run once, the same data everywhere, the same settings in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_modules.config import SPLIT_SETTINGS
from experiments.errors import RecordError
from experiments.runs.canonical import canonical_json
from experiments.runs.naming import run_name
from experiments.runs.record import Record

Key = tuple[str, str, str, int]


def merge_records(
    local: Iterable[Record],
    committed: Iterable[Record],
    wanted: Collection[str] | None = None,
    *,
    called: str = "committed",
) -> tuple[list[Record], list[str]]:
    """Return the records of one table, sorted, and what was left out.

    The same run (configuration hash and seed) is there once, as the local record. A run that an error stopped is not a
    result and is in no table. A committed record is left out in three cases. Its data have another fingerprint than the
    local ones. Local runs have other rows by the same rules of splitting, since the code that cleans and cuts has
    changed. Or local runs of its cell have other settings. ``called`` names such records in the messages.

    Raises:
        RecordError: if what remains has two fingerprints, other rows by the same rules, or two settings in one cell.
    """
    left_out: Counter[str] = Counter()
    kept: dict[Key, Record] = {}
    for record in local:
        if wanted is not None and record.config_hash not in wanted:
            left_out["local record(s) left out: the plan has no such run"] += 1
        elif record.outcome.status == "failed":
            left_out["run(s) left out that an error stopped; `run` makes them again"] += 1
        else:
            kept[run_key(record)] = record
    fingerprints = {_fingerprint(record) for record in kept.values()}
    settings: dict[str, set[str]] = {}
    rows: dict[str, set[str]] = {}
    for record in kept.values():
        settings.setdefault(_cell(record), set()).add(_settings(record))
        rows.setdefault(_splitting(record), set()).add(split_hash(record))
    for record in committed:
        cell = _cell(record)
        if run_key(record) in kept:
            continue
        if wanted is not None and record.config_hash not in wanted:
            left_out[f"{called} record(s) left out: the plan has no such run"] += 1
        elif fingerprints and _fingerprint(record) not in fingerprints:
            left_out[f"{called} record(s) left out: their data have another fingerprint than the local runs'"] += 1
        elif split_hash(record) not in rows.get(_splitting(record), {split_hash(record)}):
            left_out[f"{called} record(s) left out: their splits hold other rows than the local runs'"] += 1
        elif cell in settings and _settings(record) not in settings[cell]:
            left_out[f"{called} record(s) left out: local runs of the same cell have other settings"] += 1
        else:
            kept[run_key(record)] = record
    records = sorted(kept.values(), key=lambda record: (record.stage, record.condition, *_order(record)))
    _refuse_mixtures(records)
    return records, [f"{count} {reason}" for reason, count in sorted(left_out.items())]


def without_paths(record: Record) -> Record:
    """Return the record with paths in its configuration and the source of its data shortened to their last part."""
    data = {name: _shorten(value) if name == "source" else value for name, value in record.data.items()}
    return replace(record, config=_shorten(record.config), data=data)


def _shorten(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shorten(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shorten(item) for item in value]
    if isinstance(value, str) and value.startswith(("/", "./", "../", "~/")):
        return Path(value).name
    return value


def _refuse_mixtures(records: list[Record]) -> None:
    runs: dict[str, list[str]] = {}
    splits: dict[str, dict[str, str]] = {}
    settings: dict[str, dict[str, str]] = {}
    for record in records:
        splits.setdefault(_splitting(record), {}).setdefault(split_hash(record), run_name(record))
        runs.setdefault(_fingerprint(record), []).append(run_name(record))
        settings.setdefault(_cell(record), {}).setdefault(_settings(record), run_name(record))
    if len(runs) > 1:
        parts = "; ".join(f"{key} ({len(names)} runs, such as {names[0]})" for key, names in sorted(runs.items()))
        raise RecordError(f"the runs were made on different data and cannot share a table: {parts}")
    outdated = "finish the grid, or remove the outdated run folder"
    for names in splits.values():
        _refuse_two(names, f"were made on different rows of the same text and cannot share a table: how it is cleaned "
                    f"or split has changed; {outdated}")  # fmt: skip
    for names in settings.values():
        _refuse_two(names, f"belong to one row of the table but were made with different settings; {outdated}")


def _refuse_two(names: Mapping[str, str], reason: str) -> None:
    """Refuse more than one value, each with the name of a run that has it."""
    if len(names) > 1:
        first, second, *_ = names.values()
        raise RecordError(f"{first} and {second} {reason}")


def run_key(record: Record) -> Key:
    """Return what makes two records the same run, whoever made it."""
    return record.condition, record.stage, record.config_hash, record.seed


def _order(record: Record) -> tuple[str, int, str]:
    return _cell(record), record.seed, record.config_hash


def _fingerprint(record: Record) -> str:
    return str(record.data.get("fingerprint"))


def split_hash(record: Record) -> str:
    """Return the digest of the rows that the run's splits held."""
    return str(record.data.get("split_hash"))


def _splitting(record: Record) -> str:
    """Return the rules by which the rows were cleaned and split, which decide the splits of a text."""
    data = record.config.get("data") or {}
    return canonical_json({name: data.get(name) for name in SPLIT_SETTINGS})


def _cell(record: Record) -> str:
    """Name what becomes one row of a table, or one tuning trial."""
    return run_name(record).rsplit("/", 1)[0]


def _settings(record: Record) -> str:
    """Return the configuration without what may differ between the seeds of a row."""
    config = {name: value for name, value in record.config.items() if name not in ("seed", "seed_everything")}
    if isinstance(config.get("data"), dict):
        config["data"] = {name: value for name, value in config["data"].items() if name != "cache_dir"}
    return canonical_json(_shorten(config))
