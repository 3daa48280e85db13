"""A finished run written as a folder for others: a model of ``transformers``, or a graph with all it needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tokenizers import Tokenizer, processors
from transformers.utils.logging import disable_progress_bar

from data_modules.tokens.hub_tokenizer import ResNormTokenizer
from data_modules.tokens.tokenization import TextTokenizer
from experiments.errors import ExperimentError
from experiments.hub.flat_file import flat_file
from experiments.hub.model_card import model_card
from experiments.hub.modeling_file import MODELING, modeling_source, network_settings
from experiments.planning.run_config import RunConfig
from experiments.planning.saved_runs import load_run_config
from experiments.runs.inference import TrainedModel
from experiments.runs.record import Record
from experiments.runs.run_folder import RECORD_FILE, read_record
from experiments.runs.writing import TrainedLanguageModel
from experiments.tasks import CAUSAL_LM, CLASSIFICATION, LANGUAGE_TASKS, MASKED_LM
from lightning_modules.export import hub_model
from lightning_modules.export.graphs import save_onnx, save_program
from lightning_modules.facts import TaskFacts
from lightning_modules.network.counting import parameters_in
from lightning_modules.network.network import Network

FORMATS = ("huggingface", "onnx", "torch")
MODEL_CLASSES: dict[str, tuple[str, str]] = {
    CLASSIFICATION.name: ("ResNormForSequenceClassification", "AutoModelForSequenceClassification"),
    CAUSAL_LM.name: ("ResNormForCausalLM", "AutoModelForCausalLM"),
    MASKED_LM.name: ("ResNormForMaskedLM", "AutoModelForMaskedLM"),
}
"""By task, our class and the one of ``transformers`` that loads it."""


@dataclass(frozen=True)
class FinishedModel:
    """What of a run goes into a folder for others."""

    config: RunConfig
    record: Record | None
    network: Network
    """On the CPU, in evaluation mode."""
    facts: TaskFacts
    tokenizer: TextTokenizer

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a run folder as ``predict`` does; nothing but tensors and plain values is unpickled.

        Raises:
            ExperimentError: the run left no network, or its files are damaged.
        """
        config = load_run_config(folder)
        record = read_record(folder) if (folder / RECORD_FILE).is_file() else None
        if config.task in LANGUAGE_TASKS:
            written = TrainedLanguageModel.load(folder)
            return cls(config, record, written.module.network.cpu().eval(), written.facts, written.tokenizer)
        model = TrainedModel.load(folder)
        assert model.module.facts is not None, "it was loaded with them"
        network, tokenizer = model.module.network.cpu().eval(), model.data.encoded.tokenizer
        return cls(config, record, network, model.module.facts, tokenizer)

    @property
    def is_classifier(self) -> bool:
        """Whether it gives rows a class."""
        return self.config.task == CLASSIFICATION.name


def write_folder(model: FinishedModel, kind: str, target: Path) -> None:
    """Write a model into an empty folder.

    Args:
        model: of a run.
        kind: one of :data:`FORMATS`.
        target: the folder.

    Raises:
        ExperimentError, ConfigurationError: the task or the variant has no such form.
    """
    if kind == "huggingface":
        write_hub(model, target)
    else:
        write_graph(model, kind, target)
    card = model_card(model.config, model.record, model.facts.class_names, parameters_in(model.network), kind)
    (target / "README.md").write_text(card, encoding="utf-8")


def write_hub(model: FinishedModel, target: Path) -> None:
    """Write ``config.json``, ``model.safetensors``, the tokenizer's files and ``modeling_resnorm.py``."""
    ours, theirs = MODEL_CLASSES[model.config.task]
    source = modeling_source(model.config.model, ours)
    config = hub_config(model)
    config.auto_map = {"AutoConfig": f"{MODELING}.ResNormConfig", theirs: f"{MODELING}.{ours}"}
    network = getattr(hub_model, ours)(config)
    network.network.load_state_dict(model.network.state_dict())
    disable_progress_bar()
    network.eval().save_pretrained(target)
    hub_tokenizer(model).save_pretrained(target)
    path = target / "tokenizer_config.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts["auto_map"] = {"AutoTokenizer": [None, f"{MODELING}.ResNormTokenizer"]}
    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False), encoding="utf-8")
    (target / f"{MODELING}.py").write_text(source, encoding="utf-8")


def hub_config(model: FinishedModel) -> hub_model.ResNormConfig:
    """Return the configuration for ``transformers``."""
    config, facts = model.config.model, model.facts
    labels: dict[str, Any] = {}
    if model.is_classifier:
        labels = {
            "id2label": dict(enumerate(facts.class_names)),
            "label2id": {name: index for index, name in enumerate(facts.class_names)},
            "problem_type": "single_label_classification" if len(facts.class_names) > 1 else None,
        }
    return hub_model.ResNormConfig(
        settings=network_settings(config),
        vocab_size=facts.vocabulary_size,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        max_position_embeddings=facts.max_length,
        pad_token_id=facts.padding_id,
        zero_padding=facts.padding_id != facts.end_id,
        bos_token_id=facts.end_id if model.config.task == CAUSAL_LM.name else None,
        eos_token_id=facts.end_id,
        next_sentence=facts.next_sentence,
        tie_word_embeddings=not model.is_classifier and config.language_head == "tied",
        **labels,
    )


def hub_tokenizer(model: FinishedModel) -> ResNormTokenizer:
    """Return the tokenizer for ``transformers``, which cleans a text as the corpus was.

    Raises:
        ExperimentError: it has no token that can pad.
    """
    tokenizer, facts = model.tokenizer, model.facts
    backend = Tokenizer.from_str(tokenizer.backend.to_str())
    backend.no_padding()
    backend.no_truncation()
    special = set(tokenizer.special_ids)
    if facts.padding_id not in special:
        raise ExperimentError("the run's tokenizer has no special token that pads, which transformers needs")
    if model.config.task == CAUSAL_LM.name and facts.end_id is not None:  # a text begins after the end of another
        end = backend.id_to_token(facts.end_id)
        backend.post_processor = processors.TemplateProcessing(single=f"{end} $A", special_tokens=[(end, facts.end_id)])
    ids = {
        "pad_token": facts.padding_id,
        "unk_token": tokenizer.unknown_id,
        "cls_token": tokenizer.class_id,
        "eos_token": tokenizer.end_id,
        "mask_token": tokenizer.mask_id,
    }
    names = {name: backend.id_to_token(index) for name, index in ids.items() if index in special}
    return ResNormTokenizer(
        tokenizer_object=backend,
        model_max_length=facts.max_length,
        clean=model.config.data.clean,
        cut=model.is_classifier,
        padding_side="right",
        clean_up_tokenization_spaces=False,
        **names,
    )


RUN_FILE = """
if __name__ == "__main__":
    classify_arguments()
"""


def write_graph(model: FinishedModel, kind: str, target: Path) -> None:
    """Write the graph of a classifier, its tokenizer, and ``classify.py``, which needs nothing of ours.

    Raises:
        ExperimentError: the run is of another task.
        ConfigurationError: the network has no such graph.
    """
    if not model.is_classifier:
        raise ExperimentError(
            f"--format {kind} writes classifiers, and the run is of the task {model.config.task}; use huggingface"
        )
    save, name = (save_onnx, "model.onnx") if kind == "onnx" else (save_program, "model.pt2")
    save(model.network, model.facts.max_length, target / name)
    model.tokenizer.save(target / "tokenizer.json")
    facts = {
        "classes": list(model.facts.class_names),
        "clean": model.config.data.clean,
        "padding_id": model.facts.padding_id,
        "max_length": model.facts.max_length,
        "variant": model.config.model.variant,
    }
    (target / "classifier.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (target / "classify.py").write_text(runner_source(), encoding="utf-8")


def runner_source() -> str:
    """Return ``classify.py``: the runner of graphs with the cleaning that it uses."""
    from experiments.hub import runner

    roots = [(runner.__name__, "classify_arguments")]
    return flat_file(roots, (runner.__doc__ or "").strip(), after=RUN_FILE)
