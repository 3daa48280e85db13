from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from data_modules.config import DataConfig, ListOpsOptions
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig, TrainerConfig
from experiments.planning.saved_runs import load_run_config, run_folder, run_names
from experiments.planning.yaml_files import write_yaml
from lightning_modules.config import ModelConfig

CONFIG = RunConfig(
    model=ModelConfig(variant="post_ln", layers=3, learning_rate=2e-4),
    data=DataConfig(corpus="listops", stage="final", listops=ListOpsOptions(train_rows=50, operators=("MAX", "SM"))),
    trainer=TrainerConfig(max_epochs=2, gradient_clip_val=None, precision="bf16-mixed"),
    threads=2,
).with_seed(7)


def test_a_config_that_a_grid_wrote_comes_back_as_it_was(tmp_path: Path) -> None:
    write_yaml(tmp_path / "config.yaml", CONFIG.as_dict())
    assert load_run_config(tmp_path) == CONFIG


def test_a_config_that_lightning_cli_saved_means_the_same_run(tmp_path: Path) -> None:
    saved = CONFIG.as_dict()
    saved["model"]["seed"] = saved["data"]["seed"] = 7
    flags = {"logger": None, "callbacks": None, "enable_progress_bar": True, "devices": "auto", "num_nodes": 1}
    saved["trainer"] |= flags
    saved |= {"ckpt_path": None, "weights_only": None, "results": "elsewhere", "name": "train"}
    write_yaml(tmp_path / "config.yaml", saved)
    assert load_run_config(tmp_path) == CONFIG
    assert load_run_config(tmp_path).hash() == CONFIG.hash()


def test_the_config_that_lightning_cli_really_saves_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from experiments.train import main

    with pytest.raises(SystemExit):
        main(["fit", "--seed_everything", "3", "--model.layers", "2", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert "ckpt_path" in printed and "logger" in printed["trainer"]
    write_yaml(tmp_path / "config.yaml", printed)
    expected = RunConfig(model=ModelConfig(layers=2)).with_seed(3)
    assert load_run_config(tmp_path) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model": {"layer": 2}}, "layer"),
        ({"model": [1]}, "section model"),
        ({"data": {"tokenizer": "wrod", "batch_size": "many"}}, "batch_size"),
    ],
)
def test_a_spoilt_config_is_refused_by_name(tmp_path: Path, content: dict, words: str) -> None:
    write_yaml(tmp_path / "config.yaml", content)
    with pytest.raises(ExperimentError, match=words):
        load_run_config(tmp_path)


def test_a_folder_that_is_no_run_says_what_is_near(tmp_path: Path) -> None:
    run = tmp_path / "grid" / "pre_ln" / "default" / "seed_0"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("model: {}\n")
    assert run_folder(str(run)) == run
    with pytest.raises(ExperimentError, match="did you mean 'seed_0'"):
        run_folder(str(run.with_name("seed_1")))
    with pytest.raises(ExperimentError, match="did you mean 'pre_ln'"):
        run_folder(str(tmp_path / "grid" / "pre_lm" / "default" / "seed_0"))
    with pytest.raises(ExperimentError, match="the runs below it are: pre_ln/default/seed_0"):
        run_folder(str(tmp_path / "grid"))
    with pytest.raises(ExperimentError, match="is a file"):
        run_folder(str(run / "config.yaml"))


def test_runs_of_the_same_name_in_two_grids_are_told_apart() -> None:
    quick, article = (Path(f"/results/runs/{grid}/listops/pre_ln/default/seed_0") for grid in ("quick", "article"))
    plain = Path("/results/runs/quick/listops/plain/default/seed_0")
    assert run_names([quick, plain]) == ["pre_ln/default/seed_0", "plain/default/seed_0"]
    assert run_names([quick, article]) == [f"{grid}/listops/pre_ln/default/seed_0" for grid in ("quick", "article")]
