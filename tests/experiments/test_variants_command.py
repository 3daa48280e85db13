"""``python -m experiments.variants`` lists without torch, describes, and prints the committed page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.variants import main
from lightning_modules.schemes.variants import VARIANTS

ROOT = Path(__file__).parents[2]


def test_listing_names_every_variant_and_imports_no_torch() -> None:
    code = "import sys; from experiments.variants import main; main(['list']); assert 'torch' not in sys.modules"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(VARIANTS)
    assert lines[0].endswith("  LN(x + F(x))")


def test_a_variant_is_described_by_its_difference_from_its_parent(capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", "deepnorm"])
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["parent"] == "post_ln"
    assert said["sites"] == "post: norm; skip: deepnorm_alpha"
    assert (said["norms"], said["skips"], said["added"]) == ("12", "12", "parameters  1,536")
    assert "residual" not in said


def test_the_committed_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    main(["table"])
    assert capsys.readouterr().out == (ROOT / "docs" / "schemes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "depnorm"], "did you mean 'deepnorm'"),
        (["show"], "name variants after `show`"),
        (["list", "pre_ln"], "and after nothing else"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
