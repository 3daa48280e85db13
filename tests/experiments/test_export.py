"""A trained run taken along: the same answers in transformers, with and without this project."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub.errors import HTTPError
from own_schemes import registry_restored
from tiny_runs import make, tiny_run
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

import experiments.hub
from data_modules.cleaning.prepared import prepare
from experiments import export
from experiments.hub.modeling_file import NETWORK_SETTINGS, modeling_source, network_settings
from experiments.planning.saved_runs import load_run_config
from experiments.runs.inference import TrainedModel
from lightning_modules.config import ModelConfig
from lightning_modules.network.network import build_network
from lightning_modules.schemes.own_files import load_scheme_file, read_scheme_file

Fail = Callable[..., str]
DIRTY = ["  <b>MAX 1 2 ]</b>\n", "", "&amp;lt;i&amp;gt; MIN 3\u200b 4", "MAX " * 500, "zzz"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def run(work: Path) -> Path:
    return make(tiny_run(work / "cache", condition="mix_ln"), work / "results")


@pytest.fixture(scope="module")
def texts(run: Path) -> list[str]:
    """All texts of the test split, and some that need to be cleaned or cut."""
    return [*prepare(load_run_config(run).data).splits["test"]["text"][:], *DIRTY]


@pytest.fixture(scope="module")
def expected(run: Path, texts: list[str]) -> np.ndarray:
    return TrainedModel.load(run).answer(texts).probabilities


@pytest.fixture(scope="module")
def folder(run: Path, work: Path) -> Path:
    target = work / "exported"
    export.main([str(run), "--to", str(target)])
    return target


@pytest.fixture
def fails(fails_with_one_line: Fail) -> Fail:
    return partial(fails_with_one_line, export.main)


def probabilities(model: torch.nn.Module, tokenizer: Any, texts: list[str]) -> np.ndarray:
    with torch.no_grad():
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        return model(**batch).logits.softmax(-1).numpy()


def test_transformers_answers_as_predict_does_on_a_whole_split(
    folder: Path, texts: list[str], expected: np.ndarray
) -> None:
    assert experiments.hub.ResNormConfig.model_type == "resnorm"
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(model).__module__ == "lightning_modules.export.hub_model"
    np.testing.assert_allclose(probabilities(model, tokenizer, texts), expected, atol=1e-5)


def test_the_pipeline_takes_raw_text_and_names_classes(folder: Path, texts: list[str], expected: np.ndarray) -> None:
    answers = pipeline("text-classification", model=str(folder))(texts)
    assert [answer["label"] for answer in answers] == [str(index) for index in expected.argmax(axis=1)]
    np.testing.assert_allclose([answer["score"] for answer in answers], expected.max(axis=1), atol=1e-5)


WITHOUT_US = """
import json, sys
from pathlib import Path
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

sys.path.insert(0, {folder!r})
from modeling_resnorm import ResNormForSequenceClassification, ResNormTokenizer

texts, answers = json.loads(Path("texts.json").read_text()), []
for model_class, tokenizer_class, options in (
    (ResNormForSequenceClassification, ResNormTokenizer, {{}}),
    (AutoModelForSequenceClassification, AutoTokenizer, {{"trust_remote_code": True}}),
):
    model = model_class.from_pretrained({folder!r}, **options)
    batch = tokenizer_class.from_pretrained({folder!r}, **options)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        answers.append(model(**batch).logits.softmax(-1).tolist())
assert not {{name.split(".")[0] for name in sys.modules}} & {{"lightning_modules", "data_modules", "experiments"}}
Path("answers.json").write_text(json.dumps(answers))
"""


def test_one_file_is_enough_for_people_without_this_project(
    folder: Path, texts: list[str], expected: np.ndarray, tmp_path: Path
) -> None:
    """Imported plainly, and by ``trust_remote_code``, in a process that cannot find this project."""
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    code = WITHOUT_US.format(folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for answers in json.loads((tmp_path / "answers.json").read_text()):
        np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_the_one_file_has_no_undefined_name_and_nothing_of_another_variant(folder: Path) -> None:
    path = folder / "modeling_resnorm.py"
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F", "--no-cache", str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    text = path.read_text()
    assert "\nclass LayerNorm(" in text and "\nclass RmsNorm(" not in text
    allowed = {"torch", "numpy", "transformers"}
    assert {root for root in imported_roots(path) if root not in sys.stdlib_module_names} == allowed


def test_the_card_has_results_diagram_and_limits(folder: Path, run: Path) -> None:
    card = (folder / "README.md").read_text()
    stored = pd.read_parquet(run / "predictions.parquet")
    accuracy = (stored["label"] == stored["predicted"]).mean()
    assert f"| accuracy | {accuracy:.3f} |" in card
    assert "pipeline_tag: text-classification" in card
    assert "─► attention ─►" in card and "## Limits" in card and "cut after 24 tokens" in card


def test_every_file_is_data_or_source_and_none_is_a_pickle(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"} < names
    assert {Path(name).suffix for name in names} <= {".json", ".safetensors", ".md", ".py"}


def test_a_config_with_another_variant_is_refused_by_the_one_file(folder: Path, tmp_path: Path) -> None:
    sys.path.insert(0, str(shutil.copytree(folder, tmp_path / "copy")))
    try:
        import modeling_resnorm

        settings = json.loads((folder / "config.json").read_text())["settings"]
        with pytest.raises(ValueError, match="this file has the variant mix_ln"):
            modeling_resnorm.ModelConfig(**settings | {"variant": "post_ln"})
    finally:
        sys.path.pop(0)
        sys.modules.pop("modeling_resnorm", None)


def test_a_text_longer_than_the_network_reads_is_refused_where_it_is_not_cut(folder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with pytest.raises(ValueError, match="a row has 25 tokens, and the network reads 24"):
        model(torch.ones(1, 25, dtype=torch.long))


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_a_graph_answers_raw_text_as_predict_does_on_a_whole_split(
    kind: str, run: Path, texts: list[str], expected: np.ndarray, tmp_path: Path
) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxruntime", reason="requirements-export.txt is not installed")
        pytest.importorskip("onnxscript", reason="requirements-export.txt is not installed")
    export.main([str(run), "--to", str(tmp_path / "graph"), "--format", kind])
    spec = spec_from_file_location("classify", tmp_path / "graph" / "classify.py")
    assert spec is not None and spec.loader is not None
    classify = module_from_spec(spec)
    spec.loader.exec_module(classify)
    answers = classify.GraphClassifier(tmp_path / "graph").answer(texts)
    np.testing.assert_allclose(answers, expected, atol=1e-4)
    np.testing.assert_allclose(classify.GraphClassifier(tmp_path / "graph").answer([""]), answers[[-4]], atol=1e-5)
    assert not imported_roots(tmp_path / "graph" / "classify.py") & {"lightning_modules", "data_modules", "experiments"}


def imported_roots(path: Path) -> set[str]:
    """The packages that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_mistakes_end_with_one_line(run: Path, folder: Path, work: Path, tmp_path: Path, fails: Fail) -> None:
    assert "is there already" in fails(run, "--to", folder)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    assert "is a link" in fails(run, "--to", link)
    assert not (tmp_path / "elsewhere").exists()
    assert "does not exist" in fails(work / "nothing", "--to", tmp_path / "new")
    assert "onnx" in fails(run, "--to", tmp_path / "new", "--format", "onxx")
    bare = shutil.copytree(run, work / "bare")
    (bare / "best.ckpt").unlink()
    assert "has no best.ckpt" in fails(bare, "--to", tmp_path / "new")
    (bare / "best.ckpt").write_bytes(b"PK\x03\x04 no checkpoint")
    assert "best.ckpt is damaged" in fails(bare, "--to", tmp_path / "new")
    assert list(tmp_path.iterdir()) == [link]  # nothing half-written stays


def test_push_sends_the_folder_to_the_named_repository(
    folder: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, object]] = []

    class Hub:
        def create_repo(self, repository: str, exist_ok: bool) -> None:
            calls.append(("create", repository))

        def upload_folder(self, repo_id: str, folder_path: Path) -> None:
            calls.append((repo_id, sorted(path.name for path in folder_path.iterdir())))

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    export.main([str(run), "--to", str(tmp_path / "sent"), "--push_to_hub", "me/mine"])
    assert calls == [("create", "me/mine"), ("me/mine", sorted(path.name for path in folder.iterdir()))]


CHANGED = {"norm": "dyt", "only_block": 2, "elsewhere": "post_ln", "embedding_norm": True, "norm_epsilon": 1e-3}


@pytest.mark.parametrize(
    ("variant", "more"),
    [
        *((name, {}) for name in ("ngpt", "hyper_connections", "batch_norm", "layer_drop", "parallel", "sas_p")),
        ("attention_residuals", {"form": "published"}),
        ("pre_ln", CHANGED),
    ],
)
def test_the_one_file_of_every_kind_of_scheme_builds_the_same_network(
    variant: str, more: dict[str, Any], tmp_path: Path
) -> None:
    """Families that differ in residual, attention, norm, state and blocks; weights are copied by name."""
    config = ModelConfig(variant=variant, layers=2, width=8, heads=2, positions="rotary", activation="swiglu", **more)
    sizes = {"vocabulary_size": 20, "outputs": 3, "max_length": 9, "padding_id": 0}
    network = build_network(config, **sizes).eval()
    path = tmp_path / f"modeling_of_{variant}.py"
    path.write_text(modeling_source(config, "ResNormForSequenceClassification"))
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    flat = sys.modules[path.stem] = module_from_spec(spec)
    spec.loader.exec_module(flat)
    hub = flat.ResNormConfig(
        settings=network_settings(config), vocab_size=20, max_position_embeddings=9, id2label={0: "a", 1: "b", 2: "c"}
    )
    model = flat.ResNormForSequenceClassification(hub).eval()
    model.network.load_state_dict(network.state_dict())
    ids = torch.tensor([[1, 5, 7, 2], [3, 9, 0, 0]])
    with torch.no_grad():
        torch.testing.assert_close(model(ids, ids != 0).logits, network(ids, ids != 0))
    assert not imported_roots(path) & {"lightning_modules", "data_modules", "experiments"}


TRAINING_SETTINGS = {
    *("scheme_sha256", "pretrained", "pretrained_sha256", "initialisation", "embedding_std", "word_vectors"),
    *("word_vectors_width", "initialisation_gain", "loss", "class_weights", "label_smoothing", "adversarial"),
    *("adversarial_size", "optimizer", "learning_rate", "weight_decay", "momentum", "beta1", "beta2"),
    *("warmup_fraction", "decay", "schedule_epochs", "compile", "seed"),
}


def test_every_setting_of_a_model_decides_either_the_network_or_its_training() -> None:
    assert {entry.name for entry in fields(ModelConfig)} - TRAINING_SETTINGS == set(NETWORK_SETTINGS)


SCHEME = '''
"""A scheme of a person's own."""

import torch
from torch import nn

from lightning_modules.schemes.variants import VARIANTS, register

SCALE = 0.5


class Halved(nn.Module):
    """Half of what comes."""

    def __init__(self, width, place):
        super().__init__()
        self.gain = nn.Parameter(torch.full((width,), SCALE))

    def forward(self, x):
        return self.gain * x


register(
    VARIANTS["pre_ln"].derive("halved_for_export", title="Halved", formula="x + F/2", source="own",
                              sites={**VARIANTS["pre_ln"].sites, "output": Halved})
)
'''


def test_a_scheme_of_ones_own_goes_into_the_one_file(tmp_path: Path) -> None:
    path = tmp_path / "scheme.py"
    path.write_text(SCHEME)
    with registry_restored():
        load_scheme_file(read_scheme_file(path))
        config = ModelConfig(variant="halved_for_export", layers=1, width=8, heads=2)
        text, settings = modeling_source(config, "ResNormForSequenceClassification"), network_settings(config)
    flat = ModuleType("modeling_halved")
    sys.modules[flat.__name__] = flat
    exec(compile(text, "modeling_halved.py", "exec"), vars(flat))
    hub = flat.ResNormConfig(settings=settings, vocab_size=20, max_position_embeddings=9)
    model = flat.ResNormForSequenceClassification(hub)
    assert (model.network.blocks[0].attention.output[0].gain == 0.5).all()


def test_a_hub_that_cannot_be_reached_is_one_line_and_the_folder_stays(
    folder: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fail
) -> None:
    class Gone:
        def create_repo(self, repository: str, exist_ok: bool) -> None:
            raise HTTPError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi", Gone)
    said = fails(run, "--to", tmp_path / "kept", "--push_to_hub", "me/mine")
    assert "was not sent to me/mine: no route" in said
    assert (tmp_path / "kept" / "model.safetensors").is_file()
