"""Every case with its verdicts, rules and severity, and what the Rust checker would say."""

from pathlib import Path

import pytest
import yaml

from mycelium.compat import Policy, check_compatibility
from mycelium.schema.compat.scope import Settings
from mycelium.schema.compat.table import TABLE

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE / "cases.yaml").read_text())["cases"]
MORE = yaml.safe_load((HERE / "more_cases.yaml").read_text())["cases"]


def policy_of(case):
    return Policy(settings=Settings(profile=case.get("profile", "tlv")))


def whole(case, side, version):
    text = case[side]
    return text if "schema:" in text else f"schema: {{id: 16, version: {version}, min_compatible: 1}}\n{text}"


def by_id(cases):
    return [pytest.param(case, id=case["id"]) for case in cases]


def test_there_are_93_cases():
    assert len(CASES) == 93


@pytest.mark.parametrize("case", by_id(CASES))
def test_case_has_its_verdicts_rules_and_severity(case):
    report = check_compatibility(case["old"], case["new"])
    found = [one.rule for one in report.issues]
    assert (report.backward, report.forward, report.level) == (case["backward"], case["forward"], case["level"])
    assert report.severity == case["severity"]
    assert set(case["rules"]) <= set(found)
    if not case["rules"]:
        assert found == []


@pytest.mark.parametrize("case", by_id(CASES))
def test_case_has_the_verdict_of_the_rust_checker(case):
    parity = check_compatibility(case["old"], case["new"]).parity
    assert parity.level == case["upstream_level"]
    assert list(parity.issues) == case["upstream_issues"]
    assert case["upstream_issue"] == (parity.issues[0] if parity.issues else None)
    assert parity.warnings == case["upstream_warnings"]


@pytest.mark.parametrize("case", by_id([case for case in CASES if "history" in case]))
def test_case_has_its_verdicts_over_older_versions(case):
    report = check_compatibility(case["old"], case["new"], history=case["history"])
    assert (report.backward, report.forward) == (case["backward"], case["forward"])
    assert (report.backward_transitive, report.forward_transitive) == (
        case["backward_transitive"],
        case["forward_transitive"],
    )
    transitive = check_compatibility(case["old"], case["new"], history=case["history"], level="full-transitive")
    assert (transitive.backward, transitive.forward) == (case["backward_transitive"], case["forward_transitive"])


@pytest.mark.parametrize("case", by_id(MORE))
def test_further_case_has_exactly_its_findings(case):
    report = check_compatibility(whole(case, "old", 1), whole(case, "new", 2), policy=policy_of(case))
    assert sorted({one.rule for one in report.issues}) == case["rules"]
    assert (report.backward, report.forward) == (case["backward"], case["forward"])
    assert report.severity == case["severity"]


def test_every_rule_has_a_case_a_text_and_a_hint():
    seen = set()
    for cases in (CASES, MORE):
        for case in cases:
            both = whole(case, "old", 1), whole(case, "new", 2)
            seen |= {one.rule for one in check_compatibility(*both, policy=policy_of(case)).issues}
    assert seen == set(TABLE)
    assert all(rule.why.endswith(".") and rule.hint.endswith(".") for rule in TABLE.values())


@pytest.mark.parametrize("case", by_id([*CASES, *MORE]))
def test_a_contract_compared_with_itself_has_no_findings(case):
    for side in ("old", "new"):
        report = check_compatibility(whole(case, side, 1), whole(case, side, 1))
        assert report.issues == ()
        assert report.level == "full"


@pytest.mark.parametrize("case", by_id([*CASES, *MORE]))
def test_a_break_has_bytes_that_prove_it_or_a_reason_why_none_can(case):
    for finding in check_compatibility(whole(case, "old", 1), whole(case, "new", 2), policy=policy_of(case)).issues:
        provable = finding.breaks and not TABLE[finding.rule].unprovable
        assert (finding.witness is not None) == provable, finding
