"""``python -m experiments.variants`` lists without torch, describes, composes, and prints the committed page."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.scheme_cards import diagram
from experiments.variants import listing, main
from lightning_modules.schemes.needs import refuse_meaningless
from lightning_modules.schemes.open_schemes import OPEN_SCHEMES
from lightning_modules.schemes.variants import TIME, VARIANTS

ROOT = Path(__file__).parents[2]


def names(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()]


def test_listing_names_every_variant_and_imports_no_torch() -> None:
    code = "import sys; from experiments.variants import main; main(['list']); assert 'torch' not in sys.modules"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert said.returncode == 0, said.stderr
    assert names(said.stdout) == list(VARIANTS)
    assert said.stdout.splitlines()[0].endswith("  LN(x + F(x))")


def test_filters_leave_what_they_say() -> None:
    assert names(listing("hypersphere")) == ["ngpt"]
    unsure = [name for name, variant in VARIANTS.items() if variant.unverified]
    assert names(listing(kind="unverified")) == unsure
    assert set(names(listing(kind="verified"))) == set(VARIANTS) - set(unsure)
    assert set(names(listing(since=2026))) == {name for name, variant in VARIANTS.items() if variant.year == 2026}
    assert {name for name in VARIANTS if TIME not in VARIANTS[name].mixes} == set(names(listing(causal=True)))
    assert len(listing(kind="open").splitlines()) == len(OPEN_SCHEMES)
    assert "norms: 7" in listing("hypersphere", counts=True) or "norms: 0" in listing("hypersphere", counts=True)


def test_a_variant_is_described_by_its_difference_from_its_parent(capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", "deepnorm"])
    text, _, drawing = capsys.readouterr().out.partition("\n\n")
    said = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert said["parent"] == "post_ln"
    assert said["sites"] == "post: norm; skip: deepnorm_alpha"
    assert (said["norms"], said["skips"], said["added"]) == ("12", "12", "parameters  1,536")
    assert (said["year"], said["arXiv"], said["status"]) == ("2022", "2203.00555", "verified")
    assert "residual" not in said
    assert drawing.splitlines()[2] == "  x ─┬─► attention ─► (+) ─► layer_norm ─► x"


def test_a_diagram_has_one_part_per_kind_of_block_and_the_skip_ends_at_the_sum() -> None:
    lines = diagram(VARIANTS["keel"]).splitlines()
    assert [line for line in lines if line.startswith("block")] == ["block 1 of 6:", "block 2 to 6 of 6:"]
    for branch, skip in zip(lines[2:6:2], lines[3:6:2], strict=True):
        assert skip[branch.index("+")] == "┘" and "keel_alpha" in skip
    assert "(+)" not in diagram(VARIANTS["plain"])


def test_every_scheme_of_ours_meets_the_needs_of_its_own_parts() -> None:
    for variant in VARIANTS.values():
        refuse_meaningless(variant)


def test_the_list_and_the_card_show_what_a_step_costs_over_pre_ln(capsys: pytest.CaptureFixture[str]) -> None:
    costs = []
    for what in ("time", "memory"):
        table = ROOT / "results" / "benchmark" / {"time": "scheme_times.csv", "memory": "scheme_memory.csv"}[what]
        with table.open(encoding="utf-8") as file:
            costs.append({row["scheme"]: float(row[f"relative_{what}"]) for row in csv.DictReader(file)})
        assert set(costs[-1]) == {name for name in VARIANTS if name != "bag_of_embeddings"}
    times, memory = costs
    assert 0.8 < times["pre_ln"] < 1.25, "Pre-LN is measured against itself"
    assert memory["pre_ln"] == 1 < memory["mhc"]
    line = next(line for line in listing().splitlines() if line.startswith("mhc "))
    assert f"time {times['mhc']:.2f}" in line and f"memory {memory['mhc']:.2f}" in line
    main(["show", "mhc"])
    said = capsys.readouterr().out
    assert f"time over pre_ln  {times['mhc']:.2f}" in said
    assert f"memory over pre_ln {memory['mhc']:.2f}" in said
    assert "`--model.form published`: rotary positions, SwiGLU, no biases; it lacks experts" in said


def test_options_are_shown_with_their_usual_values(capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", "mix_ln", "hyper_connections"])
    said = capsys.readouterr().out
    assert "options           share: 0.25" in said and "options           streams: 4" in said


def test_the_committed_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    main(["table"])
    assert capsys.readouterr().out == (ROOT / "docs" / "schemes.md").read_text(encoding="utf-8")


def test_a_composition_is_described_and_written_as_a_scheme_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    main(["compose", "pre_ln", "rms_norm", "hyper_connections", "--site", "output=layer_scale", "--write", str(path)])
    said = capsys.readouterr().out
    assert "rms_norm ─► attention ─► layer_scale ─► (hyper_connections(streams=4))" in said
    assert "composed" not in VARIANTS
    code = "import sys; from experiments.variants import main; main(['show', 'composed', '--schemes', sys.argv[1]])"
    shown = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT)
    assert shown.returncode == 0 and "hyper_connections(streams=4)" in shown.stdout, shown.stderr


def test_a_composition_may_come_from_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: post_ln\ntakes: [scale_norm]\nsites: {output: [{drop_path: {rate: 0.2}}]}\nname: quiet\n")
    main(["compose", "--file", str(path)])
    said = capsys.readouterr().out
    assert "attention ─► drop_path(rate=0.2) ─► (+) ─► scale_norm" in said and "name              quiet" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "depnorm"], "did you mean 'deepnorm'"),
        (["show"], "name variants after `show`"),
        (["list", "pre_ln"], "and after nothing else"),
        (["list", "--family", "gats"], "did you mean 'gates'"),
        (["compose", "post_ln", "rms_norm", "dyt"], "rms_norm and dyt both set the norm"),
        (["compose", "pre_ln", "keel"], "blocks of keel are not alike"),
        (["compose", "pre_ln", "highway", "--site", "skip=gain"], "nothing ever calls the op at"),
        (["compose", "pre_ln", "--norm", "rms"], "did you mean"),
        (["compose", "pre_ln", "--site", "outptu=relu"], "did you mean 'output'"),
        (["compose", "post_ln", "--recipe", "admin"], "admin sets the weights ω at `skip`"),
        (["compose", "pre_ln", "admin"], "so that a norm at `post` sees a balanced sum"),
        (["compose", "pre_ln", "deepnorm"], "deepnorm_alpha weighs the two summands of a norm"),
        (["compose", "pre_ln", "t_fixup"], "t_fixup is a start in the place of norms"),
        (["compose", "peri_ln", "gpt2_start"], "a norm at `output` undoes that"),
        (["compose", "pre_ln", "--recipe", "sub_ln_gain"], "there is none at `inner`"),
        (["compose", "pre_ln", "--recipe", "root_of_streams"], "the residual has one stream"),
        (["compose", "no_residual", "skip_init"], "without a skip a zero branch"),
        (["compose", "no_residual", "stochastic_depth"], "without a skip nothing is left"),
        (["compose", "pre_ln", "ngpt"], "a norm in the blocks has nothing to do"),
        (["compose", "pre_ln", "--site", "input=rms_norm"], "rms_norm follows norm at `input`"),
        (["check", "nowhere.py"], "cannot be read"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
