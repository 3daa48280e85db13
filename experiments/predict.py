"""Use what was trained: classes and probabilities for new texts, or what a language model writes.

    python -m experiments.predict RUN --text "What is the boiling point of water ?"
    python -m experiments.predict RUN --file rows.csv --text_column text --output answers.csv
    python -m experiments.predict RUN --prompt "Return the" --temperature 0.8 --top_p 0.9
    python -m experiments.predict RUN --text "The <mask> of a matrix"

RUN is a run folder, such as ``results/runs/quick/docstrings/pre_ln/default/seed_0``. Texts on the command line are
answered with a table; the rows of a file come back with the columns ``predicted`` and ``probability_<class>``, in the
format that the output's ending names, or as CSV on standard output. A causal language model writes on after a prompt; a
masked one proposes five words for the gap in a text.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.predict")

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from rich.console import Console
from rich.table import Table

from data_modules.config import FILE_FORMATS, file_format_of
from data_modules.errors import nearest
from experiments.errors import ExperimentError, readable_errors
from experiments.escaping import for_terminal, visible
from experiments.planning.parser import StrictParser, add_schemes_option, take_schemes
from experiments.planning.saved_runs import load_run_config, run_folder
from experiments.tasks import LANGUAGE_TASKS

if TYPE_CHECKING:  # they take seconds to import
    import pandas as pd

    from experiments.runs.inference import ClassAnswers


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer texts or a file; mistakes end with one line and status 2."""
    with readable_errors():
        parsed = parse(take_schemes(sys.argv[1:] if arguments is None else arguments))
        check(parsed)
        folder = run_folder(parsed.run)
        if parsed.prompt is not None:
            write_on(folder, parsed)
        elif parsed.text and load_run_config(folder).task in LANGUAGE_TASKS:
            fill_gaps(folder, parsed.text)
        elif parsed.text:
            answer_texts(folder, parsed.text)
        else:
            answer_file(folder, Path(parsed.file).expanduser(), parsed.text_column, parsed.output, parsed.encoding)


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.predict", description=__doc__)
    parser.add_argument("run", type=str, help="run folder with a checkpoint")
    parser.add_argument(
        "--text", type=str, action="append", help="a text to classify, or one with a <mask> to fill; may be repeated"
    )
    parser.add_argument("--prompt", type=str, help="a beginning that a causal language model is to continue")
    parser.add_argument("--tokens", type=PositiveInt, default=60, help="most tokens to write after the prompt")
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="logits are divided by it; 0 takes the likeliest token each time"
    )
    parser.add_argument("--top_k", type=PositiveInt | None, help="choose among this many likeliest tokens only")
    parser.add_argument(
        "--top_p", type=float | None, help="choose among the fewest tokens that have this share together"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of what is written at a temperature above 0")
    parser.add_argument(
        "--cache", type=bool, default=True, help="keep keys and values of what was read; the text is the same without"
    )
    parser.add_argument("--file", type=str, help=f"rows to classify: {', '.join(FILE_FORMATS)}, by its ending")
    parser.add_argument("--text_column", type=str, default="text", help="column of the file that holds the text")
    parser.add_argument("--encoding", type=str, default="utf-8", help="encoding of the file's text")
    parser.add_argument("--output", type=str, help="file to write (default: CSV on standard output)")
    add_schemes_option(parser)
    return parser.parse_args(list(arguments))


def check(parsed: Namespace) -> None:
    """Raise :class:`ExperimentError` where the options do not fit together, before anything is loaded."""
    if sum((bool(parsed.text), bool(parsed.file), parsed.prompt is not None)) != 1:
        raise ExperimentError("give either --text (once or more), --file or --prompt")
    if parsed.output and not parsed.file:
        raise ExperimentError("--output belongs to --file; answers to --text go to the terminal")
    if parsed.output:
        format_of(Path(parsed.output))
    if parsed.file:
        format_of(Path(parsed.file))


def format_of(path: Path) -> str:
    """Return the format that a file's ending names.

    Raises:
        ExperimentError: if it names none that is known.
    """
    ending = file_format_of(path.name)
    if ending not in FILE_FORMATS:
        raise ExperimentError(
            f"{path.name} ends in {ending!r}, which is no known format{nearest(ending, FILE_FORMATS)}"
        )
    return ending


def write_on(folder: Path, parsed: Namespace) -> None:
    """Print a prompt and what the run's model writes after it; what a person should know goes to standard error."""
    from experiments.runs.writing import TrainedLanguageModel
    from lightning_modules.network.generation import Sampling

    names = ("temperature", "top_k", "top_p", "seed")
    sampling = Sampling(**{name: parsed[name] for name in names})
    console = Console(stderr=True)
    with console.status("loading the model"):
        written = TrainedLanguageModel.load(folder).write(
            parsed.prompt, parsed.tokens, sampling, cached=parsed["cache"]
        )
    for note in written.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
    print(visible(written.text))


def fill_gaps(folder: Path, texts: list[str]) -> None:
    """Print a table with the likeliest words for the gap of each text."""
    from experiments.runs.writing import TrainedLanguageModel

    with Console(stderr=True).status("loading the model"):
        model = TrainedLanguageModel.load(folder)
        answers = [model.fill(text) for text in texts]
    table = Table("text", "word", "probability")
    for text, answer in zip(texts, answers, strict=True):
        for place, (word, probability) in enumerate(answer):
            table.add_row("" if place else for_terminal(text), for_terminal(word), f"{probability:.3f}")
    Console().print(table)


def answer_texts(folder: Path, texts: list[str]) -> None:
    """Print a table with the classes of ``texts``, the most probable one first."""
    answers = load_and_answer(folder, texts)
    table = Table("text", "answer", "probability", "then")
    for text, probabilities in zip(texts, answers.probabilities, strict=True):
        ranked = sorted(zip(probabilities, answers.class_names, strict=True), key=lambda pair: -pair[0])
        others = ", ".join(f"{name} {probability:.3f}" for probability, name in ranked[1:3])
        table.add_row(for_terminal(text), for_terminal(ranked[0][1]), f"{ranked[0][0]:.3f}", for_terminal(others))
    Console().print(table)


def answer_file(folder: Path, path: Path, text_column: str, output: str | None, encoding: str = "utf-8") -> None:
    """Write the rows of a file with their classes and probabilities.

    Raises:
        ExperimentError, DataError: if the file cannot be read or written, or lacks the column.
    """
    from data_modules.sources.files import read_table
    from data_modules.sources.tables import require_columns

    table = read_table(path, format_of(path), encoding)
    require_columns(path.name, [str(column) for column in table.columns], {"--text_column": text_column})
    answered = add_answers(table, load_and_answer(folder, texts_of(table[text_column])), path.name)
    if output is None:
        answered.to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    write_table(answered, Path(output).expanduser(), format_of(Path(output)))
    print(f"wrote {len(answered)} rows to {output}")


def load_and_answer(folder: Path, texts: Sequence[str]) -> ClassAnswers:
    """Load the run's model, which takes seconds, and answer."""
    from experiments.runs.inference import TrainedModel

    with Console(stderr=True).status("loading the model"):
        return TrainedModel.load(folder).answer(texts)


def texts_of(column: pd.Series) -> list[str]:
    """The cells of a column as text; a missing one is empty."""
    from pandas import isna
    from pandas.api.types import is_scalar

    return ["" if is_scalar(cell) and isna(cell) else str(cell) for cell in column]


def add_answers(table: pd.DataFrame, answers: ClassAnswers, name: str) -> pd.DataFrame:
    """Return a table with the columns ``predicted`` and ``probability_<class>`` added.

    Raises:
        ExperimentError: if the table has such a column already; ``name`` is what it is called.
    """
    import pandas as pd

    added: dict[str, Any] = {"predicted": answers.predicted}
    for index, class_name in enumerate(answers.class_names):
        added[f"probability_{class_name}"] = answers.probabilities[:, index]
    taken = [column for column in added if column in table.columns]
    if taken:
        raise ExperimentError(f"{name} has a column {taken[0]!r} already, which the answers would replace; rename it")
    return pd.concat([table, pd.DataFrame(added, index=table.index)], axis=1)


def write_table(table: pd.DataFrame, path: Path, file_format: str) -> None:
    """Write a table as CSV, TSV, JSONL or Parquet.

    Raises:
        ExperimentError: if the file cannot be written.
    """
    try:
        match file_format:
            case "parquet":
                table.to_parquet(path, index=False)
            case "jsonl":
                table.to_json(path, orient="records", lines=True, force_ascii=False)
            case _:
                separator = "\t" if file_format == "tsv" else ","
                table.to_csv(path, index=False, sep=separator, lineterminator="\n")
    except OSError as error:
        raise ExperimentError(f"{path} cannot be written: {error.strerror or error}") from None


if __name__ == "__main__":
    main()
