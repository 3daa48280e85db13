"""Numbers, files and texts beyond reason end in one line, in bounded time and memory."""

from __future__ import annotations

import contextlib
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, cast, get_args, get_type_hints

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.config import DataConfig, DocstringsOptions, ListOpsOptions, ProseOptions
from data_modules.errors import DataError
from experiments import ablation, corpus, probe, train
from experiments.errors import ExperimentError, RecordError
from experiments.making.engines import EngineOptions
from experiments.planning.run_config import ProbesConfig, RunConfig, StartConfig, TrainerConfig
from experiments.planning.yaml_files import DEEPEST, MOST_VALUES, TooLarge, read_yaml, refuse_bombs
from experiments.runs.canonical import parse_json
from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError

Fail = Callable[..., str]
Build = Callable[[Any], Any]
REFUSED = (ConfigurationError, DataError, ExperimentError)
ABSURD: dict[str, Any] = {
    "10^11": 10**11,
    "-10^11": -(10**11),
    "5000 digits": 10**5_000,
    "-5000 digits": -(10**5_000),
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "1e300": 1e300,
    "-1": -1,
    "true": True,
    "text": "6",
    "long text": "1" * 5_000,
}
CONFIGURATIONS: dict[type, Build] = {
    ModelConfig: lambda values: ModelConfig(**values),
    DataConfig: lambda values: DataConfig(**values),
    ListOpsOptions: lambda values: DataConfig(listops=ListOpsOptions(**values)),
    ProseOptions: lambda values: DataConfig(prose=ProseOptions(**values)),
    DocstringsOptions: lambda values: DataConfig(docstrings=DocstringsOptions(**values)),
    TrainerConfig: lambda values: TrainerConfig(**values),
    ProbesConfig: lambda values: ProbesConfig(**values),
    RunConfig: lambda values: RunConfig(**values),
    StartConfig: lambda values: StartConfig(**values),
    EngineOptions: lambda values: EngineOptions(**values),
}
NUMBERS = [
    (config, name)
    for config in CONFIGURATIONS
    for name, hint in get_type_hints(config).items()
    if {int, float} & set(get_args(hint) or (hint,))
]


def test_every_configuration_of_a_run_is_looked_at() -> None:
    found = {RunConfig}
    for config in found | {type(getattr(RunConfig(), entry.name)) for entry in fields(RunConfig)}:
        if is_dataclass(config):
            built = cast(Any, config)()
            found |= {config} | {type(getattr(built, entry.name)) for entry in fields(config)}
    assert {config for config in found if is_dataclass(config)} <= CONFIGURATIONS.keys()
    assert len(NUMBERS) > 40


@pytest.mark.parametrize("absurd", ABSURD)
@pytest.mark.parametrize(("config", "name"), NUMBERS, ids=lambda part: getattr(part, "__name__", part))
def test_an_absurd_number_is_refused_in_a_short_line_that_names_its_field(config: type, name: str, absurd: str) -> None:
    if float in (get_args(get_type_hints(config)[name]) or (get_type_hints(config)[name],)):
        with contextlib.suppress(*REFUSED):  # a rate of 1e30 is a number: such a run diverges
            built = CONFIGURATIONS[config]({name: ABSURD[absurd]})
            assert absurd in ("10^11", "1e300") and getattr(built, name) == ABSURD[absurd]
            return
    with pytest.raises(REFUSED) as refused:
        CONFIGURATIONS[config]({name: ABSURD[absurd]})
    assert name in str(refused.value)
    assert len(str(refused.value)) < 400 and "\n" not in str(refused.value)


@pytest.mark.parametrize(("config", "name"), NUMBERS, ids=lambda part: getattr(part, "__name__", part))
@settings(max_examples=15)
@given(data=st.data())
def test_a_number_is_taken_or_refused_and_never_an_error_of_ours(config: type, name: str, data: st.DataObject) -> None:
    value = data.draw(st.integers(-(2**40), 2**40) | st.floats() | st.none() | st.integers(-3, 3) | st.text(max_size=3))
    try:
        built = CONFIGURATIONS[config]({name: value})
    except REFUSED as error:
        assert len(str(error)) < 400
        return
    found = getattr(built if type(built) is config else built.listops, name)
    assert found == value
    assert found is None or (math.isfinite(found) and (isinstance(found, float) or abs(found) <= 2**41))


def test_missing_values_and_numbers_of_numpy_are_taken_where_they_belong() -> None:
    of_numpy: dict[str, Any] = {"layers": np.int64(3), "dropout": np.float32(0.25), "embedding_std": None}
    config = ModelConfig(**of_numpy)
    assert (config.layers, config.dropout) == (3, 0.25)
    assert (type(config.layers), type(config.dropout)) == (int, float)
    with pytest.raises(ConfigurationError, match=r"model\.layers is 2\.0; it must be a whole number"):
        ModelConfig(layers=cast(Any, 2.0))
    assert NoneType in get_args(get_type_hints(TrainerConfig)["gradient_clip_val"])


def test_numbers_that_are_absurd_together_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="are not built"):
        ModelConfig(layers=5_000, width=50_000, heads=1)
    with pytest.raises(DataError, match="may give expressions of"):
        DataConfig(listops=ListOpsOptions(levels=20, maximum_arguments=100))
    assert replace(ModelConfig(), layers=1_000).layers == 1_000


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model.layers", "1" * 5_000],
        ["--model.learning_rate", "1" * 5_000],
        ["--model.layers", str(10**11)],
        ["--seeds", str(10**11)],
        ["--seeds", "1" * 5_000],
        ["--workers", str(10**11)],
        ["--data", "[" * 3_000],
        ["--model", "{a: " * 3_000 + "}" * 3_000],
        ["--conditions", "[" * 100_000],
        ["--data.columns", "[&a [x,x,x,x,x,x,x,x,x], &b [*a,*a,*a,*a,*a,*a,*a], [*b,*b,*b,*b,*b,*b,*b,*b,*b]]"],
        ["--trainer.max_epochs", "nan"],
        ["--trainer.gradient_clip_val", "-1"],
        ["--trainer.gradient_clip_val", ".nan"],
        ["--probes.every_n_steps", "9" * 400],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_a_command_answers_such_an_option_with_one_short_line(
    arguments: list[str], tmp_path: Path, fails_with_one_line: Fail
) -> None:
    message = fails_with_one_line(ablation.main, "plan", "smoke", *arguments, "--results", tmp_path)
    assert len(message) < 1_200


@pytest.mark.parametrize("seed", [str(10**11), "-1", "1" * 5_000, "true"], ids=lambda seed: seed[:9])
def test_a_seed_that_no_generator_takes_is_refused(seed: str, tmp_path: Path, fails_with_one_line: Fail) -> None:
    options = ["--results", tmp_path, "--data.cache_dir", tmp_path]
    message = fails_with_one_line(train.main, "fit", "--seed_everything", seed, *options)
    assert "seed" in message and len(message) < 1_200
    assert "seed" in fails_with_one_line(probe.main, "pre_ln", "--seed", seed, *options)
    assert not (tmp_path / "runs").exists()


LAUGHS = "\n".join(
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
)


def bombs() -> dict[str, str]:
    return {
        "laughs": LAUGHS,
        "laughs in mappings": LAUGHS.replace("[", "{k: [").replace("]", "]}"),
        "flow depth": "model: " + "[" * 100_000,
        "mapping depth": "model: " + "{a: " * 5_000,
        "block depth": "".join(f"{' ' * depth}a:\n" for depth in range(500)),
        "digits": "seeds: " + "1" * 5_000,
        "many values": "title: [" + "x," * (MOST_VALUES + 1) + "]",
        "size": "title: " + "x" * 2_000_000,
        "date": "title: 2024-99-99",
        "key": "? [a, b]\n: c",
        "loop": "title: &a [*a]",
    }


COMMANDS: dict[str, tuple[Any, list[str]]] = {
    "plan": (ablation.main, ["plan"]),
    "fit": (train.main, ["fit", "-c"]),
    "describe": (corpus.main, ["describe", "--config"]),
}


TRIED = [("plan", name) for name in bombs()]
TRIED += [(verb, name) for verb in ("fit", "describe") for name in ("laughs", "loop", "mapping depth")]


@pytest.mark.parametrize(("verb", "name"), TRIED)
def test_a_file_that_would_fill_memory_is_refused_at_once(
    name: str, verb: str, tmp_path: Path, fails_with_one_line: Fail
) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(bombs()[name])
    started = time.perf_counter()
    command, arguments = COMMANDS[verb]
    message = fails_with_one_line(command, *arguments, path)
    assert len(message) < 1_200
    assert time.perf_counter() - started < 20


def test_settings_with_a_few_anchors_are_read(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text("a: &a {x: 1, y: [2, 3]}\nb: *a\nc: [*a, *a]\n")
    assert read_yaml(tmp_path / "grid.yaml")["c"] == [{"x": 1, "y": [2, 3]}] * 2


@given(
    value=st.recursive(
        st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=5),
        max_leaves=60,
    )
)
def test_the_count_of_values_is_that_of_the_loaded_text(value: Any) -> None:
    def size(part: Any) -> int:
        parts = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return 1 + (len(part) if isinstance(part, dict) else 0) + sum(map(size, parts))

    def depth(part: Any) -> int:
        parts = part.values() if isinstance(part, dict) else part if isinstance(part, list) else None
        return 0 if parts is None else 1 + max(map(depth, parts), default=0)

    text = yaml.safe_dump(value) + " " * 60
    if depth(value) < DEEPEST:
        refuse_bombs(text)
    several = yaml.safe_dump({"a": [value] * 3}, default_flow_style=True)
    if size(value) * 3 > MOST_VALUES:
        with pytest.raises(TooLarge):
            refuse_bombs(several)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"schema": 1, "seed": ' + "1" * 5_000 + "}", "thousands of digits"),
        ('{"schema": 1, "seed": ' + "1" * 100 + "}", "seed is not a finite number"),
        ("[" * 200_000, "nested too deeply"),
    ],
    ids=["digits", "a hundred digits", "open brackets"],
)
def test_a_record_of_absurd_values_is_refused(text: str, reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        parse_json(text)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_a_bomb_of_aliases_needs_little_memory(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(LAUGHS)
    code = f"from experiments.ablation import main; main(['plan', {str(tmp_path / 'grid.yaml')!r}])"
    limit = 1 << 30
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
    )
    assert done.returncode == 2 and "names more than" in done.stderr
