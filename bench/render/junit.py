"""The answer of a gate as JUnit XML, which CI services read."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bench.judge.compare import JUDGED, Comparison
from bench.judge.pairing import Finding
from bench.render.text.comparison import pooled, sentence
from bench.spec import called


def junit(comparison: Comparison, baseline: str) -> str:
    """JUnit XML: a test case for each model, and one for all models together."""
    suite = ElementTree.Element("testsuite", name=f"bench gate {baseline}")
    for row in comparison.rows:
        label = called(row.model, row.scale)
        case = ElementTree.SubElement(suite, "testcase", classname=f"bench.{row.metric}", name=_xml(label))
        text = sentence(row)
        if row in comparison.on_one_seed:
            ElementTree.SubElement(case, "error", type="one seed", message=_xml(f"{text}; on this seed"))
        elif row.finding in (Finding.REGRESSED, Finding.NEWLY_FAILING):
            ElementTree.SubElement(case, "failure", type=row.finding.value, message=_xml(text))
        elif row.finding in (Finding.INCOMPARABLE, Finding.GONE):
            ElementTree.SubElement(case, "error", type=row.finding.value, message=_xml(text))
        elif row.finding not in JUDGED or row.is_same_record:
            ElementTree.SubElement(case, "skipped", message=_xml(text))
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(text)
    for shift_of_all in comparison.pooled:
        attributes = {"classname": f"bench.{shift_of_all.metric}", "name": "all models together"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        one_seed = bool(comparison.on_one_seed)
        if shift_of_all.drift and not one_seed and shift_of_all.shift.interval.mean < 0:
            ElementTree.SubElement(case, "failure", type="drift", message=_xml(pooled(shift_of_all)))
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(pooled(shift_of_all))
    for message in comparison.messages:
        attributes = {"classname": "bench.records", "name": _xml(message.partition(": ")[0])}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        ElementTree.SubElement(case, "error", type="unreadable", message=_xml(message))
    return _document(suite)


def junit_unjudged(reason: str, baseline: str) -> str:
    """JUnit XML of a gate that had nothing to judge: one test case, an error."""
    suite = ElementTree.Element("testsuite", name=f"bench gate {baseline}")
    case = ElementTree.SubElement(suite, "testcase", classname="bench.gate", name="nothing could be judged")
    ElementTree.SubElement(case, "error", type="unjudged", message=_xml(reason))
    return _document(suite)


def _document(suite: ElementTree.Element) -> str:
    """The suite with its counts, as XML."""
    counted = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for name, tag in counted.items():
        suite.set(name, str(len(list(suite.iter(tag)))))
    ElementTree.indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suite, encoding="unicode")}\n'


def _xml(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text)
