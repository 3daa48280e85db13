"""The model card of an exported run: what it is, what it scored, how to use it, what it cannot do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from experiments.escaping import as_markdown_code, for_markdown
from experiments.hub.modeling_file import MODELING
from experiments.planning.run_config import RunConfig
from experiments.reporting.render import rounded
from experiments.runs.record import Record, Scores
from experiments.scheme_cards import diagram, status
from experiments.tasks import CAUSAL_LM, CLASSIFICATION, MASKED_LM, task_named
from lightning_modules.schemes.variants import PADDING, ROWS, Variant

PIPELINES = {
    CLASSIFICATION.name: "text-classification",
    CAUSAL_LM.name: "text-generation",
    MASKED_LM.name: "fill-mask",
}
"""Name of the pipeline of ``transformers`` that a task's model is for."""
MOST_CLASSES = 50
"""Classes whose scores a card shows."""


def model_card(
    config: RunConfig, record: Record | None, class_names: Sequence[str], parameters: int, kind: str = "huggingface"
) -> str:
    """Return the card in Markdown.

    Args:
        config: of the run.
        record: of the run, if it has one.
        class_names: of a classifier.
        parameters: weights of the network.
        kind: ``huggingface``, ``onnx`` or ``torch``: what the folder holds.
    """
    scheme = config.model.scheme
    lines = [*front_matter(config), f"# {for_markdown(scheme.title)} on {for_markdown(config.data.slug)}", ""]
    lines += [
        f"A Transformer of {config.model.depth} blocks and width {config.model.width}, {parameters:,} parameters, "
        f"trained by ResNorm Lab for the task {as_markdown_code(config.task)}. Residual connections and normalisation "
        f"are those of {as_markdown_code(scheme.name)}: {as_markdown_code(scheme.formula)}.",
        "",
        f"Source of the scheme: {for_markdown(scheme.source)}. Status: {status(scheme)}.",
        "",
        "```text",
        diagram(scheme).replace("```", "'''"),
        "```",
        "",
        *use(config, kind),
        *results(config, record, class_names),
        *training(config, record),
        *limits(config, scheme),
    ]
    return "\n".join(lines) + "\n"


def front_matter(config: RunConfig) -> list[str]:
    """Return the part of a card that the Hub reads."""
    facts = {
        "library_name": "transformers",
        "pipeline_tag": PIPELINES[config.task],
        "tags": ["resnorm-lab", "residual-connections", "normalization", config.model.variant],
    }
    return ["---", yaml.safe_dump(facts, sort_keys=False).strip(), "---", ""]


def use(config: RunConfig, kind: str) -> Iterator[str]:
    """Yield how to use what the folder holds."""
    yield from ("## Use it", "")
    if kind != "huggingface":
        needed = "onnxruntime" if kind == "onnx" else "torch"
        yield from (f"`classify.py` needs numpy, tokenizers and {needed}:", "", "```console")
        yield from ('python classify.py "A text" "Another"', "```", "")
        return
    call = f'pipeline("{PIPELINES[config.task]}", model=FOLDER'
    yield from ("With ResNorm Lab at hand, one import is enough:", "", "```text", "import experiments.hub")
    yield from ("from transformers import pipeline", f'{call})("A text")', "```", "")
    yield from (
        f"Without it, `{MODELING}.py` in this folder is the network. Read it before you trust it:",
        "",
        "```text",
    )
    yield from ("from transformers import pipeline", f'{call}, trust_remote_code=True)("A text")', "```", "")
    if config.data.clean:
        yield from ("The tokenizer cleans a text as training did: no HTML, no control characters, single spaces.", "")


def results(config: RunConfig, record: Record | None, class_names: Sequence[str]) -> Iterator[str]:
    """Yield what the run scored."""
    yield from ("## Results", "")
    scores = None if record is None else record.test or record.validation
    if record is None or scores is None:
        yield from ("The run left no record with scores.", "")
        return
    split = "test" if record.test is not None else "validation"
    yield from (f"One seed, {split} rows of `{for_markdown(record.corpus)}`, chosen on validation rows.", "")
    yield from ("| metric | value |", "| --- | --- |")
    for metric in task_named(config.task).metrics:
        if scores.metrics.get(metric.name) is not None:
            yield f"| {metric.title} | {rounded(scores.metrics[metric.name])} |"
    yield ""
    yield from by_class(scores, class_names)


def by_class(scores: Scores, class_names: Sequence[str]) -> Iterator[str]:
    """Yield the table of the classes."""
    rows: list[dict[str, Any]] = scores.details.get("per_class", [])[:MOST_CLASSES]
    if rows:
        yield from ("| class | rows | accuracy | precision | recall | F1 |", "| --- | --- | --- | --- | --- | --- |")
        for row in rows:
            cells = [rounded(row[name]) for name in ("accuracy", "precision", "recall", "f1")]
            yield f"| {for_markdown(str(row['class']))} | {row['support']:,} | {' | '.join(cells)} |"
        yield ""
    if len(class_names) > len(rows) > 0:
        yield from (f"{len(class_names) - len(rows)} further classes are left out.", "")


def training(config: RunConfig, record: Record | None) -> Iterator[str]:
    """Yield on what, and for how long, it was trained."""
    yield from ("## Training", "")
    yield f"- corpus {as_markdown_code(config.data.slug)}, rows of at most {config.data.max_length} tokens"
    yield f"- {config.model.optimizer}, learning rate {config.model.learning_rate:g}, dropout {config.model.dropout:g}"
    yield f"- seed {config.seed}, configuration `{config.hash()}`"
    if record is not None:
        rows = record.data.get("rows", {}).get("train")
        yield f"- {record.progress.get('steps', 0):,} steps{'' if rows is None else f' on {rows:,} training rows'}"
        yield f"- text fingerprint {as_markdown_code(str(record.data.get('fingerprint'))[:16])}"
        yield f"- outcome: {record.outcome.status}"
    yield ""


def limits(config: RunConfig, scheme: Variant) -> Iterator[str]:
    """Yield what the model cannot do."""
    yield from ("## Limits", "")
    longest = config.data.max_length
    if config.task == CLASSIFICATION.name:
        yield f"- Texts are cut after {longest} tokens."
        yield "- It answers with one of its classes whatever the text is about."
    else:
        yield f"- It reads at most {longest} tokens."
    if config.task == CAUSAL_LM.name:
        yield "- It keeps no keys and values, so each further token reads the text anew. Prompts go one by one."
    yield "- It was trained to compare architectures: it is small, and nobody looked for harmful answers."
    yield "- Probabilities are not calibrated; `python -m experiments.evaluate` measures how far off they are."
    if scheme.mixes & {PADDING, ROWS}:
        mixed = " and ".join(sorted(scheme.mixes & {PADDING, ROWS}))
        yield f"- An answer depends on {mixed} of its batch, by the scheme's definition."
