from __future__ import annotations

from pathlib import Path

import pytest

from experiments.corpus import main


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")


def test_describe_shows_counts_lengths_unknown_words_overlaps_and_rows(tmp_path: Path, capsys) -> None:
    rows = [f"<b>word{number}</b> is {'good' if number % 2 else 'bad'} and long,{number % 2}" for number in range(40)]
    (tmp_path / "own.csv").write_text("\n".join(["text,label", *rows]))
    flags = [
        "--data.corpus",
        "csv",
        "--data.train_file",
        str(tmp_path / "own.csv"),
        "--data.near_duplicate_threshold",
        "null",
    ]
    main(["describe", *flags, "--data.max_length", "4", "--examples", "1"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "cleaning.train.html_tags 40" in shown
    assert "all 32 4 4" in shown
    assert "truncated rows 100.00% 100.00% 100.00%" in shown
    assert "unknown tokens 0.00% 16.67% 16.67%" in shown  # one word of <cls> and five is new in each row
    assert "train / test 0" in shown
    assert "<b>" not in shown and "is good and long" in shown


def test_a_tokenizer_that_does_not_fit_the_text_is_told(tmp_path: Path, capsys) -> None:
    signs = "天地玄黄宇宙洪荒日月盈昃辰宿列张"
    rows = [f"{signs[n % 16]}{signs[n // 16]}{signs[-n % 7]}好书,{n % 2}" for n in range(200)]
    (tmp_path / "own.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    flags = ["--data.corpus", "csv", "--data.train_file", str(tmp_path / "own.csv")]
    flags += ["--data.near_duplicate_threshold", "null"]
    said = []
    for more in ([], ["--data.tokenizer", "char"]):
        main(["describe", *flags, *more])
        said.append("tokens are unknown" in " ".join(capsys.readouterr().out.split()))
    assert said == [True, False]


def test_a_config_file_does_as_flags_do(tmp_path: Path, capsys) -> None:
    (tmp_path / "c.yaml").write_text(
        "data:\n  corpus: listops\n  listops:\n    train_rows: 50\n    evaluation_rows: 40\n"
    )
    main(["describe", "--config", str(tmp_path / "c.yaml")])
    assert "rows.train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--data.corpus", "docstrngs"], "did you mean 'docstrings'"), (["--data.corp", "docstrings"], "--data.corp")],
)
def test_mistakes_end_with_status_two_and_no_traceback(flags: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["describe", *flags])
    assert raised.value.code == 2
    shown = capsys.readouterr().err
    assert message in shown and "Traceback" not in shown
