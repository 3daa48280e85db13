"""The pages: their commands and examples run, their tables are the committed results, their links lead somewhere."""

import csv
import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from statistics import fmean

import pytest
from scipy import stats

from docs.tables import MARKER, PAGES, PARTS, RESULTS, TABLES, effects_by_place, estimate, filled, way_from

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CHINESE = (REPOSITORY / "README.zh-CN.md").read_text(encoding="utf-8")
ENGLISH_PAGES = [page for page in PAGES if page.name not in {"README.zh-CN.md", "LOG.md"}]
FROZEN = sorted((RESULTS / "history").glob("*.md"))
NAMES = {page: str(page.relative_to(REPOSITORY)) for page in [*PAGES, *FROZEN]}
INDEX = (REPOSITORY / "LOG.md").read_text(encoding="utf-8")
INDEX_LINES = [line for line in INDEX.splitlines() if line.startswith("- ")]
CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
ROOMS = "experiments|lightning_modules|data_modules|notebooks|tests|docs"
LONGEST_SENTENCE = 25
CLUMSY = [r"where there (is|are)", r"stands?", r"beside", r"so many", r"is never shown"]


def each(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=[NAMES[page] for page in pages])


def anchors(page: Path) -> list[str]:
    """Headings as GitHub links to them: lower case, no punctuation, hyphens for spaces, a number where one recurs."""
    seen: Counter[str] = Counter()
    names = []
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.append(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str) -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks(text, "bash") for line in block.splitlines()]
    return [line for line in lines if line]


def small(command: str) -> str:
    """Put the smallest grid in place of longer ones, its corpus and conditions in paths, and measure nothing."""
    command = re.sub(r"\b(quick|article)\b(?=$| |/)", "smoke", command)
    command = command.replace("runs/smoke/docstrings", "runs/smoke/listops")
    if "experiments.probe" in command:
        command += " --data.corpus listops --data.listops.train_rows 2000"
    if "experiments.benchmark" in command:
        command += " --width 16 --layers 1 --steps 2 --rounds 1 --pairs 1 --memory false --workers 0"
        command = command.replace("--growth []", "--growth [depth]")  # the other axes take two minutes
        if not re.search(r"--(growth|side|variants|memory_rows|profile|runners|schemes) ", command):
            command += " --sides [lightning,plain]"  # the other sides take a minute each to load
    command = command.replace("studies run", "studies report")  # measuring takes minutes
    command = command.replace(" --engine ray --ray_address auto", "")  # no cluster is at hand
    return command.replace("results/runs", "$RESNORM_RESULTS/runs")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("pages")
    for name, rows in (("train_data.csv", 300), ("test_data.csv", 60)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(
                [f"row {name} {row} speaks of {'cats' if row % 2 else 'ships'} number {row * 7}", row % 2]
                for row in range(rows)
            )
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "RESNORM_RESULTS": str(folder / "results"),
        "TERM": "dumb",
    }
    return folder, environment


def run(command: str, place: tuple[Path, dict[str, str]]) -> None:
    folder, environment = place
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def trained(place: tuple[Path, dict[str, str]]) -> tuple[Path, dict[str, str]]:
    """A place with the runs that `predict`, `compare` and the like ask for."""
    run(small("python -m experiments.ablation run quick"), place)
    return place


def runnable() -> list[str]:
    """Every command of the pages once; `clean` comes last, since it removes the checkpoint that `predict` needs."""
    found = [
        command
        for page in ENGLISH_PAGES
        for command in commands(page.read_text(encoding="utf-8"))
        if command.startswith("python -m experiments.")
    ]
    return sorted(dict.fromkeys(found), key=lambda command: " clean " in command)


@pytest.mark.slow
@pytest.mark.parametrize("command", runnable())
def test_commands_of_the_pages_work(command: str, trained: tuple[Path, dict[str, str]]) -> None:
    run(small(command), trained)


def test_the_pages_have_commands_of_every_kind() -> None:
    verbs = {command.split()[2] for command in runnable()}
    assert verbs >= {
        f"experiments.{verb}" for verb in ("ablation", "train", "predict", "corpus", "claims", "benchmark")
    }


@each(ENGLISH_PAGES)
def test_python_examples_run_without_lightning(page: Path, place: tuple[Path, dict[str, str]]) -> None:
    folder, environment = place
    for block in blocks(page.read_text(encoding="utf-8"), "python"):
        code = f"{block}\nimport sys\nassert 'lightning' not in sys.modules\n"
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_readme_has_a_python_example_of_at_most_ten_lines() -> None:
    (example,) = blocks(README, "python")
    assert len(example.splitlines()) <= 10


def test_make_targets_exist() -> None:
    targets = [command.split()[1] for command in commands(README) if command.startswith("make")]
    assert targets == ["ablation", "test"]
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@each(PAGES)
def test_every_named_module_file_and_folder_is_there(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # names what has gone
    text = page.read_text(encoding="utf-8")
    for name in re.findall(rf"`((?:{ROOMS})(?:/[\w/.]*)?)`", text):
        assert (REPOSITORY / name).exists(), name
    for name in re.findall(r"python -m ((?:experiments|docs)\.\w+)", text):
        verb = REPOSITORY / name.replace(".", "/")
        assert verb.with_suffix(".py").exists() or (verb / "__main__.py").exists(), name


def test_variants_on_their_page_are_the_registry() -> None:
    from lightning_modules.schemes.variants import VARIANTS

    page = (REPOSITORY / "docs" / "schemes.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \|", page, flags=re.MULTILINE))
    assert set(named) == set(VARIANTS)
    for name in ("post_ln", "no_residual", "no_norm", "plain", "article_block"):
        assert named[name] == VARIANTS[name].formula


@each([*PAGES, *FROZEN])
def test_links_and_pictures_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), target
        if anchor:
            named = re.findall(r"<a (?:id|name)=\"([^\"]+)\"", file.read_text(encoding="utf-8"))
            assert anchor in [*anchors(file), *named], target


@each([page for page in PAGES if MARKER.search(page.read_text(encoding="utf-8"))])
def test_tables_show_the_committed_numbers(page: Path) -> None:
    """`python -m docs.tables` fills them."""
    text = page.read_text(encoding="utf-8")
    assert filled(text, way_from(page)) == text


def test_a_changed_number_in_a_table_is_put_right() -> None:
    page = REPOSITORY / "docs" / "findings.md"
    text = page.read_text(encoding="utf-8")
    changed = text.replace("| 0.694 ± 0.010 |", "| 0.695 ± 0.010 |")
    assert changed != text
    assert filled(changed, way_from(page)) == text


def test_the_frozen_table_of_parts_still_follows_from_the_records() -> None:
    page = (RESULTS / "history" / "CLAIMS.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| [^|]*\| `(\w+)` − `(\w+)` \| (.*) \|$", page, flags=re.MULTILINE)
    assert len(shown) == 10
    for first, second, cells in shown:
        corpora = ("sst5", "trec", "tweeteval_emotion", "thucnews10")
        assert cells.split(" | ") == [over_seeds(corpus, first, second) for corpus in corpora]


def over_seeds(corpus: str, first: str, second: str) -> str:
    """Mean and 95 % t-interval over seeds of a paired difference of the grid `claims`, from its records."""
    scores = final_scores(corpus)
    pairs = [score - scores[second, seed] for (condition, seed), score in scores.items() if condition == first]
    low, high = stats.t.interval(0.95, len(pairs) - 1, fmean(pairs), stats.sem(pairs))
    return estimate({"mean": str(fmean(pairs)), "low": str(low), "high": str(high)})


@cache
def final_scores(corpus: str) -> dict[tuple[str, int], float]:
    with gzip.open(RESULTS / "claims" / corpus / "records.jsonl.gz", "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    return {
        (record["condition"], record["seed"]): (record.get("test") or record["scores"]["test"]["metrics"])["macro_f1"]
        for record in records
        if record["stage"] == "final"
    }


@pytest.mark.parametrize(("what", "arms"), PARTS.items())
def test_means_of_effects_are_those_of_the_records(what: str, arms: tuple[str, str]) -> None:
    first, second = arms
    for corpus in ("docstrings", "sst5", "listops"):
        scores = final_scores(corpus)
        pairs = [score - scores[second, seed] for (condition, seed), score in scores.items() if condition == first]
        shown = effects_by_place()[what, corpus]
        assert float(shown["mean"]) == pytest.approx(fmean(pairs), abs=1e-6)


def test_the_tables_cover_every_corpus_and_variant_of_the_main_grid() -> None:
    head, *rows = TABLES["corpora"]("article")
    assert {re.findall(r"\[(\w+)\]", cell)[0] for cell in head[1:]} == {
        path.parent.name for path in RESULTS.glob("article/*/summary.csv")
    }
    assert {"`post_ln`", "`pre_ln`", "`plain`", "`tfidf_logistic_regression`"} <= {row[0] for row in rows}


def test_a_number_has_a_true_minus_sign_and_no_negative_zero() -> None:
    assert estimate({"mean": "-0.0001", "low": "-0.02", "high": "0.02"}) == "0.000 (−0.020 to 0.020)"


def sentences(text: str) -> list[str]:
    """The sentences of a page's prose: no code, tables, headings, pictures or link targets."""
    text = re.sub(r"```.*?```|<!--.*?-->|!\[.*?\]\(.*?\)", "", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    kept = [line for line in text.splitlines() if not line.startswith(("#", "|"))]
    paragraphs = re.split(r"\n\s*\n|\n\s*(?=(?:[-*]|\d+\.) )", "\n".join(kept))
    flat = [" ".join(re.sub(r"^\s*(?:[-*]|\d+\.) ", "", paragraph).split()) for paragraph in paragraphs]
    return [sentence for paragraph in flat for sentence in re.split(r"(?<=[.!?])[*)]*\s+", paragraph) if sentence]


@each(ENGLISH_PAGES)
def test_sentences_are_short_and_plain(page: Path) -> None:
    for sentence in sentences(page.read_text(encoding="utf-8")):
        assert len(sentence.split()) <= LONGEST_SENTENCE, sentence
        for phrase in CLUMSY:
            assert not re.search(rf"\b{phrase}\b", re.sub(r"`.*?`|\[.*?\]", "", sentence), re.IGNORECASE), sentence


def test_the_sentence_counter_sees_long_sentences_across_lines_and_not_those_in_tables() -> None:
    long = "word " * 30
    assert max(len(sentence.split()) for sentence in sentences(f"- one\n  {long}\n- two. Three.")) == 31
    assert sentences(f"# {long}\n\n| {long} |\n") == []


def test_the_readme_takes_two_minutes() -> None:
    assert len(README.splitlines()) <= 200
    assert "![" in README.split("## ")[0]


@each([REPOSITORY / "README.md", RESULTS / "README.md"])
def test_every_score_in_the_short_pages_is_in_a_table_or_in_the_notebook(page: Path) -> None:
    notebook = (REPOSITORY / "docs" / "notebook").glob("*.md")
    pages = (REPOSITORY / "docs" / name for name in ("findings.md", "depth.md"))
    tables = [match[0] for path in pages for match in MARKER.finditer(path.read_text(encoding="utf-8"))]
    known = "\n".join([*tables, *(path.read_text(encoding="utf-8") for path in notebook)])
    for score in re.findall(r"(?<![\d.])0\.\d{3}(?!\d)", MARKER.sub("", page.read_text(encoding="utf-8"))):
        assert score in known, score


def test_the_chinese_readme_says_the_same() -> None:
    """The same numbers, code, commands and links in the same order, but for the link to each other."""

    def skeleton(text: str) -> dict[str, list[str]]:
        links = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not target.startswith("README")]
        prose = re.sub(r"```.*?```|\]\(.*?\)", "", text, flags=re.DOTALL)
        return {
            "numbers": sorted(re.findall(r"\d+\.\d{2,}", prose)),
            "code": blocks(text, "python"),
            "commands": commands(text),
            "links": links,
            "headings": [line.split()[0] for line in text.splitlines() if line.startswith("#")],
            "verbs": re.findall(r"python -m experiments\.\w+", text),
        }

    assert skeleton(CHINESE) == skeleton(README)


def test_every_line_of_the_index_is_a_date_a_linked_question_and_a_short_verdict() -> None:
    assert len(INDEX_LINES) > 90
    for line in INDEX_LINES:
        match = re.fullmatch(r"- (\d{4}-\d{2}-\d{2}) · \[.+\]\(docs/notebook/(\d{4}-\d{2})\.md#\1\S+\) · (.+)", line)
        assert match, line
        assert match[1].startswith(match[2]), line
        assert len(match[3].split()) <= 15, line


def test_the_index_is_in_the_order_of_the_days() -> None:
    days = [line[2:12] for line in INDEX_LINES]
    assert days == sorted(days)


def test_every_entry_is_linked_and_every_link_leads_to_an_entry() -> None:
    entries = {
        f"docs/notebook/{page.name}#{anchor}"
        for page in (REPOSITORY / "docs" / "notebook").glob("*.md")
        for anchor in anchors(page)
        if anchor[:4].isdigit()
    }
    links = set(re.findall(r"\]\((docs/notebook/[^)]*)\)", INDEX + CHANGELOG))
    assert links == entries
