"""`experiments.doctor` answers at once, with what a bug report needs; verbs started by their path say how to start."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from experiments import doctor
from experiments.errors import ExperimentError
from experiments.runs.training import OTHER_ARITHMETIC, refuse_environment

REPOSITORY = Path(__file__).resolve().parents[2]
VERBS = sorted(
    path.stem for path in (REPOSITORY / "experiments").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
)


def test_the_doctor_tells_versions_cores_folders_and_what_the_environment_changes(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("RESNORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "1")
    facts = dict(doctor.facts())
    assert facts["Python"].startswith(platform.python_version())
    assert facts["torch"].startswith(version("torch"))
    assert facts["cache"].startswith(f"{tmp_path / 'cache'}, ") and facts["cache"].endswith(" GiB free")
    assert "PL_TRAINER_MAX_EPOCHS=1" in facts["environment"]
    assert facts["packages"] == "all as pinned"


def test_a_package_of_another_version_is_named(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "0.1" if name == "lightning" else version(name))
    assert dict(doctor.facts())["packages"] == f"lightning 0.1 (pinned {version('lightning')})"


def test_the_doctor_needs_neither_torch_nor_lightning() -> None:
    code = "import sys, experiments.doctor as d; d.main(); sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True).returncode == 0


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_started_by_its_path_says_how_to_start_it(verb: str) -> None:
    done = subprocess.run([sys.executable, f"experiments/{verb}.py"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"error: start it from the repository's folder with: python -m experiments.{verb}\n"


def test_variables_that_would_change_a_run_unseen_are_refused() -> None:
    refuse_environment({"PL_GLOBAL_SEED": "3", "PATH": ""})
    with pytest.raises(ExperimentError, match="PL_TRAINER_MAX_EPOCHS, PL_TRAINER_PRECISION, which would change runs"):
        refuse_environment({"PL_TRAINER_PRECISION": "16", "PL_TRAINER_MAX_EPOCHS": "1"})


@pytest.mark.parametrize("name", OTHER_ARITHMETIC)
def test_variables_that_change_the_precision_of_products_are_refused(name: str) -> None:
    refuse_environment({name: ""})
    with pytest.raises(ExperimentError, match=f"{name}, which changes the precision of products"):
        refuse_environment({name: "1"})


def test_threads_and_draws_are_the_runs_own_whatever_the_environment_says() -> None:
    code = (
        "import torch; from experiments.runs.training import prepare_process; prepare_process(2);"
        "torch.manual_seed(3); print(torch.get_num_threads(), torch.rand(1).item())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, env=os.environ | changes
        ).stdout
        for changes in (
            {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
            {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "3", "PL_GLOBAL_SEED": "9", "PYTHONHASHSEED": "2"},
        )
    }
    assert len(printed) == 1 and printed.pop().startswith("2 0.")
