"""`experiments.probe`: what it prints and writes is what the probes measure, at the start, while training and after."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import make, tiny_run

from data_modules.labelled_text import TextDataModule
from experiments import probe, train
from experiments.errors import ExperimentError
from experiments.planning.parser import given_options
from experiments.planning.yaml_files import write_yaml
from experiments.reporting.probed import PANELS
from experiments.runs.inference import TrainedModel
from experiments.runs.run_folder import read_record
from experiments.studies.depth_profile import DepthProfile, depth_figure, points, shown_depths, terminal_table
from lightning_modules.training.callbacks.probes import Probes

TINY = [
    *("--data.corpus", "listops", "--data.listops.train_rows", "300", "--data.listops.evaluation_rows", "80"),
    *("--data.listops.levels", "1", "--data.max_length", "24", "--data.batch_size", "32", "--probes.rows", "8"),
    *("--model.width", "16", "--model.heads", "2", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def look(cache: Path, results: Path, *arguments: str) -> tuple[Path, list[dict[str, str]]]:
    """Run the command; return the folder that it wrote and the rows of its CSV."""
    probe.main([*arguments, "--results", str(results)])
    (path,) = results.rglob("probes.csv")
    assert (path.parent / "probes.png").read_bytes().startswith(b"\x89PNG")
    with path.open(newline="", encoding="utf-8") as file:
        return path.parent, list(csv.DictReader(file))


def tiny(cache: Path) -> list[str]:
    return [*TINY, "--data.cache_dir", str(cache)]


def test_variants_are_shown_side_by_side(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, rows = look(cache, tmp_path, "pre_ln", "bag_of_embeddings", *tiny(cache), "--model.layers", "3")
    assert folder.relative_to(tmp_path).parts[:3] == ("probe", "listops", "pre_ln+bag_of_embeddings")
    assert [(row["network"], row["depth"]) for row in rows] == [
        *(("pre_ln", str(depth)) for depth in range(4)),
        ("bag_of_embeddings", "0"),
    ]
    assert rows[0]["jacobian_largest"] == rows[4]["jacobian_largest"] == ""
    assert float(rows[3]["jacobian_largest"]) > 0 and float(rows[4]["stream_rms"]) > 0
    printed = capsys.readouterr().out
    assert "pre_ln, step 0" in printed and "rank_one_distance" in printed and "…" not in printed


def kept(cell: str) -> float:
    """A number of the CSV as a record keeps it."""
    return float(f"{float(cell):.5g}")


def test_training_first_shows_the_probes_of_a_run(cache: Path, tmp_path: Path) -> None:
    """The same numbers as a probed run of a grid with the same settings, whose record keeps five significant digits."""
    _, rows = look(cache, tmp_path / "probe", "pre_ln", *tiny(cache), "--model.layers", "1", "--steps", "6",
                   "--model.learning_rate", "0.01")  # fmt: skip
    run = tiny_run(cache)
    run = replace(run, config=run.config.with_values({"probes.every_n_steps": 6, "probes.rows": 8}))
    probes = read_record(make(run, tmp_path / "runs")).history["probes"]
    assert probes["step"] == [0, 6]
    assert [row["step"] for row in rows] == ["0", "0", "6", "6"]
    for name in ("stream_rms", "stream_gradient_norm", "kurtosis"):
        assert [kept(row[name]) for row in rows] == [value for by_depth in probes[name] for value in by_depth]
    assert kept(rows[3]["update_ratio_attention_key"]) == probes["update_ratio_attention_key"][1][0] > 0


def test_the_last_step_is_shown_whatever_lies_between(cache: Path, tmp_path: Path) -> None:
    between = ["--steps", "5", "--probes.every_n_steps", "2"]
    _, rows = look(cache, tmp_path, "pre_ln", *tiny(cache), "--model.layers", "1", *between)
    assert list(dict.fromkeys(row["step"] for row in rows)) == ["0", "2", "4", "5"]


def test_a_probed_run_has_the_record_of_an_unprobed_one(cache: Path, tmp_path: Path) -> None:
    run = tiny_run(cache)
    probed = replace(run, config=run.config.with_values({"probes.every_n_steps": 3, "probes.rows": 8}))
    without = read_record(make(run, tmp_path / "off"))
    record = read_record(make(probed, tmp_path / "on"))
    assert record.history.pop("probes")["step"] == [0, 3, 6, 9]
    assert record.to_json() == without.to_json()


def test_train_takes_the_flag_and_keeps_the_folder(cache: Path, tmp_path: Path) -> None:
    write_yaml(tmp_path / "tiny.yaml", tiny_run(cache).config.as_dict())
    options = ["--config", str(tmp_path / "tiny.yaml"), "--results", str(tmp_path)]
    train.main(["fit", *options, "--probes.every_n_steps", "5", "--trainer.enable_progress_bar", "false"])
    (path,) = tmp_path.rglob("run.json")
    record = read_record(path.parent)
    assert record.history["probes"]["step"] == [0, 5, 10]
    assert not [name for name in record.swept if name.startswith("probes")]


def test_a_trained_run_is_measured_at_its_chosen_weights(cache: Path, tmp_path: Path) -> None:
    folder = make(tiny_run(cache), tmp_path / "runs")
    _, rows = look(cache, tmp_path / "probe", "--run", str(folder), "--probes.rows", "8")
    assert rows[0]["network"] == "pre_ln/default/seed_0"
    assert rows[0]["step"] == str(read_record(folder).progress["best_step"])
    trained = TrainedModel.load(folder)
    batch = trained.data.train_sample(8)
    mask = batch["attention_mask"]
    embedded = trained.module.network.backbone.embeddings(batch["input_ids"]).detach()[mask]
    assert float(rows[0]["stream_rms"]) == pytest.approx(float(embedded.square().mean().sqrt()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either variants"),
        (["pre_ln", "--run", "somewhere"], "give either variants"),
        (["pre_lm"], "did you mean 'pre_ln'"),
        (["pre_ln", "--steps", "-1"], "cannot be negative"),
        (["pre_ln", "--model.lairs", "2"], "did you mean '--model.layers'"),
        (["pre_ln", "--probes.rows", "0"], "probes.rows is 0"),
        (["pre_ln", *TINY, "--steps", "1000"], "training ends after 10"),
        (["pre_ln", "--steps", "5", "--model.compile", "true"], "leave out one of them"),
        (["--run", "x", "--model.layers", "2"], "--model.layers belongs to variants"),
        (["--run", "no/such/folder"], "does not exist"),
    ],
)
def test_mistakes_end_with_one_line(
    arguments: list[str], said: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--results", str(tmp_path)] + (["--data.cache_dir", str(cache)] if TINY[0] in arguments else [])
    with pytest.raises(SystemExit) as stopped:
        probe.main([*arguments, *folders])
    message = capsys.readouterr().err
    assert stopped.value.code == 2 and said in message and message.count("\n") == 1


def test_layers_may_be_given_by_their_short_name() -> None:
    short, long = (given_options(probe.parse(["pre_ln", option, "3"])) for option in ("--layers", "--model.layers"))
    assert short == long == {"model": {"layers": 3}}
    with pytest.raises(ExperimentError, match=r"either --layers or --model\.layers"):
        probe.parse(["pre_ln", "--layers", "3", "--model.layers", "3"])


def test_a_divergence_is_said(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explosive = ["--model.optimizer", "sgd", "--model.learning_rate", "1e30", "--model.warmup_fraction", "0"]
    _, rows = look(cache, tmp_path, "no_norm", *tiny(cache), "--model.layers", "1", "--steps", "8", *explosive)
    assert {row["step"] for row in rows} == {"0"}
    assert "no_norm diverged" in capsys.readouterr().out


def test_the_training_sample_is_one_batch_of_fixed_rows(cache: Path) -> None:
    run = tiny_run(cache)
    data, other = (TextDataModule.from_config(r.config.data) for r in (run, tiny_run(cache, seed=5)))
    state = torch.get_rng_state()
    rows = data.train_sample(8)["rows"].tolist()
    assert torch.equal(torch.get_rng_state(), state)
    assert len(set(rows)) == 8 and rows == other.train_sample(8)["rows"].tolist()
    assert set(rows) <= {row for batch in data.train_sample_dataloader() for row in batch["rows"].tolist()}


def test_depths_are_thinned_out_evenly_and_values_stand_at_their_depth() -> None:
    assert shown_depths(0) == [0] and shown_depths(2) == [0, 1, 2] and shown_depths(12) == [0, 3, 6, 9, 12]
    measures = {"stream_rms": [1.0, 2.0, None], "jacobian_largest": [0.0, -4.0]}
    profile = DepthProfile(name="a", condition="a", corpus="c", step=None, measures=measures)
    assert [profile.value_at("stream_rms", depth) for depth in range(3)] == [1.0, 2.0, None]
    assert [profile.value_at("jacobian_largest", depth) for depth in range(3)] == [None, 0.0, -4.0]
    assert terminal_table(profile).row_count == 2
    panel = next(panel for panel in PANELS if panel.measure == "jacobian_largest")
    depths, values = points(profile, panel)
    assert depths.tolist() == [1, 2] and values[0] != values[0]  # zero has no place on a log scale


def test_every_panel_shows_a_measure_that_exists(cache: Path, tmp_path: Path) -> None:
    probes = Probes(1)
    run = tiny_run(cache)
    run = replace(run, config=run.config.with_values({"probes.every_n_steps": 10, "probes.rows": 4}))
    probes.load_state_dict(read_record(make(run, tmp_path)).history["probes"])
    assert {panel.measure for panel in PANELS} <= set(probes.values)


def test_the_title_of_a_figure_says_how_its_leading_measure_ends() -> None:
    def profile(name: str, *ranks: float | None) -> DepthProfile:
        measures = {"stream_rms": [1.0, None, None], "effective_rank": list(ranks)}
        return DepthProfile(name=name, condition="pre_ln", corpus="toy", step=0, measures=measures)

    alone = depth_figure([profile("Pre-LN", 20.0, 8.0, 4.0)])
    assert alone.title == "Pre-LN, effective rank: from 20 at the bottom to 4 after the last block"
    both = depth_figure([profile("Pre-LN", 20.0, 8.0, 4.0), profile("Plain", 20.0, 2.0, 1.0)])
    assert both.title == "After the last block effective rank is highest in Pre-LN (4), lowest in Plain (1)"
    without = depth_figure([profile("Pre-LN", 20.0, 8.0, None)])
    assert both.caption == without.title == without.caption == "Inside the untrained network, by depth (toy)"
