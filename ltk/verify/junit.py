"""Results as JUnit XML, in the form that pytest writes and its readers understand."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from datetime import datetime
from xml.etree import ElementTree

from ltk.verify.run import Result

NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


def junit(topology: str, results: Sequence[Result], began: datetime, seconds: float) -> bytes:
    """The file: one suite for the topology, one case for each check."""
    failed = sum(not each.passed for each in results)
    attributes = {"errors": "0", "failures": str(failed), "skipped": "0", "tests": str(len(results))}
    root = ElementTree.Element("testsuites", name="ltk test")
    attributes |= {"name": topology, "time": f"{seconds:.3f}", "timestamp": began.isoformat()}
    suite = ElementTree.SubElement(root, "testsuite", attributes | {"hostname": platform.node()})
    for each in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"ltk.{topology}",
            name=_clean(each.check.name),
            time=f"{each.seconds:.3f}",
        )
        if each.measured:
            properties = ElementTree.SubElement(case, "properties")
            for key, value in each.measured.items():
                ElementTree.SubElement(properties, "property", name=key, value=str(value))
        if each.problem is not None:
            text = _clean(each.problem)
            failure = ElementTree.SubElement(case, "failure", message=text.partition("\n")[0])
            failure.text = text
    encoded: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return encoded


def _clean(text: str) -> str:
    return NOT_XML.sub("?", text)
