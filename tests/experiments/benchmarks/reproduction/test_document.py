"""docs/explanation/reproduction.md shows what the counts give."""

import re

from dsdenseunet.reporting.reproduction.page import SECTIONS
from experiments.benchmarks.reproduction import counts, items
from tests.documents import ROOT

DOCUMENT = ROOT / "docs/explanation/reproduction.md"


def test_table_3_of_the_document_is_that_of_the_counts():
    origin = {"data": {"description": ""}, "made": [], "command": ""}
    section = SECTIONS["table3"]({"item": "table3", **origin, **counts.table_3()})
    text = DOCUMENT.read_text(encoding="utf-8")
    (shown,) = re.findall(r"<!-- reproduction: table3 -->\n(.*?)<!-- end -->", text, re.DOTALL)
    expected = items.body(section)
    assert shown.strip() == expected, f"between the marks of table3 {DOCUMENT} must hold\n\n{expected}"
