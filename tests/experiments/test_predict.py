from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_runs import make, tiny_run

from data_modules.cleaning.prepared import prepare
from data_modules.sources.files import read_table
from experiments.planning.saved_runs import load_run_config
from experiments.predict import main
from experiments.runs.inference import TrainedModel

REPOSITORY = Path(__file__).parent.parent.parent
Fail = Callable[..., str]
CLASSES = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def run(work: Path) -> Path:
    return make(tiny_run(work / "cache"), work / "results")


@pytest.fixture(scope="module")
def stored(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "predictions.parquet")


@pytest.fixture(scope="module")
def texts(run: Path, stored: pd.DataFrame) -> list[str]:
    """The texts of the stored predictions, row by row."""
    rows = prepare(load_run_config(run).data).splits["test"]["text"][:]
    return [rows[row] for row in stored["row"]]


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may spoil."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture
def fails(fails_with_one_line: Fail) -> Fail:
    """Run this command, which must fail with one line, and return that line."""
    return partial(fails_with_one_line, main)


def test_answers_agree_with_the_stored_predictions(run: Path, stored: pd.DataFrame, texts: list[str]) -> None:
    answers = TrainedModel.load(run).answer(texts)
    expected = stored[[f"probability_{index}" for index in range(10)]].to_numpy()
    np.testing.assert_allclose(answers.probabilities, expected, atol=1e-5)
    assert answers.predicted == [CLASSES[index] for index in stored["predicted"]]


def test_an_answer_does_not_depend_on_the_other_texts_nor_on_stray_markup(run: Path, texts: list[str]) -> None:
    model = TrainedModel.load(run)
    alone = np.concatenate([model.answer([text]).probabilities for text in texts[:5]])
    together = model.answer(texts[:5][::-1]).probabilities[::-1]
    dressed = model.answer([f"  <b>{text}</b>\n" for text in texts[:5]]).probabilities
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(dressed, alone, atol=1e-5)


def test_an_empty_text_gets_an_answer(run: Path) -> None:
    probabilities = TrainedModel.load(run).answer(["", "MAX 1 2 ]"]).probabilities
    assert probabilities.shape == (2, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_file_comes_back_with_its_columns_and_the_answers(
    run: Path, stored: pd.DataFrame, texts: list[str], tmp_path: Path, ending: str
) -> None:
    rows = pd.DataFrame({"id": [f"00{row}" for row in stored["row"]], "review": texts})
    source, output = tmp_path / f"rows.{ending}", tmp_path / f"answers.{ending}"
    match ending:
        case "parquet":
            rows.to_parquet(source)
        case "jsonl":
            rows.to_json(source, orient="records", lines=True)
        case _:
            rows.to_csv(source, index=False, sep="\t" if ending == "tsv" else ",")
    main([str(run), "--file", str(source), "--text_column", "review", "--output", str(output)])
    read = {
        "csv": lambda: pd.read_csv(output, dtype={"id": str, "predicted": str}),
        "tsv": lambda: pd.read_csv(output, sep="\t", dtype={"id": str, "predicted": str}),
        "jsonl": lambda: pd.read_json(output, lines=True, dtype={"id": str, "predicted": str}),
        "parquet": lambda: pd.read_parquet(output),
    }[ending]()
    assert list(read.columns) == ["id", "review", "predicted", *(f"probability_{name}" for name in CLASSES)]
    assert read["id"].tolist() == rows["id"].tolist()
    assert read["review"].tolist() == texts
    assert read["predicted"].tolist() == [CLASSES[index] for index in stored["predicted"]]
    np.testing.assert_allclose(read["probability_3"], stored["probability_3"], atol=1e-5)


def test_a_compressed_file_in_another_encoding_comes_back_with_its_marks(run: Path, tmp_path: Path) -> None:
    rows = ['"naïve" MAX 1 2 ]', "plain MIN 3 4 ]", 'MAX 5 ] "end"']
    source, output = tmp_path / "rows.tsv.gz", tmp_path / "answers.tsv"
    source.write_bytes(gzip.compress("\n".join(["id\ttext", *(f"00\t{text}" for text in rows)]).encode("latin-1")))
    main([str(run), "--file", str(source), "--encoding", "latin-1", "--output", str(output)])
    assert read_table(output, "tsv")["text"].tolist() == rows
    assert read_table(output, "tsv")["id"].tolist() == ["00"] * 3


def test_without_an_output_file_the_answers_are_csv_on_standard_output(
    run: Path, texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame({"text": texts[:3]}).to_csv(tmp_path / "rows.csv", index=False)
    main([str(run), "--file", str(tmp_path / "rows.csv")])
    answered = pd.read_csv(StringIO(capsys.readouterr().out))
    assert answered["text"].tolist() == texts[:3]
    assert "predicted" in answered.columns


def test_texts_on_the_command_line_are_answered_in_a_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(run), "--text", "MAX 1 2 ]", "--text", "MIN [3] 4 ]"])
    printed = capsys.readouterr().out
    best = TrainedModel.load(run).answer(["MAX 1 2 ]"]).probabilities.max()
    assert "MAX 1 2 ]" in printed and "MIN [3] 4 ]" in printed and f"{best:.3f}" in printed


def test_a_mistake_on_the_command_line_is_one_line(run: Path, tmp_path: Path, fails: Fail) -> None:
    assert "either --text" in fails(run)
    assert "either --text" in fails(run, "--text", "x", "--file", "rows.csv")
    assert "--output belongs to --file" in fails(run, "--text", "x", "--output", "answers.csv")
    assert "did you mean 'jsonl'" in fails(run, "--file", "rows.json")
    assert "'xlsx'" in fails(run, "--file", "rows.csv", "--output", "answers.xlsx")
    assert "--text_column" in fails(run, "--file", "rows.csv", "--text_colunm", "x")
    assert "does not exist" in fails(tmp_path / "absent", "--text", "x")


def test_a_mistake_in_the_file_is_one_line(run: Path, tmp_path: Path, fails: Fail) -> None:
    pd.DataFrame({"review": ["MAX 1 2 ]"]}).to_csv(tmp_path / "rows.csv", index=False)
    assert "did you mean 'rows.csv'" in fails(run, "--file", tmp_path / "row.csv")
    assert "no column 'text' (--text_column)" in fails(run, "--file", tmp_path / "rows.csv")
    pd.DataFrame({"text": ["MAX 1 2 ]"], "predicted": [1]}).to_csv(tmp_path / "rows.csv", index=False)
    assert "a column 'predicted' already" in fails(run, "--file", tmp_path / "rows.csv")


def test_a_missing_checkpoint_says_how_to_train_it_again(copy: Path, fails: Fail) -> None:
    (copy / "best.ckpt").unlink()
    message = fails(copy, "--text", "x")
    assert "clean" in message and f"experiments.train fit --config {copy / 'config.yaml'}" in message


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_checkpoint_is_named(copy: Path, fails: Fail, share: float) -> None:
    path = copy / "best.ckpt"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = fails(copy, "--text", "x")
    assert str(path) in message and "damaged" in message and "train it again" in message


def test_another_corpus_than_the_one_trained_on_is_refused(copy: Path, fails: Fail) -> None:
    config = (copy / "config.yaml").read_text()
    assert "train_rows: 300" in config
    (copy / "config.yaml").write_text(config.replace("train_rows: 300", "train_rows: 310"))
    assert "is not the one" in fails(copy, "--text", "x")


def test_the_baseline_without_a_network_says_so(work: Path, fails: Fail) -> None:
    run = tiny_run(work / "cache", condition="tfidf_logistic_regression", baseline=True)
    assert "scikit-learn" in fails(make(run, work / "results"), "--text", "x")


def test_a_wrong_column_is_found_before_torch_and_lightning_are_imported(run: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("words\nMAX 1 2\n")
    program = (
        "import sys\nfrom experiments.predict import main\n"
        f"try:\n    main([{str(run)!r}, '--file', {str(tmp_path / 'rows.csv')!r}])\n"
        "finally:\n    print(*sorted({'torch', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 2 and "has no column 'text'" in done.stderr
    assert done.stdout.strip() == ""
