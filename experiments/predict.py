"""Use what was trained: classes and probabilities for new texts, or what a language model writes.

    python -m experiments.predict RUN --text "What is the boiling point of water ?"
    python -m experiments.predict RUN --file rows.csv --text_column text --output answers.csv
    python -m experiments.predict RUN --prompt "Return the" --temperature 0.8 --top_p 0.9
    python -m experiments.predict RUN --text "The <mask> of a matrix"
    python -m experiments.predict RUN --text "What is the boiling point of water ?" --explain
    python -m experiments.predict RUN --file rows.csv --robust

RUN is a run folder, such as ``results/runs/quick/docstrings/pre_ln/default/seed_0``. Texts on the command line are
answered with a table. The rows of a file come back with the columns ``predicted`` and ``probability_<class>``, other
columns as they were. They are in UTF-8 and the format that the output's ending names, or CSV on standard output. A
causal language model writes on after a prompt; a masked one proposes five words for the gap in a text. ``--explain``
shows what each word adds to the probability of the answer, ``--robust`` how many answers survive small edits of the
texts.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.predict")

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from rich.console import Console
from rich.table import Table

from data_modules.config import FILE_FORMATS
from experiments.errors import ExperimentError, readable_errors
from experiments.escaping import for_terminal, visible
from experiments.planning.parser import StrictParser, add_schemes_option, take_schemes
from experiments.planning.saved_runs import load_run_config, run_folder
from experiments.runs.answered_rows import (
    added_columns,
    compressed,
    format_of,
    parquet_with,
    read_rows,
    table_bytes,
    with_columns,
)
from experiments.runs.run_folder import write_atomically
from experiments.tasks import LANGUAGE_TASKS

if TYPE_CHECKING:  # they take seconds to import
    from experiments.runs.inference import ClassAnswers


MOST_WORDS = 40
"""Words of a text whose contributions are shown."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer texts or a file; mistakes end with one line and status 2."""
    with readable_errors():
        parsed = parse(take_schemes(sys.argv[1:] if arguments is None else arguments))
        check(parsed)
        folder = run_folder(parsed.run)
        if parsed.prompt is not None:
            write_on(folder, parsed)
        elif parsed.explain:
            explain_texts(folder, parsed.text)
        elif parsed.robust:
            measure_robustness(folder, parsed.text or texts_in_file(parsed), parsed.seed)
        elif parsed.text and load_run_config(folder).task in LANGUAGE_TASKS:
            fill_gaps(folder, parsed.text)
        elif parsed.text:
            answer_texts(folder, parsed.text)
        else:
            output = None if parsed.output is None else Path(parsed.output).expanduser()
            answer_file(
                folder, Path(parsed.file).expanduser(), parsed.text_column, output, parsed.encoding, parsed.columns
            )


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
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of what is written at a temperature above 0, and of --robust"
    )
    parser.add_argument(
        "--cache", type=bool, default=True, help="keep keys and values of what was read; the text is the same without"
    )
    endings = ", ".join(FILE_FORMATS)
    parser.add_argument("--file", type=str, help=f"rows to classify ({endings}, by the ending), or a folder of texts")
    parser.add_argument("--text_column", type=str, default="text", help="column of the file that holds the text")
    parser.add_argument("--encoding", type=str, default="utf-8", help="encoding of the file's text")
    parser.add_argument(
        "--columns", type=list[str], help="names of the columns of a csv or tsv file without a header, as [label,text]"
    )
    parser.add_argument("--output", type=str, help="file to write (default: CSV on standard output)")
    parser.add_argument(
        "--explain", action="store_true", help="what each word of --text adds to the answer (requirements-export.txt)"
    )
    parser.add_argument(
        "--robust", action="store_true", help="share of answers that survive swapped letters, lost words, synonyms"
    )
    add_schemes_option(parser)
    return parser.parse_args(list(arguments))


def check(parsed: Namespace) -> None:
    """Raise :class:`ExperimentError` where the options do not fit together, before anything is loaded."""
    if sum((bool(parsed.text), bool(parsed.file), parsed.prompt is not None)) != 1:
        raise ExperimentError("give either --text (once or more), --file or --prompt")
    if parsed.explain and not parsed.text:
        raise ExperimentError("--explain belongs to --text")
    if parsed.robust and parsed.prompt is not None:
        raise ExperimentError("--robust belongs to --text or --file")
    if parsed.explain and parsed.robust:
        raise ExperimentError("give either --explain or --robust")
    if parsed.robust and parsed.output:
        raise ExperimentError("--robust prints a table and writes no rows; leave out --output")
    if parsed.robust and not 0 <= parsed.seed < 2**32:
        raise ExperimentError(f"--seed is {parsed.seed}; it must be a whole number from 0 to 2³² − 1")
    if parsed.output and not parsed.file:
        raise ExperimentError("--output belongs to --file; answers to --text go to the terminal")
    if parsed.output:
        format_of(Path(parsed.output))
    if parsed.file:
        format_of(Path(parsed.file))


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


def explain_texts(folder: Path, texts: list[str]) -> None:
    """Print what each word of every text adds to its answer."""
    from experiments.runs.explaining import explain
    from experiments.runs.inference import TrainedModel

    with Console(stderr=True).status("loading the model"):
        model = TrainedModel.load(folder)
        found = [explain(model, text) for text in texts]
    console = Console()
    for each in found:
        console.print(
            f"[bold]{for_terminal(each.answer)}[/bold] {each.probability:.3f}; without any word {each.baseline:.3f}",
            highlight=False,
        )
        shown = sorted(sorted(range(len(each.words)), key=lambda place: -abs(each.words[place][1]))[:MOST_WORDS])
        table = Table("word", "adds", "", box=None)
        largest = max(abs(value) for _, value in each.words) or 1.0
        for word, value in (each.words[place] for place in shown):
            bar = "█" * round(20 * abs(value) / largest)
            table.add_row(for_terminal(word), f"{value:+.3f}", f"[{'green' if value > 0 else 'red'}]{bar}[/]")
        console.print(table)
        if len(each.words) > len(shown):
            console.print(f"{len(each.words) - len(shown)} words that add less are left out", highlight=False)
        if each.cut:
            console.print(f"the last {each.cut:,} characters were not read", highlight=False)


def measure_robustness(folder: Path, texts: list[str], seed: int) -> None:
    """Print how many answers survive each kind of edit."""
    from experiments.runs.inference import TrainedModel
    from experiments.runs.robustness import survival

    with Console(stderr=True).status("loading the model"):
        found = survival(TrainedModel.load(folder), texts, seed)
    table = Table("edit", "texts", "answers that survive", "95 % interval", box=None)
    for each in found:
        low, high = each.interval or (0.0, 0.0)
        share = "–" if each.share is None else f"{each.share:.3f}"
        table.add_row(each.edit, f"{each.texts:,}", share, "–" if each.share is None else f"{low:.3f} to {high:.3f}")
    console = Console()
    console.print(table)
    console.print("Each edit changes a tenth of the words of a text, at least one.", highlight=False)


def texts_in_file(parsed: Namespace) -> list[str]:
    """Read the texts of the file that the command line names.

    Raises:
        ExperimentError, DataError: it cannot be read, or lacks the column.
    """
    path = Path(parsed.file).expanduser()
    _, texts = read_rows(path, parsed.text_column, parsed.encoding, parsed.columns)
    return texts


def answer_file(
    folder: Path,
    path: Path,
    text_column: str,
    output: Path | None,
    encoding: str = "utf-8",
    columns: Sequence[str] | None = None,
) -> None:
    """Write the rows of a file, or the names of a folder's texts, with their classes and probabilities.

    Raises:
        ExperimentError, DataError: if the file cannot be read or written, or lacks the column.
    """
    file_format = format_of(path)
    table, texts = read_rows(path, text_column, encoding, columns)
    answers = load_and_answer(folder, texts)
    added = added_columns(answers, list(table.columns), path.name)
    if output is not None and file_format == format_of(output) == "parquet":
        written = parquet_with(path, added)
    else:
        written = table_bytes(with_columns(table, added), "csv" if output is None else format_of(output))
    if output is None:
        sys.stdout.write(written.decode())
        return
    write_atomically(output.resolve(), compressed(written, output.name))
    print(f"wrote {len(table)} rows to {output}")


def load_and_answer(folder: Path, texts: Sequence[str]) -> ClassAnswers:
    """Load the run's model, which takes seconds, and answer."""
    from experiments.runs.inference import TrainedModel

    with Console(stderr=True).status("loading the model"):
        return TrainedModel.load(folder).answer(texts)


if __name__ == "__main__":
    main()
