"""``variants check`` finds each kind of fault of a scheme file, one line each, and none in the documented file."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from experiments.errors import ExperimentError
from experiments.scheme_checks import PROPERTIES, run_checks

ROOT = Path(__file__).parents[2]
HEAD = """
import time
import torch
from torch import nn
from lightning_modules.network.sites import Norm
from lightning_modules.network.sublayer import Residual
from lightning_modules.schemes.placements import PRE_LN
from lightning_modules.schemes.variants import register

def add(name, **parts):
    register(PRE_LN.derive(name, title=name, formula="x", source="a test", **parts))
"""
FAULTY = (
    HEAD
    + """
class Halving(Norm):
    def forward(self, x): return x[..., ::2]
class InPlace(Norm):
    def forward(self, x): return x.mul_(2)
class Noisy(Norm):
    def forward(self, x): return x + 0.1 * torch.randn_like(x)
class Single(Norm):
    def forward(self, x): return x.float()
class OverTokens(Norm):
    def forward(self, x): return x - x.mean(1, keepdim=True)
class OverRows(Norm):
    def forward(self, x): return x - x.mean(0, keepdim=True)
class Unused(Norm):
    def __init__(self, width, place):
        super().__init__(width, place)
        self.gain = nn.Parameter(torch.ones(width))
    def forward(self, x): return x
class Forgetful(Norm):
    def __init__(self, width, place):
        super().__init__(width, place)
        self.calls = 0
    def forward(self, x):
        self.calls += self.training
        return x / (1 + self.calls)
class NoPost(Residual):
    def forward(self, x, branch): return x + branch(x)
add("halving", norm=Halving)
add("in_place", norm=InPlace)
add("noisy", norm=Noisy)
add("single", norm=Single)
add("over_tokens", norm=OverTokens)
add("over_rows", norm=OverRows)
add("unused", norm=Unused)
add("forgetful", norm=Forgetful)
add("no_post", residual=NoPost, sites={"input": "norm", "post": "norm"})
print("a file may print")
"""
)


def found(path: Path, text: str, seconds: float = 300) -> dict[str, dict[str, str]]:
    path.write_text(text, encoding="utf-8")
    faults: dict[str, dict[str, str]] = defaultdict(dict)
    for variant, title, fault in run_checks(path, seconds):
        faults[variant][title] = fault
    return {variant: {title: fault for title, fault in each.items() if fault} for variant, each in faults.items()}


def test_each_fault_is_a_line_of_its_own(tmp_path: Path) -> None:
    faults = found(tmp_path / "faulty.py", FAULTY)
    assert list(faults["halving"]) == ["builds and keeps the shape"]
    assert "in place" in faults["in_place"]["edits nothing in place"]
    assert "random numbers" in faults["noisy"]["draws nothing in evaluation"]
    assert "takes other dtypes" in faults["single"] or "builds and keeps the shape" in faults["single"]
    assert {"is blind to padding", "hides the future"} <= set(faults["over_tokens"])
    assert "rows" in faults["over_rows"]["keeps rows apart"]
    assert "no gradient reaches" in faults["unused"]["trains every parameter"]
    assert "in no buffer" in faults["forgetful"]["resumes"]
    assert "post" in faults["no_post"]["has no dead site"]


def test_the_documented_scheme_has_no_fault(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "add_a_scheme.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    path = tmp_path / "my_scheme.py"
    path.write_text(block, encoding="utf-8")
    findings = list(run_checks(path, 300))
    assert [title for _, title, _ in findings] == list(PROPERTIES)
    assert {variant for variant, _, _ in findings} == {"depth_gate"}
    assert not [finding for finding in findings if finding[2]]


def test_an_endless_loop_is_ended(tmp_path: Path) -> None:
    loop = (
        HEAD
        + "class Endless(Norm):\n    def forward(self, x):\n        while True: pass\nadd('endless', norm=Endless)\n"
    )
    faults = found(tmp_path / "endless.py", loop, seconds=20)
    (fault,) = [text for each in faults.values() for text in each.values()]
    assert "not done after 20 s" in fault


@pytest.mark.parametrize(
    ("text", "said"),
    [("import nothing_of_that_name", "No module named"), ("x = 1", "registers no variant"), ("def", "SyntaxError")],
)
def test_a_file_that_does_not_load_is_one_error(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ExperimentError, match=said):
        found(tmp_path / "broken.py", text)
