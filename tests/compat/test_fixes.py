"""The fix that a report prints makes the check pass when it is pasted."""

from pathlib import Path

import pytest
import yaml

from mycelium.compat import Policy, check_compatibility
from mycelium.schema.compat.scope import Settings

HERE = Path(__file__).parent
CASES = [
    case for name in ("cases.yaml", "more_cases.yaml") for case in yaml.safe_load((HERE / name).read_text())["cases"]
]


def whole(text, version):
    return text if "schema:" in text else f"schema: {{id: 16, version: {version}, min_compatible: 1}}\n{text}"


def pasted(text, fix):
    """The file with a fix merged in, as a person would do it: keys of the same name are replaced."""
    tree = yaml.safe_load(text)
    for place in fix.places:
        node = tree
        for step in place.at.split(".") if place.at else []:
            node = node.setdefault(step, {})
        for key in place.drop:
            node.pop(key, None)
        node.update(yaml.safe_load(place.yaml) or {})
    return yaml.safe_dump(tree, sort_keys=False)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES if case.get("fixable", True)])
def test_fixes_as_printed_make_the_check_pass(case):
    old, new = whole(case["old"], 1), whole(case["new"], 2)
    policy = Policy(settings=Settings(profile=case.get("profile", "tlv")))
    for _ in range(8):
        broken = [one for one in check_compatibility(old, new, policy=policy).issues if one.breaks]
        if not broken:
            return
        # A shift is fixed first: it moves what the other fixes are about.
        worst = next((one for one in broken if one.rule == "FIELD_TAG_SHIFTED"), broken[0])
        new = pasted(new, worst.fix)
    pytest.fail(f"still broken: {[one.rule for one in broken]}\n{new}")


@pytest.mark.parametrize("rule", ["FIELD_RENAMED", "MESSAGE_RENAMED", "FIELD_TAG_NOT_RESERVED", "RESERVED_REMOVED"])
def test_fixes_of_warnings_take_the_warning_away(rule):
    tried = 0
    for case in CASES:
        old, new = whole(case["old"], 1), whole(case["new"], 2)
        for finding in check_compatibility(old, new).issues:
            if finding.rule == rule and finding.severity == "warning":
                after = check_compatibility(old, pasted(new, finding.fix))
                assert not any(one.rule == rule and one.severity == "warning" for one in after.issues)
                tried += 1
    assert tried
