from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from data_modules.config import ListOpsOptions
from data_modules.errors import DataError
from data_modules.labelled_text import TextDataModule


def module(**settings: Any) -> TextDataModule:
    return TextDataModule(
        **{"corpus": "listops", "listops": ListOpsOptions(train_rows=2_100, evaluation_rows=100)} | settings
    )


def test_facts_describe_the_training_rows() -> None:
    data = module(batch_size=64)
    facts = data.facts
    labels = data.corpus.splits["train"]["label"][:]
    assert facts.class_counts == tuple(labels.count(label) for label in range(10))
    assert facts.steps_per_epoch == len(data.train_dataloader()) == len(list(data.train_dataloader())) == 33
    assert facts.vocabulary_size == 3 + 10 + 2 + 1  # special tokens, digits, MAX and MIN, the closing bracket


def test_a_tune_run_cannot_reach_the_test_split() -> None:
    data = module(stage="tune")
    for reach in (data.test_dataloader, lambda: data.texts("test"), lambda: data.groups("test")):
        with pytest.raises(DataError, match="never reads the test split"):
            reach()
    assert sum(len(batch["rows"]) for batch in module(stage="final").test_dataloader()) == 100


def test_the_training_sample_is_fixed_and_at_most_two_thousand_rows() -> None:
    rows = [
        [row for batch in module(seed=seed).train_sample_dataloader() for row in batch["rows"].tolist()]
        for seed in (0, 1)
    ]
    assert rows[0] == rows[1] and len(set(rows[0])) == 2_000


def test_worker_processes_give_the_same_batches() -> None:
    alone, helped = ([batch["rows"].tolist() for batch in module(num_workers=n).train_dataloader()] for n in (0, 1))
    assert alone == helped


def test_lightning_sets_the_epoch_of_the_order() -> None:
    from lightning.fabric.utilities.data import _set_sampler_epoch

    loader = module().train_dataloader()
    first = [batch["rows"].tolist() for batch in loader]
    _set_sampler_epoch(loader, 1)
    second = [batch["rows"].tolist() for batch in loader]
    _set_sampler_epoch(loader, 0)
    assert first != second
    assert [batch["rows"].tolist() for batch in loader] == first


class RowsSeen(LightningModule):
    """Notes the rows of every batch, by what the trainer does with it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[int]] = {"train": [], "validation": []}

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        self.seen["train"] += batch["rows"].tolist()
        return self.weight * 0

    def validation_step(self, batch: Any, index: int) -> None:
        self.seen["validation"] += batch["rows"].tolist()

    def predict_step(self, batch: Any, index: int) -> list[int]:
        return batch["rows"].tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(**flags: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "barebones": False}
    return Trainer(accelerator="cpu", max_epochs=1, enable_model_summary=False, num_sanity_val_steps=0, **quiet | flags)


def test_a_plain_trainer_sees_every_row_once() -> None:
    model, data = RowsSeen(), module(stage="final")
    trainer().fit(model, datamodule=data)
    assert sorted(model.seen["train"]) == list(range(2_100)) and sorted(model.seen["validation"]) == list(range(100))


@pytest.mark.parametrize("stage", ["tune", "final"])
def test_a_plain_trainer_predicts_the_split_that_the_stage_may_see(stage: str) -> None:
    data = module(stage=stage)
    batches: Any = trainer().predict(RowsSeen(), datamodule=data)
    split = data.corpus.splits["test" if stage == "final" else "validation"]
    assert [row for batch in batches for row in batch] == list(range(len(split)))


TWO_PROCESSES = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
import test_labelled_text as tests

class Told(tests.RowsSeen):
    def on_train_end(self):
        Path(sys.argv[2], str(self.global_rank)).write_text(str(self.seen))

tests.trainer(devices=2, strategy="ddp_fork").fit(Told(), datamodule=tests.module())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows cannot fork, and ddp_fork is what is tested")
def test_two_processes_of_a_plain_trainer_share_every_row(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWO_PROCESSES, __file__, str(tmp_path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONPATH": "."})
    parts = [ast.literal_eval(path.read_text()) for path in sorted(tmp_path.glob("[01]"))]
    assert len(parts) == 2
    for split, rows in {"train": 2_100, "validation": 100}.items():
        assert sorted(parts[0][split] + parts[1][split]) == list(range(rows))
        assert min(len(part[split]) for part in parts) >= 0.4 * rows


def test_overfitting_batches_is_refused_with_another_way() -> None:
    with pytest.raises(DataError, match=r"trainer\.overfit_batches is not supported; use data\.max_train_rows"):
        trainer(overfit_batches=1).fit(RowsSeen(), datamodule=module())


def test_new_texts_are_encoded_as_the_corpus_was() -> None:
    data = module()
    texts = data.texts("validation")
    (expected,) = data.val_dataloader()
    (batch,) = data.text_batches([f"<b>{text}</b>  " for text in texts])
    assert batch["input_ids"].equal(expected["input_ids"]) and batch["rows"].equal(expected["rows"])


def test_new_texts_are_left_as_they_are_where_the_corpus_was_not_cleaned() -> None:
    data = module(clean=False)
    (dressed,), (bare,) = data.text_batches(["<b>MAX</b>"]), data.text_batches(["MAX"])
    assert dressed["attention_mask"].sum() > bare["attention_mask"].sum()


@pytest.mark.parametrize("tokenizer", ["word", "char"])
def test_what_only_evaluation_rows_hold_is_unknown(tokenizer: str, tmp_path: Path) -> None:
    paths = {}
    for name, word in {"train": "aaa", "validation": "bbb", "test": "ccc"}.items():
        paths[f"{name}_file"] = str(tmp_path / f"{name}.csv")
        rows = [f"{word}," + label for label in "xy" for _ in range(20)]
        Path(paths[f"{name}_file"]).write_text("\n".join(["text,label", *rows]))
    data = TextDataModule(corpus="csv", tokenizer=tokenizer, deduplicate=False, near_duplicate_threshold=None, **paths)
    known, *unknown = (data.encoded.tokenizer.encode([word])[0] for word in ("aaa", "bbb", "ccc", "ddd"))
    assert unknown == [unknown[0]] * 3
    assert known != unknown[0]


def test_a_second_start_takes_the_encoded_rows_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = module().facts
    monkeypatch.setattr("data_modules.tokens.tokenization.learn", lambda *args: pytest.fail("learned a second time"))
    assert module().facts == facts


@pytest.mark.parametrize("changes", [{"lowercase": False}, {"max_length": 4}, {"tokenizer": "char"}], ids=str)
def test_other_settings_of_the_tokenizer_find_nothing_in_the_cache(changes: dict[str, Any]) -> None:
    def encoded(data: TextDataModule) -> tuple[list[list[int]], int]:
        return data.encoded.tokenizer.encode(["max 2"]), int(data.encoded.splits["train"].lengths.max())

    assert encoded(module()) != encoded(module(**changes))
