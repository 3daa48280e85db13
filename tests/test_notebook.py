"""The notebook's index says every verdict in a line, and every entry is reached from it or from the changelog."""

import re
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
INDEX = (REPOSITORY / "LOG.md").read_text(encoding="utf-8")
CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
LINES = [line for line in INDEX.splitlines() if line.startswith("- ")]


def anchors(page: Path) -> list[str]:
    """Headings as GitHub links to them: lower case, no punctuation, hyphens for spaces, a number where one recurs."""
    seen: Counter[str] = Counter()
    names = []
    for heading in re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.append(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def test_every_line_of_the_index_is_a_date_a_linked_question_and_a_short_verdict() -> None:
    assert len(LINES) > 90
    for line in LINES:
        match = re.fullmatch(r"- (\d{4}-\d{2}-\d{2}) · \[.+\]\(docs/notebook/(\d{4}-\d{2})\.md#\1\S+\) · (.+)", line)
        assert match, line
        assert match[1].startswith(match[2]), line
        assert len(match[3].split()) <= 15, line


def test_the_index_is_in_the_order_of_the_days() -> None:
    days = [line[2:12] for line in LINES]
    assert days == sorted(days)


def test_every_entry_is_linked_and_every_link_leads_to_an_entry() -> None:
    entries = {
        f"docs/notebook/{page.name}#{anchor}"
        for page in (REPOSITORY / "docs" / "notebook").glob("*.md")
        for anchor in anchors(page)
    }
    links = set(re.findall(r"\]\((docs/notebook/[^)]*)\)", INDEX + CHANGELOG))
    assert links == entries
