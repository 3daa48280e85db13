"""Export a trained run: as a model of Hugging Face's transformers, an ONNX graph, or a program of torch.export.

    python -m experiments.export RUN --to FOLDER
    python -m experiments.export RUN --to FOLDER --format onnx
    python -m experiments.export RUN --to FOLDER --push_to_hub me/my-model

RUN is a run folder, FOLDER a new one. By default it gets ``config.json``, ``model.safetensors``, the tokenizer, a model
card and ``modeling_resnorm.py``, the network in one file for people without this project. After
``import experiments.hub``, ``AutoModelForSequenceClassification`` and ``pipeline`` load it. The other formats hold a
graph with free batch and length, and ``classify.py``, which needs none of our source. All three formats clean texts as
training did.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.export")

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal

from jsonargparse import Namespace
from rich.console import Console

from experiments.errors import ExperimentError, explained, readable_errors
from experiments.paths import new_folder
from experiments.planning.parser import StrictParser, add_schemes_option, take_schemes
from experiments.planning.saved_runs import run_folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Export; mistakes end with one line and status 2."""
    with readable_errors():
        parsed = parse(take_schemes(sys.argv[1:] if arguments is None else arguments))
        folder, target = run_folder(parsed.run), new_folder(parsed.to)
        console = Console(force_jupyter=False)
        with console.status("writing the model"):
            written = export(folder, target, parsed.format)
        for name, size in written.items():
            console.print(f"{size:>12,} bytes  {target / name}", markup=False, highlight=False, soft_wrap=True)
        if parsed.push_to_hub is not None:
            with console.status("sending the folder"):
                push(target, parsed.push_to_hub)
            console.print(f"sent to {parsed.push_to_hub}", markup=False, highlight=False)


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.export", description=__doc__)
    parser.add_argument("run", type=str, help="run folder with a checkpoint")
    parser.add_argument("--to", type=str, required=True, help="folder to write, which must be new")
    parser.add_argument(
        "--format",
        type=Literal["huggingface", "onnx", "torch"],
        default="huggingface",
        help="a model of transformers, or a graph of a classifier (onnx needs requirements-export.txt)",
    )
    parser.add_argument(
        "--push_to_hub", type=str, help="id of a repository on the Hub, such as me/my-model, to send it to"
    )
    add_schemes_option(parser)
    return parser.parse_args(list(arguments))


def export(folder: Path, target: Path, kind: str = "huggingface") -> dict[str, int]:
    """Write a run as a new folder, wholly or not at all, and return its files with their sizes.

    Args:
        folder: of a run.
        target: the folder to write, which must be new.
        kind: ``huggingface``, ``onnx`` or ``torch``.

    Raises:
        ExperimentError, ConfigurationError, DataError: the run cannot be loaded, or has no such form.
    """
    from experiments.hub.model_folder import FinishedModel, write_folder

    model = FinishedModel.load(folder)
    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            write_folder(model, kind, partial)
            partial.chmod(0o755)
            partial.rename(new_folder(str(target)))
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return {path.name: path.stat().st_size for path in sorted(target.iterdir())}


def push(folder: Path, repository: str) -> None:
    """Send a folder to a repository on the Hub, which is made if it is not there.

    Raises:
        ExperimentError: the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, HTTPError

    api = HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    except (HTTPError, HFValidationError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ExperimentError(f"{folder} is written, and was not sent to {repository}: {reason}") from None


if __name__ == "__main__":
    main()
