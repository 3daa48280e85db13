"""The configuration of a run: its identity, its hash, and defaults that do not change by accident."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from data_modules.config import DataConfig
from data_modules.errors import DataError
from experiments.planning.run_config import ProbesConfig, RunConfig, TrainerConfig
from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError

GOLDEN = Path(__file__).parent / "golden" / "default_configuration.json"


def test_all_seeds_of_a_condition_share_a_hash() -> None:
    assert len({RunConfig().with_seed(seed).hash() for seed in range(3)}) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"model.layers": 7},
        {"model.learning_rate": 2e-3},
        {"data.max_train_rows": 10},
        {"data.stage": "final"},
        {"data.docstrings.mask_identifiers": True},
        {"trainer.max_epochs": 9},
    ],
    ids=str,
)
def test_a_changed_value_changes_the_hash(changes: dict[str, object]) -> None:
    assert RunConfig().with_values(changes).hash() != RunConfig().hash()


def test_threads_change_the_hash_since_they_change_the_numbers() -> None:
    assert RunConfig(threads=2).hash() != RunConfig().hash()


def test_options_of_another_corpus_and_the_cache_do_not_change_the_hash() -> None:
    changed = RunConfig().with_values({"data.listops.levels": 5, "data.cache_dir": "elsewhere"})
    assert changed.hash() == RunConfig().hash()


def test_embeddings_count_in_the_hash_only_where_their_spread_is_chosen() -> None:
    chosen = RunConfig().with_values({"model.embedding_std": 0.02})
    assert chosen.hash() != RunConfig().hash() and "embedding_std" not in RunConfig().identity()["model"]


def test_probes_decide_no_number_and_do_not_change_the_hash() -> None:
    probed = RunConfig().with_values({"probes.every_n_steps": 10, "probes.rows": 4})
    assert probed.hash() == RunConfig().hash() and "probes" not in probed.identity()
    assert probed.as_dict()["probes"] == {"every_n_steps": 10, "rows": 4}


def test_the_device_decides_no_number_that_a_run_is_known_by() -> None:
    assert RunConfig().with_values({"trainer.accelerator": "cpu"}).hash() == RunConfig().hash()


def test_no_path_is_part_of_the_identity(tmp_path: Path) -> None:
    def config(folder: str) -> RunConfig:
        files = {"train_file": f"{folder}/rows.csv", "test_file": f"{folder}/more.csv", "cache_dir": folder}
        return RunConfig(data=DataConfig(corpus="csv", **files))

    assert str(tmp_path) not in json.dumps(config(str(tmp_path)).identity())
    assert config(str(tmp_path)).hash() == config("elsewhere").hash()


def test_a_seed_reaches_model_and_data() -> None:
    config = RunConfig().with_seed(7)
    assert (config.seed, config.model.seed, config.data.seed) == (7, 7, 7)


def test_changed_values_are_checked_together() -> None:
    assert RunConfig().with_values({"model.width": 60, "model.heads": 5}).model.heads == 5
    with pytest.raises(ConfigurationError, match="does not divide"):
        RunConfig().with_values({"model.heads": 5})
    with pytest.raises(DataError, match="batch_size"):
        RunConfig().with_values({"data.batch_size": 0})


def test_defaults_change_on_purpose_only() -> None:
    """A changed default silently changes what old commands mean. On purpose: put the new values into the file."""
    defaults = {
        "model": asdict(ModelConfig()),
        "data": asdict(DataConfig()),
        "trainer": asdict(TrainerConfig()),
        "probes": asdict(ProbesConfig()),
        "threads": RunConfig().threads,
    }
    assert json.loads(json.dumps(defaults)) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_tracking_train_metrics_is_no_part_of_what_a_run_is() -> None:
    tracked = RunConfig(trainer=TrainerConfig(track_train_metrics=True))
    assert tracked.hash() == RunConfig().hash()
    assert tracked.as_dict() == RunConfig().as_dict(), "Lightning's command line reads config.yaml"


def test_further_corpora_count_by_their_names_wherever_they_are() -> None:
    there, here = (RunConfig(data=DataConfig(more_text=(name,))) for name in ("CogComp/trec", "/data/sets/trec"))
    assert there.hash() == here.hash() != RunConfig().hash()
    assert here.identity()["data"]["more_text"] == ["trec"] and "more_text" not in RunConfig().identity()["data"]
