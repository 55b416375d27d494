"""Whether a comparison is a reason to stop, and that answer as markdown and as JUnit XML.

A gate looks at drops only. By row and pooled, each test spends 5% on both directions together, so a gate
without any change raises a false alarm in at most 5% of cases.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bench.report.compare import JUDGED, Comparison
from bench.report.compare_text import markdown, pooled, sentence
from bench.report.pairing import Finding
from bench.report.tables import md


def problems(comparison: Comparison) -> list[str]:
    """Every reason to stop: models that regressed, models that fail now, and a drift downwards."""
    found = []
    for row in comparison.rows:
        if row.finding == Finding.REGRESSED and row.difference is not None:
            where = row.metric if len(comparison.metrics) > 1 else row.scale
            found.append(f"{row.model} ({where}) regressed by {-row.difference.mean:.3f}")
        elif row.finding == Finding.NEWLY_FAILING:
            found.append(f"{row.model} ({row.scale}) fails now: {row.reason}")
    for one in comparison.pooled:
        if one.drift and one.shift.interval.mean < 0:
            found.append(f"all models together dropped by {-one.shift.interval.mean:.3f} {one.metric}")
    return found


def gate_markdown(comparison: Comparison, baseline: str) -> str:
    """The summary for a job page: the answer first, then the whole comparison."""
    found = problems(comparison)
    answer = f"Regression against baseline '{baseline}'" if found else f"No regression against '{baseline}'"
    reasons = "".join(f"\n- {md(text)}" for text in found)
    return markdown(comparison, f"## {md(answer)}\n{reasons}".rstrip())


def junit(comparison: Comparison, baseline: str) -> str:
    """JUnit XML: a test case for each model, and one for all models together."""
    suite = ElementTree.Element("testsuite", name=f"bench gate {baseline}")
    for row in comparison.rows:
        label = f"{row.model} ({row.scale})"
        case = ElementTree.SubElement(suite, "testcase", classname=f"bench.{row.metric}", name=_xml(label))
        text = sentence(row)
        if row.finding in (Finding.REGRESSED, Finding.NEWLY_FAILING):
            ElementTree.SubElement(case, "failure", type=row.finding.value, message=_xml(text))
        elif row.finding not in JUDGED:
            ElementTree.SubElement(case, "skipped", message=_xml(text))
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(text)
    for one in comparison.pooled:
        attributes = {"classname": f"bench.{one.metric}", "name": "all models together"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if one.drift and one.shift.interval.mean < 0:
            ElementTree.SubElement(case, "failure", type="drift", message=_xml(pooled(one)))
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(pooled(one))
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped")):
        suite.set(name, str(len(list(suite.iter(tag)))))
    ElementTree.indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suite, encoding="unicode")}\n'


def _xml(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text)
