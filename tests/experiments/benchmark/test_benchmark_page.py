"""The page: medians, ratios within rounds, ours and the fastest other code, and a table that keeps other series."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median

import pandas as pd
import pytest

from experiments.benchmark.roster import OWN_SIDES
from experiments.benchmark.sides_page import (
    SideRounds,
    fair_section,
    machine_section,
    sides_section,
    usual_section,
)
from experiments.benchmark.speed_page import (
    PAGE_FILE,
    page,
    pool_section,
    profile_section,
    runners_section,
    variants_section,
)
from experiments.benchmark.table import (
    TABLE_FILE,
    as_measurements,
    machine,
    measurement,
    read_measurements,
    setting_of,
    write_measurements,
)
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig
from experiments.scheme_cards import MEMORY_FILE, TIMES_FILE

COMMITTED = Path(__file__).parents[3] / "results" / "benchmark"
NAMES = ("lightning", "plain", "hf_bert")
SECONDS = {"hf_trainer": 0.5, "lightning": 1.0, "plain": 0.8, "hf_bert": 2.0, "x_transformers": 3.0}
SLOWNESS = [1.0, 1.1, 2.0, 1.3, 1.0, 1.2, 1.1]
"""How much slower than usual the machine was in each round."""
STEP = {"pre_ln": 0.011, "post_ln": 0.010, "plain": 0.006}
"""Seconds of a step on the usual machine."""


def config_of(layers: int = 1, precision: str = "32-true") -> RunConfig:
    config = RunConfig().with_values({"model.layers": layers, "model.width": 16, "trainer.precision": precision})
    return replace(config, threads=1)


def side_rows(
    seconds: dict[str, list[float]], layers: int = 1, precision: str = "32-true", peaks: dict[str, float] | None = None
) -> list[dict[str, str]]:
    """Return rounds of so many seconds a side, 1,000 tokens and 40 rows each; the machine's rate grows by round."""
    config = config_of(layers, precision)
    return [
        measurement(
            "side",
            side,
            side,
            setting_of(config, f"sides+layers={layers}", precision=precision if side in OWN_SIDES else "32-true")
            | machine(),
            round=number,
            seconds=times[number - 1],
            steps=8,
            rows=40,
            tokens=1_000,
            positions=1_250,
            flops_per_token=2_000_000,
            peak_memory_mib=(peaks or {}).get(side),
            machine_float32_gflops=number * 1e3,
            machine_bfloat16_gflops=number * 2e3,
        )
        for number in range(1, 8)
        for side, times in seconds.items()
    ]


def seven_rounds(names: tuple[str, ...] = NAMES, precision: str = "32-true") -> SideRounds:
    """Return seven rounds: lightning takes 1 s, plain 0.5 s, BERT 2 to 8 s."""
    seconds = {"lightning": [1.0] * 7, "plain": [0.5] * 7, "hf_bert": [1.0 + number for number in range(1, 8)]}
    chosen = {name: seconds[name] for name in names}
    return SideRounds(as_measurements(side_rows(chosen, precision=precision, peaks={"plain": 512.0})))


def test_figures_of_a_side_are_medians_and_its_ratio_is_formed_within_rounds() -> None:
    fixed = seven_rounds()
    assert fixed.reference == "lightning"
    assert list(fixed.speeds["plain"]) == [2_000] * 7
    assert list(fixed.speeds["lightning"] / fixed.speeds["hf_bert"]) == [2, 3, 4, 5, 6, 7, 8]
    ratio = fixed.speedup("hf_bert")
    assert (ratio.median, ratio.low, ratio.high) == (5, 2, 8)  # of seven values, the extremes: 1 − 2/2⁷
    assert ratio.coverage == pytest.approx(1 - 2 / 128)
    assert fixed.speedup("plain").median == 0.5


def test_utilisation_is_operations_per_second_over_the_machines_rate() -> None:
    fixed = seven_rounds()
    assert fixed.utilisation("plain", "float32") == pytest.approx(2_000_000 * 2_000 / 4e12)
    assert fixed.utilisation("plain", "bfloat16") == pytest.approx(fixed.utilisation("plain", "float32") / 2)


def test_without_lightning_the_first_side_is_the_reference() -> None:
    fixed = seven_rounds(("plain", "hf_bert"))
    assert fixed.reference == "plain"
    assert list(fixed.speeds["plain"] / fixed.speeds["hf_bert"]) == [4, 6, 8, 10, 12, 14, 16]


def test_the_table_shows_each_side_and_what_it_was_measured_with() -> None:
    fixed = seven_rounds(precision="bf16-mixed")
    rows = {row[5]: row for row in sides_section([fixed]).grid.rows}
    assert rows["hf_bert"] == [
        *("classification", "1", "16", "1", "1", "hf_bert", "32-true", "own", "200", "8", "20.0%", "–", "0.0%", "0.0%"),
        *("lightning", "5.00 [2.00, 8.00]"),
    ]
    assert rows["plain"][6:12] == ["bf16-mixed", "own", "2000", "80", "20.0%", "512"]
    measured_with = machine_section([fixed])
    assert measured_with is not None
    grid = measured_with.grid
    setting = dict(zip(grid.columns, grid.rows[0], strict=True))
    assert (setting["rounds"], setting["coverage"], setting["steps"]) == ("7", "98.4%", "8")
    assert (setting["GFLOP/s fp32"], setting["GFLOP/s bf16"], setting["MFLOP per token"]) == ("4000", "8000", "2.00")
    assert "1024×1024 matrices" in measured_with.notes[0]
    assert f"torch {machine()['torch']}" in measured_with.notes[1]


def at_layers(layers: int, seconds: dict[str, float]) -> SideRounds:
    """Return seven rounds of so many layers; BERT slows down by 0.1 s a round."""
    times = {
        side: [time + 0.1 * number * (side == "hf_bert") for number in range(1, 8)] for side, time in seconds.items()
    }
    return SideRounds(as_measurements(side_rows(times, layers)))


def test_ours_is_compared_with_the_fastest_other_on_the_same_batches() -> None:
    setting = at_layers(2, SECONDS)
    assert (setting.size[1], setting.reference, setting.fastest_other) == ("2", "lightning", "hf_bert")
    assert setting.speedup("hf_bert").median == pytest.approx(2.4, rel=1e-3)  # 2.1 to 2.7 s against 1 s
    assert setting.speedup("hf_trainer").median == pytest.approx(0.5, rel=1e-3)


def test_settings_stand_from_small_to_large_and_those_without_another_side_stay_out() -> None:
    rows = [
        *at_layers(12, SECONDS).rows.to_dict("records"),
        *at_layers(2, {side: SECONDS[side] for side in ("lightning", "hf_bert")}).rows.to_dict("records"),
        *at_layers(6, {side: SECONDS[side] for side in ("lightning", "plain")}).rows.to_dict("records"),
    ]
    text = page(pd.DataFrame(rows))
    first, usual, every = text.split("## ")[1:4]
    lines = [line for line in first.splitlines() if line.startswith("| classification |")]
    assert [line.split("|")[2].strip() for line in lines] == ["2", "12"]
    assert "Classification, width 16, 2 layers, 32-true, 1 thread, each with its own places of dropout: ours" in first
    assert "trains 2.40 [2.10, 2.70] times as many real tokens per second as `hf_bert`" in first
    assert all("| hf_bert |" in line and "varying: 2." in line for line in lines)
    (line,) = [line for line in usual.splitlines() if line.startswith("| classification |")]
    assert "| 0.50 \\[" in line and line.split("|")[2].strip() == "12"
    assert [line.split("|")[2].strip() for line in every.splitlines() if "| lightning | 32" in line] == ["2", "6", "12"]


def test_sides_of_unequal_precision_are_no_fair_figure() -> None:
    unequal = seven_rounds(precision="bf16-mixed")
    assert not unequal.is_fair and not fair_section([unequal]).grid.rows
    assert {row[6] for row in sides_section([unequal]).grid.rows} == {"bf16-mixed", "32-true"}


def test_the_fair_figure_is_the_bare_loop_against_the_bare_loop_and_names_who_is_missing() -> None:
    section = fair_section([seven_rounds()])
    row = dict(zip(section.grid.columns, section.grid.rows[0], strict=True))
    assert row["plain ÷ other"] == "10.00 [4.00, 16.00]" and row["lightning ÷ other"] == "5.00 [2.00, 8.00]"
    assert (
        section.notes[-1]
        == "Not measured in every row: hf_bert_eager, torch_encoder, x_transformers and x_transformers_eager."
    )
    assert not usual_section([seven_rounds()]).grid.rows


def test_a_busy_machine_is_said_in_the_table() -> None:
    rows = seven_rounds().rows.assign(load_average="9.5", cores="2")
    assert "busy: load 9.5 on 2 cores" in fair_section([SideRounds(rows)]).grid.rows[0][-1]
    assert "busy" not in fair_section([SideRounds(rows.assign(load_average="1.9"))]).grid.rows[0][-1]


def test_ways_to_make_runs_are_compared_within_rounds() -> None:
    setting = setting_of(RunConfig(), "runners") | machine()
    rates = {"grid": [600.0, 300.0, 500.0], "scripts": [200.0, 100.0, 250.0]}
    rows = [
        measurement(
            *("runner", name, name, setting | {"processes": "2" if name == "grid" else "1"}),
            **{"round": number, "seconds": 8 * 3600 / rate, "runs_per_hour": rate},
            first_seconds=10.04,
            idle_share=0.25,
        )
        for name, of in rates.items()
        for number, rate in enumerate(of, start=1)
    ]
    section = runners_section(as_measurements(rows))
    assert section.found == ["The grid runner makes 3.00 [2.00, 3.00] times the runs per hour of scripts one by one."]
    assert section.grid.rows[0][:5] == ["the grid runner", "2", "500 [300, 600]", "25%", "10.0"]
    assert "8 runs that differ" in section.notes[0] and section.notes[1] == "Not measured: the engine ray."


def test_a_profile_has_shares_of_a_step_and_the_floor_of_the_machines_rate() -> None:
    setting = setting_of(config_of(), "profile") | machine()
    shared = {"round": 1, "steps": 10, "positions": 1_000, "flops_per_token": 2e6, "machine_float32_gflops": 10}
    rows = [
        measurement("profile", kind, "plain", setting, seconds=seconds, **shared)
        for kind, seconds in {"matrix products": 0.3, "attention": 0.1}.items()
    ]
    section = profile_section(as_measurements(rows))
    assert section.grid.rows == [["matrix products", "30.00", "75.0%"], ["attention", "10.00", "25.0%"]]
    assert "A step takes 40.0 ms" in section.found[0] and "would take 20.0 ms" in section.found[0]


def test_a_page_shows_no_section_without_measurements() -> None:
    for section in (fair_section, usual_section):
        assert section([at_layers(6, {"lightning": 1.0, "plain": 2.0})]).grid.rows == []
    text = page(at_layers(6, {"lightning": 1.0, "plain": 2.0}).rows)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Every side",
        "## How the sides were measured",
    ]


def variant_rows(step: dict[str, float], spells: list[float] = SLOWNESS) -> pd.DataFrame:
    """Return rounds of 20 steps."""
    return as_measurements(
        [
            measurement(
                "variant",
                name,
                "lightning",
                setting_of(RunConfig(), "variants", variant=name) | machine(),
                round=number,
                seconds=20 * seconds * slow,
                steps=20,
            )
            for number, slow in enumerate(spells, start=1)
            for name, seconds in step.items()
        ]
    )


def test_milliseconds_are_those_of_a_step_and_ratios_are_free_of_slow_spells() -> None:
    rows = {row[0]: row[2:] for row in variants_section(variant_rows(STEP)).grid.rows}
    assert rows["Post-LN"][0] == f"{1000 * 0.010 * median(SLOWNESS):.1f} [10.0, 20.0]"
    assert rows["Plain"][1] == "0.600 [0.600, 0.600]"


def test_without_post_ln_the_first_variant_is_the_reference() -> None:
    section = variants_section(variant_rows({name: STEP[name] for name in ("pre_ln", "plain")}))
    assert section.grid.columns[-1] == "÷ Pre-LN"
    assert section.grid.rows[1][-1].startswith(f"{6 / 11:.3f} ")


def test_the_table_and_the_sentence_name_fastest_and_slowest_variant() -> None:
    section = variants_section(variant_rows(STEP))
    assert section.grid.columns[-1] == "÷ Post-LN"
    assert [(row[0], row[-1]) for row in section.grid.rows] == [
        ("Pre-LN", "1.100 [1.100, 1.100]"),
        ("Post-LN", "1.000 [1.000, 1.000]"),
        ("Plain", "0.600 [0.600, 0.600]"),
    ]
    both = "0.60 [0.60, 0.60] times as long under Plain and 1.10 [1.10, 1.10] times as long under Pre-LN"
    assert section.found == [f"A training step takes {both} as under Post-LN."]
    more = variants_section(variant_rows(STEP | {"no_norm": 0.008})).found[0]
    assert more == f"A training step takes {both} as under Post-LN; all others lie between."


def test_several_workers_are_compared_with_one_within_rounds() -> None:
    rates = {1: {"1": 100.0, "2": 190.0}, 2: {"1": 200.0, "2": 390.0}, 3: {"1": 50.0, "2": 100.0}}
    setting = setting_of(RunConfig(), "pool") | machine()
    rows = [
        measurement("pool", workers, "lightning", setting, round=number, steps=80, runs_per_hour=rate)
        for number, each in rates.items()
        for workers, rate in each.items()
    ]
    section = pool_section(as_measurements(rows))
    assert section.found[0].startswith("2 single-thread workers make 1.95 times the runs per hour of one")
    assert "range from 1.90 to 2.00" in section.found[0]
    assert section.grid.rows == [["1", "100.0"], ["2", "190.0"]]


def test_every_measurement_is_a_row_with_its_setting_and_machine() -> None:
    row = side_rows({"lightning": [1.25] * 7}, precision="bf16-mixed")[2]
    assert (row["axis"], row["value"], row["side"], row["round"], row["seconds"]) == (
        *("side", "lightning", "lightning", "3", "1.250000"),
    )
    assert (row["rows"], row["tokens"], row["positions"], row["peak_memory_mib"]) == ("40", "1000", "1250", "")
    assert (row["task"], row["precision"], row["layers"]) == ("classification", "bf16-mixed", "1")
    assert row["cpu"] == machine()["cpu"] and float(row["machine_bfloat16_gflops"]) == 6_000


def test_a_series_measured_again_takes_its_old_place_and_leaves_the_others(tmp_path: Path) -> None:
    old = side_rows({"lightning": [1.0] * 7}, layers=2)
    write_measurements(tmp_path, old)
    other = side_rows({"lightning": [1.5] * 7, "plain": [1.0] * 7}, layers=6)
    write_measurements(tmp_path, other)
    before = (tmp_path / TABLE_FILE).read_text(encoding="utf-8")
    again = side_rows({"lightning": [9.0] * 7}, layers=2)
    whole = write_measurements(tmp_path, again)
    after = (tmp_path / TABLE_FILE).read_text(encoding="utf-8")
    assert [row for row in before.splitlines() if "layers=6" in row] == [
        row for row in after.splitlines() if "layers=6" in row
    ]
    assert set(whole[whole["layers"] == 2]["seconds"]) == {9.0} and len(whole) == 7 + 14
    pd.testing.assert_frame_equal(whole, read_measurements(tmp_path))


@pytest.mark.parametrize("content", ["", "round,side\n1,lightning\n", None])
def test_a_foreign_file_is_named(tmp_path: Path, content: str | None) -> None:
    write_measurements(tmp_path, side_rows({"plain": [1.0] * 7}))
    path = tmp_path / TABLE_FILE
    path.write_text(path.read_text().replace("1.000000", "fast") if content is None else content)
    with pytest.raises(ExperimentError, match=r"benchmark\.csv is not a table of rounds"):
        read_measurements(tmp_path)
    with pytest.raises(ExperimentError, match=r"benchmark\.csv is not a table of rounds"):
        write_measurements(tmp_path, side_rows({"plain": [1.0] * 7}))


def test_rows_of_earlier_tables_lack_columns_and_are_read(tmp_path: Path) -> None:
    write_measurements(tmp_path, side_rows({"workers": [1.0] * 7, "hf_bert": [2.0] * 7}, precision="bf16-mixed"))
    path = tmp_path / TABLE_FILE
    pd.read_csv(path, dtype=str).drop(columns=["processes", "dropout", "idle_share"]).to_csv(path, index=False)
    rows = read_measurements(tmp_path)
    assert set(rows["processes"]) == {1} and set(rows["dropout"]) == {"own"}
    assert SideRounds(rows).reference == "workers" and not SideRounds(rows).is_fair


def test_the_committed_page_is_rebuilt_from_the_committed_rounds() -> None:
    measurements = read_measurements(COMMITTED)
    assert set(measurements["axis"]) >= {"side", "pair", "pool", "variant", "depth", "workers", "memory"}
    assert page(measurements) == (COMMITTED / PAGE_FILE).read_text(encoding="utf-8")
    assert {path.name for path in COMMITTED.iterdir()} == {TABLE_FILE, PAGE_FILE, TIMES_FILE, MEMORY_FILE}
