"""What ``report.md`` says of data, protocol and settings, over made-up records."""

from __future__ import annotations

from synthetic_records import SEEDS, evidence_of, make_record

from experiments.reporting.frame import Description, make_rows
from experiments.reporting.page import data_section, protocol_section, settings_section

DESCRIPTION = Description(arguments="toy", title="A toy grid", conditions=("post_ln", "pre_ln"))


def test_the_protocol_says_where_not_all_rows_have_the_same_seeds() -> None:
    whole, part = [make_record("pre_ln", seed) for seed in SEEDS], [make_record("post_ln", 0)]
    for records, expected in ((whole, "the same for all conditions"), (whole + part, "not all of them in every row")):
        evidence = evidence_of(*records)
        assert expected in protocol_section(evidence, make_rows(evidence, DESCRIPTION), DESCRIPTION)


def test_budgets_of_tuning_are_those_of_a_setting_and_not_of_all_that_a_condition_sweeps() -> None:
    trials = [
        make_record("post_ln", 1000, "tune", swept={"model.layers": layers}, tuned={"model.learning_rate": rate})
        for layers in (2, 6, 24)
        for rate in (0.1, 0.2)
    ]
    evidence = evidence_of(make_record("post_ln", 0, swept={"model.layers": 2}), *trials)
    text = protocol_section(evidence, make_rows(evidence, DESCRIPTION), DESCRIPTION)
    assert "- Tuned per condition at every setting on validation macro F1: 2 runs each. " in text


def test_data_that_differ_by_setting_are_told_as_ranges() -> None:
    records = [make_record("post_ln", seed) for seed in (0, 1)]
    for record, rows, vocabulary, copies in zip(records, (800, 8000), (3245, 9439), (3, 44), strict=True):
        record.data["rows"] = {"train": rows, "test": 2075}
        record.data["vocabulary_size"] = vocabulary
        record.data["removed"] = {"repeated": copies, "near_copies_of_test": 0}
    text = data_section(records, DESCRIPTION)
    assert "- rows: 800 to 8,000 train, 2,075 test\n" in text
    assert "- vocabulary: 3245 to 9439 tokens\n" in text
    assert "- removed from the training rows: 3 to 44 repeated\n" in text


def test_the_protocol_of_a_baseline_alone_promises_no_pairs() -> None:
    evidence = evidence_of(make_record("tfidf_logistic_regression", 0))
    text = protocol_section(evidence, make_rows(evidence, DESCRIPTION), DESCRIPTION)
    assert text == "- No final run of a network yet."


def test_the_report_says_which_conditions_were_not_tuned() -> None:
    tuned, untuned = make_record("post_ln", 0), make_record("pre_ln", 0, tuned={})
    evidence = evidence_of(tuned, untuned, make_record("tfidf_logistic_regression", 0))
    text = protocol_section(evidence, make_rows(evidence, DESCRIPTION), DESCRIPTION)
    assert "- Untuned: every condition" in text
    evidence = evidence_of(*evidence.records, make_record("post_ln", 1000, "tune"))
    text = protocol_section(evidence, make_rows(evidence, DESCRIPTION), DESCRIPTION)
    assert "- Not tuned, run with the settings stated below: Pre-LN.\n" in text


def test_the_settings_show_the_depth_that_was_built() -> None:
    records = [make_record(name, 0) for name in ("post_ln", "bag_of_embeddings")]
    for record in records:
        record.config["model"]["layers"] = 6
    text = settings_section(make_rows(evidence_of(*records), DESCRIPTION))
    assert [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")] == [
        [" variant ", " model.layers "],
        [" --- ", " ---: "],
        [" Post-LN ", " 6 "],
        [" Bag of embeddings ", " 0 "],
    ]


def test_settings_that_an_optimiser_ignores_are_not_shown_as_its_own() -> None:
    records = [make_record(name, 0) for name in ("post_ln", "pre_ln")]
    for record, optimizer in zip(records, ("sgd", "momentum"), strict=True):
        record.config["model"] |= {"optimizer": optimizer, "momentum": 0.9, "beta1": 0.9}
    text = settings_section(make_rows(evidence_of(*records), DESCRIPTION))
    cells = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines() if line.startswith("| ")}
    names = [name.strip() for name in cells["variant"]]
    momentum = {title: row[names.index("model.momentum")].strip() for title, row in cells.items()}
    assert (momentum["Post-LN"], momentum["Pre-LN"]) == ("–", "0.9")
    assert "beta1" not in text


def test_what_cleaning_took_away_is_told_where_the_record_holds_it() -> None:
    record = make_record("post_ln", 0)
    assert "removed" not in data_section([record], DESCRIPTION)
    record.data["removed"] = {"empty": 0, "repeated": 1234, "near_copies_of_test": 5}
    assert "- removed from the training rows: 5 near copies of test, 1,234 repeated\n" in data_section(
        [record], DESCRIPTION
    )
    record.data["removed"] = {"empty": 0}
    assert "- removed from the training rows: none\n" in data_section([record], DESCRIPTION)


def test_trials_are_told_before_there_is_a_final_run() -> None:
    trials = [make_record("post_ln", 1000, "tune", tuned={"model.learning_rate": rate}) for rate in (0.1, 0.2, 0.3)]
    evidence = evidence_of(make_record("tfidf_logistic_regression", 0), *trials)
    rows = make_rows(evidence, DESCRIPTION)
    text = protocol_section(evidence, rows, DESCRIPTION)
    assert text.startswith(
        "- No final run of a network yet.\n- Tuned per condition on validation macro F1: 3 runs each. "
    )
    assert "[tuning.csv](tuning.csv)" in text
    assert settings_section(rows) == ""


def test_records_without_counts_of_rows_stand_beside_those_with_them() -> None:
    old, new = make_record("post_ln", 0), make_record("post_ln", 1)
    old.data.pop("rows")
    new.data["rows"] = {"train": 100}
    assert "- rows: 100 train\n" in data_section([old, new], DESCRIPTION)
    assert "- rows: not recorded\n" in data_section([old], DESCRIPTION)


def test_a_class_without_test_rows_is_told() -> None:
    record = make_record("post_ln", 0)
    assert "No test rows" not in data_section([record], DESCRIPTION)
    record.test.details["per_class"][1]["support"] = 0
    name = record.test.details["per_class"][1]["class"]
    assert f"- **No test rows of {name}.** Macro averages" in data_section([record], DESCRIPTION)
