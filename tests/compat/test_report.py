"""What a report promises: order, fingerprints, lazy proofs, its published JSON shape, speed."""

import json
import time
from importlib import resources
from pathlib import Path

import pytest
import yaml

from mycelium.bus.reload import judge
from mycelium.compat import check_compatibility
from mycelium.schema.compat.configuration import ConfigurationError, configuration
from mycelium.schema.compat.findings import Waiver
from mycelium.schema.compat.github_report import render_github, render_summary
from mycelium.schema.compat.json_report import failed_json, render_json
from mycelium.schema.compat.report import Policy
from mycelium.schema.compat.sarif_report import render_sarif
from mycelium.schema.compat.scope import Settings
from mycelium.schema.compat.table import TABLE
from mycelium.schema.compat.text_report import render_text
from mycelium.schema.compat.view import View
from mycelium.schema.parse import parse_text

HERE = Path(__file__).parent
SCHEMA = json.loads(resources.files("mycelium.schema.compat").joinpath("report.schema.json").read_text())
OLD = "schema: {id: 16, version: 1}\nmessages: {M: {tlv_type: 1001, fields: {a: {type: u8}, b: {type: u8}}}}\n"
NEW = "schema: {id: 16, version: 2}\nmessages: {M: {tlv_type: 1001, fields: {a: {type: u16}, c: {type: u8}}}}\n"

# Pairs whose comparison is not the mirror of the reverse one, with the reason.
ONE_WAY = {
    "MESSAGE_REMOVED": "what is skipped when it is new is missed when it is gone",
    "RESERVED_TYPE_ID_USED": "only the older file's reservations count",
    "FIELD_RESERVED_TAG_USED": "only the older file's reservations count",
}


def cases():
    for name in ("cases.yaml", "more_cases.yaml"):
        yield from yaml.safe_load((HERE / name).read_text())["cases"]


def whole(text, version):
    return text if "schema:" in text else f"schema: {{id: 16, version: {version}, min_compatible: 1}}\n{text}"


def policy_of(case):
    return Policy(settings=Settings(profile=case.get("profile", "tlv")))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in cases()])
def test_turning_a_case_round_exchanges_the_directions(case):
    old, new, policy = whole(case["old"], 1), whole(case["new"], 2), policy_of(case)
    there, back = check_compatibility(old, new, policy=policy), check_compatibility(new, old, policy=policy)
    if {one.rule for one in (*there.issues, *back.issues)} & ONE_WAY.keys():
        return
    assert (there.backward, there.forward) == (back.forward, back.backward)


def fits(value, schema, path="$"):
    """A small structural check: the parts of JSON Schema that the published one uses."""
    if "$ref" in schema:
        return fits(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], path)
    if "anyOf" in schema:
        assert any(_fits(value, one, path) for one in schema["anyOf"]), path
    kinds = {
        "object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None),
    }  # fmt: skip
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    assert not wanted or type(value) in {kinds[one] for one in wanted}, (path, value)
    assert "const" not in schema or value == schema["const"], path
    assert "enum" not in schema or value in schema["enum"], (path, value)
    if isinstance(value, dict) and "properties" in schema:
        assert not set(schema.get("required", ())) - value.keys(), path
        assert value.keys() <= schema["properties"].keys(), path
        for key, item in value.items():
            fits(item, schema["properties"][key], f"{path}.{key}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            fits(item, schema.get("items", {}), f"{path}[{index}]")
    return None


def _fits(value, schema, path):
    try:
        fits(value, schema, path)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in cases()])
def test_json_has_the_published_shape_and_every_format_renders(case):
    report = check_compatibility(whole(case["old"], 1), whole(case["new"], 2), policy=policy_of(case))
    view = View(report, "new.yaml", "old.yaml", verbose=True)
    fits(json.loads(render_json(view)), SCHEMA["$defs"]["report"])
    assert json.loads(render_sarif(view))["version"] == "2.1.0"
    assert "\x1b" not in render_text(view)
    assert render_github(view)
    assert render_summary(view)


def test_a_failed_run_has_the_published_shape():
    fits(json.loads(failed_json("no_baseline", "what", "why", "remedy")), SCHEMA["$defs"]["failed"])


def test_reports_are_the_same_on_every_run_and_ordered_by_severity():
    reports = [check_compatibility(OLD, NEW) for _ in range(3)]
    assert len({render_json(View(one, "n", "o")) for one in reports}) == 1
    ranks = [{"error": 0, "warning": 1, "info": 2}[one.severity] for one in reports[0].issues]
    assert ranks == sorted(ranks)


def test_fingerprints_do_not_depend_on_lines_order_or_wording():
    moved = "# a comment\n\n" + NEW.replace("{M: ", "{N: {tlv_type: 1009, fields: {}}, M: ")
    before = {one.path: one.fingerprint for one in check_compatibility(OLD, NEW).issues}
    after = {one.path: one.fingerprint for one in check_compatibility(OLD, moved).issues}
    assert before["messages.M.fields.a"] == after["messages.M.fields.a"]
    assert len(before["messages.M.fields.a"]) == 12


def test_a_waiver_changes_what_fails_and_never_the_verdict():
    report = check_compatibility(OLD, NEW)
    waivers = tuple(Waiver(one.fingerprint, "known") for one in report.issues if one.breaks)
    waived = check_compatibility(OLD, NEW, policy=Policy(waivers=waivers))
    assert (report.ok, waived.ok) == (False, True)
    assert (waived.backward, waived.forward) == (report.backward, report.forward)
    assert all(one.waiver is not None for one in waived.issues if one.breaks)


def test_rules_of_values_break_nothing_where_readers_do_not_run_them():
    new = OLD.replace("b: {type: u8}", "b: {type: u8, validation: [{max: 9}]}").replace("version: 1", "version: 2")
    policy = Policy(settings=Settings(validation="publish-only"))
    report = check_compatibility(OLD, new, policy=policy)
    assert [(one.rule, one.severity) for one in report.issues] == [("VALIDATION_TIGHTENED", "warning")]
    assert report.level == "full"


def test_an_added_message_breaks_readers_that_fail_on_unknown_types():
    new = OLD.replace("{M: ", "{N: {tlv_type: 1009, fields: {}}, M: ").replace("version: 1", "version: 2")
    report = check_compatibility(OLD, new, policy=Policy(settings=Settings(unknown_types="fail")))
    assert (report.backward, report.forward, report.severity) == (True, False, "error")


def test_source_names_count_as_errors_where_code_is_asked_for_unless_recorded():
    renamed = OLD.replace("b: {type: u8}", "x: {type: u8}").replace("version: 1", "version: 2")
    recorded = renamed.replace("x: {type: u8}", "x: {type: u8, renamed_from: b}")
    policy = Policy(strict_source=True)
    assert [one.severity for one in check_compatibility(OLD, renamed, policy=policy).issues] == ["error"]
    assert not check_compatibility(OLD, renamed, policy=policy).ok
    assert check_compatibility(OLD, recorded, policy=policy).ok


def test_after_another_schema_id_only_all_goes_on():
    other = NEW.replace("id: 16", "id: 17")
    assert [one.rule for one in check_compatibility(OLD, other).issues] == ["SCHEMA_ID_CHANGED"]
    everything = check_compatibility(OLD, other, policy=Policy(settings=Settings(everything=True)))
    assert {"SCHEMA_ID_CHANGED", "FIELD_TYPE_CHANGED"} <= {one.rule for one in everything.issues}


def test_versions_below_min_compatible_do_not_count():
    first = OLD.replace("b: {type: u8}", "b: {type: u32}")
    old = OLD.replace("version: 1", "version: 2")
    new = OLD.replace("version: 1", "version: 3, min_compatible: 2")
    assert check_compatibility(old, new, history=[first], level="full-transitive").level == "full"
    new = OLD.replace("version: 1", "version: 3, min_compatible: 1")
    assert check_compatibility(old, new, history=[first], level="full-transitive").level == "none"


def test_suggested_versions_follow_the_verdict():
    for case, version, minimum, semver in (
        (OLD, 1, 1, "none"),
        (OLD.replace("b: {type: u8}", "b: {type: u8, description: x}"), 1, 1, "patch"),
        (OLD.replace("b: {type: u8}", "b: {type: u8}, n: {type: u8, optional: true}"), 2, 1, "minor"),
        (OLD.replace("b: {type: u8}", "b: {type: u8, optional: true}"), 2, 1, "major"),
        (OLD.replace("b: {type: u8}", "b: {type: u16}"), 2, 2, "major"),
    ):
        suggested = check_compatibility(OLD, case).suggested
        assert (suggested.version, suggested.min_compatible, suggested.semver) == (version, minimum, semver)
    readers_first = check_compatibility(
        OLD, OLD.replace("b: {type: u8}", "b: {type: u8, optional: true}"), level="backward"
    )
    assert (readers_first.suggested.semver, readers_first.deploy_order) == ("minor", "readers first, then writers")


def test_a_nested_change_is_one_finding_that_lists_whom_it_reaches():
    old = (
        "messages: {Leaf: {tlv_type: 1003, fields: {x: {type: u8}}}, Branch: {tlv_type: 1002, fields: {leaf: {type: "
        "Leaf}}}, Tree: {tlv_type: 1001, fields: {all: {type: 'Vec<Branch>'}, self: {type: 'Vec<Tree>'}}}}\n"
    ).replace("self:", "more:")
    report = check_compatibility(old, old.replace("{x: {type: u8}}", "{x: {type: u16}}"))
    finding = report.issues[0]
    assert finding.path == "messages.Leaf.fields.x"
    assert finding.affects == ("messages.Branch.fields.leaf", "messages.Tree.fields.all", "messages.Tree.fields.more")


def test_hostile_text_cannot_forge_annotations():
    new = NEW.replace("c: {type: u8}", 'c: {type: u8, description: "x\\n::error::forged"}')
    printed = render_github(View(check_compatibility(OLD, new), "a,b:c\n::error::x.yaml", "old", verbose=True))
    assert not any(line.startswith("::error::") for line in printed.splitlines())


@pytest.mark.parametrize(
    "data", [{"level": "fulll"}, {"severity": {"X_Y": "error"}}, {"waivers": [{}]}, [], {"nope": 1}]
)
def test_configuration_that_makes_no_sense_is_refused(data):
    with pytest.raises(ConfigurationError):
        configuration(data, "here")


def test_unknown_levels_are_refused():
    with pytest.raises(ValueError, match="no level 'sideways'"):
        check_compatibility(OLD, NEW, level="sideways")


def generated(messages, fields, retyped=0):
    lines = ["schema: {id: 5, version: 1}", "messages:"]
    for number in range(messages):
        lines += [f"  M{number}:", f"    tlv_type: {1000 + number}", "    fields:"]
        for field in range(fields):
            type_ = "u16" if retyped and field % retyped == 0 else ("u64", "String", "'[u8; 20]'", "f64")[field % 4]
            lines.append(f"      f{field}: {{type: {type_}, description: d}}")
    return parse_text("\n".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("retyped", [0, 3])
def test_ten_thousand_fields_take_under_a_second_and_a_hundred_messages_ten_milliseconds(retyped):
    old, new = generated(100, 100), generated(100, 100, retyped)
    assert min(took(old, new) for _ in range(3)) < 1.0
    small = generated(100, 5)
    assert min(took(small, small) for _ in range(5)) < 0.010


def took(old, new):
    """Seconds of this process alone, however busy the machine is."""
    start = time.process_time()
    assert check_compatibility(old, new) is not None
    return time.process_time() - start


def test_every_rule_belongs_to_the_category_of_the_specification():
    source = {"MESSAGE_RENAMED", "FIELD_RENAMED", "ENUM_VALUE_RENAMED"}
    assert {rule.id for rule in TABLE.values() if rule.category == "SOURCE"} == source
    assert {rule.id for rule in TABLE.values() if rule.category == "ROUTING"} == {"MESSAGE_TOPIC_CHANGED"}
    assert {rule.id for rule in TABLE.values() if rule.category == "MEANING"} == {
        "FIELD_DEFAULT_ADDED",
        "FIELD_DEFAULT_CHANGED",
        "FIELD_DEFAULT_REMOVED",
    }


# --- structs ---------------------------------------------------------------------------------------------------------

RUST = Policy(settings=Settings(profile="rust"))
TEXT_FIELD = "{{type: String, validation: [{{max_length: {}}}]}}"
TEXTS = f"messages: {{{{M: {{{{tlv_type: 1001, fields: {{{{a: {TEXT_FIELD}, b: {{{{type: u32}}}}}}}}}}}}}}}}"


def test_offsets_are_printed_side_by_side():
    report = check_compatibility(whole(TEXTS.format(9), 1), whole(TEXTS.format(20), 2), policy=RUST)
    lines = render_text(View(report, "new.yaml", "old.yaml")).splitlines()
    start = next(number for number, line in enumerate(lines) if "LAYOUT_CHANGED" in line)
    said = (
        "The struct of `M` has 32 bytes in place of 24: `a` has 28 bytes in place of 18; `b` went from offset 20 to 28."
    )
    assert lines[start + 1].strip().startswith(said)
    assert [line.split() for line in lines[start + 2 : start + 6]] == [
        ["field", "old", "offset", "size", "new", "offset", "size"],
        ["a", "0", "18", "0", "28", "<"],
        ["b", "20", "4", "28", "4", "<"],
        ["the", "struct", "24", "32", "<"],
    ]
    finding = next(one for one in report.issues if one.rule == "LAYOUT_CHANGED")
    assert finding.old == {"size": 24, "fields": {"a": {"offset": 0, "size": 18}, "b": {"offset": 20, "size": 4}}}
    assert "equal structs" in render_text(View(report, "new.yaml", "old.yaml"))


def test_of_a_large_struct_what_differs_is_printed_and_all_of_it_under_verbose():
    fields = {f"f{number}": {"type": "u8"} for number in range(30)}
    old = json.dumps({"messages": {"M": {"tlv_type": 1001, "fields": fields}}})
    new = json.dumps({"messages": {"M": {"tlv_type": 1001, "fields": {**fields, "more": {"type": "u8"}}}}})
    report = check_compatibility(f"{old}\n", f"{new}\n", policy=RUST)
    assert " f3 " not in render_text(View(report, "new.yaml", "old.yaml"))
    assert " more " in render_text(View(report, "new.yaml", "old.yaml"))
    assert " f3 " in render_text(View(report, "new.yaml", "old.yaml", verbose=True))


@pytest.mark.parametrize("policy", ["full", "none"])
def test_while_structs_matter_no_policy_lets_another_layout_through(policy):
    old, longer = parse_text(whole(TEXTS.format(9), 1)), parse_text(whole(TEXTS.format(20), 2))
    change = judge(old, longer, policy, "x", "rust")
    assert change.outcome == "incompatible"
    assert "LAYOUT_CHANGED" in [one.rule for one in change.objections]
    assert judge(old, longer, "none", "x").outcome == "applied"
    assert judge(old, parse_text(whole(TEXTS.format(10), 2)), "none", "x", "rust").outcome == "applied"
    other_id = parse_text(f"schema: {{id: 17}}\n{TEXTS.format(20)}")
    assert judge(old, other_id, "none", "x", "rust").outcome == "incompatible"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("u8", "u128", "`M` has no layout any more, because of a: u128 (integers of 128 bits have none)."),
        ("u128", "u8", "`M` had no layout before, because of a: u128 (integers of 128 bits have none)."),
        ("u128", "'Map<u8, u8>'", "`M` has no layout, because of a: Map<u8, u8> (a Map has none)."),
    ],
)
def test_a_message_without_a_layout_is_named_with_the_field(old, new, said):
    text = "messages: {{M: {{tlv_type: 1001, fields: {{a: {{type: {}}}}}}}}}\n"
    change = judge(parse_text(text.format(old)), parse_text(text.format(new)), "none", "x", "rust")
    assert [(one.rule, one.message) for one in change.objections] == [("LAYOUT_MISSING", said)]
