"""Grid files: which settings win, what is refused, and which runs come out."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import ExperimentError
from experiments.paths import GRIDS, REPOSITORY
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.saved_runs import run_config_of
from experiments.planning.yaml_files import read_yaml
from lightning_modules.errors import ConfigurationError

SHIPPED = sorted(GRIDS.glob("*.yaml"))
CORPORA = [
    (path.stem, corpus) for path in SHIPPED for corpus in [None, *(read_yaml(path).get("corpora") or {})]
]  # fmt: skip


def grid_file(folder: Path, **changes: object) -> str:
    content = {
        "conditions": ["pre_ln", {"name": "wide", "variant": "pre_ln", "model": {"width": 128}}],
        "baselines": ["tfidf_logistic_regression"],
        "seeds": 2,
        "model": {"layers": 3, "width": 32},
        "data": {"corpus": "listops", "batch_size": 16},
        "corpora": {"listops": {"data": {"batch_size": 8}, "note": "Generated."}},
    }
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("name", "corpus"), CORPORA, ids=str)
def test_every_shipped_grid_parses_for_every_corpus_it_names(name: str, corpus: str | None) -> None:
    grid = Grid.load(name, {"data": {"corpus": f"owner/{corpus}" if corpus else "docstrings"}})
    assert grid.conditions and grid.title and grid.purpose
    assert len({run.name for run in [*tune_runs(grid), *final_runs(grid)]}) == len(tune_runs(grid)) + len(
        final_runs(grid)
    )


@pytest.mark.parametrize("path", sorted((REPOSITORY / "experiments" / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_configuration_is_valid(path: Path) -> None:
    content = read_yaml(path)
    config = run_config_of({"trainer": {}, "threads": 1, **content})
    assert config.model.variant == content["model"]["variant"]


def test_base_corpus_condition_and_command_line_win_in_this_order(tmp_path: Path) -> None:
    grid = Grid.load(grid_file(tmp_path), {"model": {"layers": 5}})
    plain, wide, _ = grid.conditions
    assert (plain.config.model.width, wide.config.model.width) == (32, 128)
    assert plain.config.data.batch_size == 8
    assert plain.config.model.layers == wide.config.model.layers == 5
    assert grid.note == "Generated."


def test_an_override_gives_the_grid_a_name_of_its_own(tmp_path: Path) -> None:
    path = grid_file(tmp_path)
    assert Grid.load(path).name == "own"
    assert Grid.load(path, {"model": {"layers": 5}}).name == "own+layers=5"
    assert Grid.load(path, {"data": {"corpus": "docstrings"}, "trainer": {"accelerator": "cpu"}}, seeds=7).name == "own"


def test_a_folder_and_a_hub_id_of_the_same_corpus_have_one_slug() -> None:
    for corpus in ("fancyzhx/ag_news", "ag_news", "../somewhere/ag_news"):
        assert Grid.load("article", {"data": {"corpus": corpus}}).corpus == "ag_news"


def test_seeds_are_paired_and_a_baseline_has_one(tmp_path: Path) -> None:
    runs = final_runs(Grid.load(grid_file(tmp_path)))
    assert Counter(run.condition for run in runs) == {"pre_ln": 2, "wide": 2, "tfidf_logistic_regression": 1}
    assert [run.seed for run in runs if run.condition == "pre_ln"] == [0, 1]
    assert {run.stage for run in runs} == {run.config.data.stage for run in runs} == {"final"}


def test_final_runs_wait_for_tuning(tmp_path: Path) -> None:
    tuning = {"seeds": 1, "spaces": {"default": {"model.learning_rate": [1e-3, 3e-3]}}}
    grid = Grid.load(grid_file(tmp_path, tuning=tuning))
    trials = tune_runs(grid)
    assert len(trials) == 4
    assert {run.config.data.stage for run in trials} == {"tune"}
    assert {run.config.model.learning_rate for run in trials} == {1e-3, 3e-3}
    assert [run.pending for run in final_runs(grid) if not run.baseline] == [True] * 4


@given(layers=st.lists(st.integers(1, 30), min_size=1, max_size=4, unique=True), seeds=st.integers(1, 4))
def test_a_sweep_makes_every_combination_once(
    tmp_path_factory: pytest.TempPathFactory, layers: list[int], seeds: int
) -> None:
    path = grid_file(tmp_path_factory.mktemp("grid"), sweep={"model.layers": layers}, seeds=seeds)
    runs = [run for run in final_runs(Grid.load(path)) if not run.baseline]
    assert Counter(run.config.model.layers for run in runs) == dict.fromkeys(layers, 2 * seeds)
    assert len({run.folder(Path()) for run in runs}) == len(runs)


def test_an_override_takes_the_place_of_a_sweep(tmp_path: Path) -> None:
    path = grid_file(tmp_path, sweep={"model.layers": [2, 4], "data.max_train_rows": [500, 1000]})
    runs = [run for run in final_runs(Grid.load(path, {"model": {"layers": 3}})) if not run.baseline]
    assert {run.config.model.layers for run in runs} == {3}
    assert {run.swept["data.max_train_rows"] for run in runs} == {500, 1000}
    assert all(run.config.data.max_train_rows == run.swept["data.max_train_rows"] for run in runs)


def test_a_number_may_name_a_condition(tmp_path: Path) -> None:
    grid = Grid.load(grid_file(tmp_path, conditions=[{"name": 6, "variant": "pre_ln"}]))
    assert {run.folder(Path()).parts[-3] for run in final_runs(grid) if not run.baseline} == {"6"}


def test_a_baseline_is_fitted_once_for_each_swept_text_and_no_more(tmp_path: Path) -> None:
    sweep = {"model.layers": [1, 2], "data.max_train_rows": [500, 1000]}
    fits = [run for run in final_runs(Grid.load(grid_file(tmp_path, sweep=sweep))) if run.baseline]
    assert [(run.swept, run.config.data.max_train_rows) for run in fits] == [
        ({"data.max_train_rows": 500}, 500),
        ({"data.max_train_rows": 1000}, 1000),
    ]
    (fit,) = [run for run in final_runs(Grid.load(grid_file(tmp_path, sweep={"model.layers": [1, 2]}))) if run.baseline]
    assert fit.swept == {}


def test_swept_values_are_checked_together(tmp_path: Path) -> None:
    path = grid_file(tmp_path, model={"heads": 3}, conditions=["pre_ln"], sweep={"model.width": [48, 96]})
    assert {run.config.model.width for run in final_runs(Grid.load(path)) if not run.baseline} == {48, 96}
    with pytest.raises(ConfigurationError, match="does not divide"):
        Grid.load(grid_file(tmp_path, model={"heads": 3}, conditions=["pre_ln"], sweep={"model.width": [64]}))


def test_what_is_tuned_or_swept_cannot_be_set_in_vain(tmp_path: Path) -> None:
    tuning = {"seeds": 1, "spaces": {"default": {"model.learning_rate": [1e-3, 3e-3]}}}
    with pytest.raises(ExperimentError, match=r"model\.learning_rate is tuned"):
        Grid.load(grid_file(tmp_path, tuning=tuning), {"model": {"learning_rate": 1e-2}})
    own = {"name": "own", "variant": "pre_ln", "model": {"learning_rate": 1e-2}}
    with pytest.raises(ExperimentError, match="tune: false"):
        Grid.load(grid_file(tmp_path, tuning=tuning, conditions=[own]))
    untuned = Grid.load(grid_file(tmp_path, tuning=tuning, conditions=[{**own, "tune": False}]))
    assert [run.config.model.learning_rate for run in final_runs(untuned) if not run.baseline] == [1e-2] * 2
    with pytest.raises(ExperimentError, match="sweeps"):
        Grid.load(grid_file(tmp_path, sweep={"model.width": [32, 64]}))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"condtions": []}, "'conditions'"),
        ({"conditions": []}, "conditions is []"),
        ({"conditions": ["pre_nl"]}, "'pre_ln'"),
        ({"conditions": ["pre_ln", "pre_ln"]}, "twice"),
        ({"conditions": [{"name": "a", "varant": "pre_ln"}]}, "'variant'"),
        ({"baselines": ["tfidf"]}, "tfidf_logistic_regression"),
        ({"sweep": {"data.listops.levels": [1, 2]}}, "one text, so run the grid once for each"),
        ({"sweep": {"model.variant": ["pre_ln", "plain"]}}, "variants are named under conditions"),
        ({"sweep": {"data.stage": ["tune", "final"]}}, "a stage of their own"),
        ({"conditions": ["pre_ln", {"name": "a", "variant": "plain", "data": {"corpus": "docstrings"}}]}, "one text"),
        ({"tuning": {"spaces": {"default": {"data.clean": [True, False]}}}}, "different validation rows"),
        ({"model": {"layer": 2}}, "layers"),
        ({"seeds": 0}, "at least 1"),
        ({"sweep": {"model.layers": ["six"]}}, "int"),
        ({"sweep": {"model.layers": 6}}, "must be a list"),
        ({"sweep": {"model.layer": [6]}}, "layers"),
        ({"corpora": {"listops": {"model": 3}}}, "corpora.listops.model is 3"),
        ({"threads": "two"}, "threads is 'two'"),
        ({"tuning": {"spaces": {"default": {"model.learning_rate": 1e-3}}}}, "must be a list"),
        ({"tuning": {"spaces": {"default": {"model.learning_rate": ["fast"]}}}}, "float"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_wrong_grid_file_says_what_is_wrong(tmp_path: Path, changes: dict[str, object], expected: str) -> None:
    with pytest.raises(ExperimentError) as refused:
        Grid.load(grid_file(tmp_path, **changes))
    assert expected in str(refused.value)


def test_a_value_out_of_range_is_refused_by_its_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not divide"):
        Grid.load(grid_file(tmp_path, model={"width": 32, "heads": 5}))


def test_a_corpus_may_have_seeds_and_conditions_of_its_own(tmp_path: Path) -> None:
    special = {"listops": {"seeds": 5, "conditions": ["plain"]}}
    path = grid_file(tmp_path, corpora=special)
    assert (len(Grid.load(path).seeds), [c.name for c in Grid.load(path).conditions][:1]) == (5, ["plain"])
    assert len(Grid.load(path, seeds=1).seeds) == 1, "the command line wins"
    assert len(Grid.load(path, {"data": {"corpus": "docstrings"}}).seeds) == 2


def test_a_condition_may_be_tuned_over_values_of_its_own_but_with_no_more_trials(tmp_path: Path) -> None:
    spaces = {"default": {"model.learning_rate": [1e-3, 3e-3]}, "wide": {"model.learning_rate": [1e-2, 3e-2]}}
    grid = Grid.load(grid_file(tmp_path, tuning={"spaces": spaces}))
    tried = {run.condition: set() for run in tune_runs(grid)}
    for run in tune_runs(grid):
        tried[run.condition].add(run.config.model.learning_rate)
    assert tried == {"pre_ln": {1e-3, 3e-3}, "wide": {1e-2, 3e-2}}
    spaces["wide"]["model.learning_rate"].append(1e-1)
    with pytest.raises(ExperimentError, match="same number"):
        Grid.load(grid_file(tmp_path, tuning={"spaces": spaces}))
    with pytest.raises(ExperimentError, match="'wide'"):
        Grid.load(grid_file(tmp_path, tuning={"spaces": {**spaces, "wider": {}}}))


def test_numbers_in_scientific_notation_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("a: 1e-3\nb: 1.5E+2\nc: 1e\nd: [3e-4, 2]\n")
    assert read_yaml(path) == {"a": 1e-3, "b": 150.0, "c": "1e", "d": [3e-4, 2]}


def test_a_condition_may_stay_out_of_the_sweep_and_a_corpus_may_have_its_own(tmp_path: Path) -> None:
    conditions = ["pre_ln", {"variant": "bag_of_embeddings", "sweep": False}]
    corpora = {"listops": {"sweep": {"model.layers": [1, 5]}}}
    path = grid_file(tmp_path, conditions=conditions, sweep={"model.layers": [2, 4, 6]}, corpora=corpora)
    made = [(condition.name, condition.swept) for condition in Grid.load(path).conditions if not condition.baseline]
    assert made == [("pre_ln", {"model.layers": 1}), ("pre_ln", {"model.layers": 5}), ("bag_of_embeddings", {})]
    elsewhere = Grid.load(path, {"data": {"corpus": "docstrings"}}).conditions
    assert [condition.swept.get("model.layers") for condition in elsewhere[:3]] == [2, 4, 6]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "article"),
        ({"corpus": "listops"}, "article --data.corpus listops"),
        ({"corpus": "/somewhere/trec"}, "article --data.corpus CogComp/trec"),
        ({"corpus": "/somewhere/thucnews10"}, "article --data.corpus FOLDER/thucnews10"),
        (
            {"corpus": "csv", "train_file": "/somewhere/mine.csv", "label_column": "y", "max_length": 9},
            "article --data.corpus csv --data.train_file mine.csv --data.label_column y --data.max_length 9",
        ),
    ],
)
def test_a_grid_knows_the_words_that_name_it_without_any_folder(data: dict[str, object], expected: str) -> None:
    assert Grid.load("article", {"data": data}).arguments == expected


def test_a_grid_has_no_loader_processes(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="num_workers is 2; in a grid it must be 0"):
        Grid.load(grid_file(tmp_path), {"data": {"num_workers": 2}})
