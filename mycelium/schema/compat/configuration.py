"""What `[tool.mycelium.compat]` in pyproject.toml or `.mycelium-compat.yaml` may say."""

import datetime as dt
import difflib
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from attrs import evolve, field, frozen

from mycelium.errors import MyceliumError
from mycelium.schema.compat.findings import SEVERITIES, Waiver
from mycelium.schema.compat.report import LEVELS, Policy
from mycelium.schema.compat.table import TABLE
from mycelium.schema.model import Json

__all__ = ["Configuration", "ConfigurationError", "configuration", "configured", "fingerprint", "rule_or_path"]

_FINGERPRINT_LENGTH: Final = 12


class ConfigurationError(MyceliumError):
    """A setting of the checker makes no sense."""

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        super().__init__(where, problem, remedy)
        self.where = where
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.remedy}"


class _Wrong(Exception):
    """A value that does not fit, and what would."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy


@frozen
class Configuration:
    """Settings by name, already checked; what is not set is absent."""

    values: Mapping[str, Any] = field(factory=dict)
    waivers: tuple[Waiver, ...] = ()
    against: tuple[str, ...] = ()


def _one_of(*allowed: str) -> Callable[[Json], str]:
    def read(value: Json) -> str:
        if value not in allowed:
            raise _Wrong(f"no {value!r}", f"take one of {', '.join(allowed)}")
        return str(value)

    return read


def _texts(value: Json) -> tuple[str, ...]:
    many = [value] if isinstance(value, str) else value
    if not isinstance(many, list) or not all(isinstance(one, str) for one in many):
        raise _Wrong(f"no {value!r}", "write a text or a list of texts")
    return tuple(str(one) for one in many)


def rule_or_path(text: str) -> str:
    """A rule's id, or a path: `Quote`, `messages.Quote.fields.venue`.

    Raises:
        ConfigurationError: It looks like a rule and is none.
    """
    if text.isupper() and text not in TABLE and "_" in text:
        close = difflib.get_close_matches(text, TABLE, 1)
        remedy = f"did you mean {close[0]}?" if close else "`mycelium schema rules` lists them"
        raise ConfigurationError("rules", f"there is no rule {text}", remedy)
    return text


def _rules(value: Json) -> tuple[str, ...]:
    return tuple(rule_or_path(one) for one in _texts(value))


def _flag(value: Json) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(f"no {value!r}", "write true or false")
    return value


def _severities(value: Json) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _Wrong(f"no {value!r}", "write RULE: level")
    for rule, severity in value.items():
        if rule not in TABLE:
            rule_or_path(rule)
            raise _Wrong(f"there is no rule {rule}", "`mycelium schema rules` lists them")
        _one_of(*SEVERITIES)(severity)
    return {rule: str(severity) for rule, severity in value.items()}


_SETTINGS: Final[Mapping[str, Callable[[Json], Any]]] = {
    "level": _one_of(*LEVELS),
    "fail-on": _one_of(*SEVERITIES),
    "severity": _severities,
    "only": _rules,
    "skip": _rules,
    "validation": _one_of("decode", "publish-only"),
    "unknown-types": _one_of("skip", "fail"),
    "profile": _one_of("tlv", "rust"),
    "strict-source": _flag,
}


def configuration(data: Json, where: str) -> Configuration:
    """The settings of a file.

    Args:
        data: What stands in it.
        where: What the file is called.

    Raises:
        ConfigurationError: Something in it makes no sense.
    """
    if not isinstance(data, dict):
        raise ConfigurationError(where, "this is no mapping", "write `key: value` lines")
    values: dict[str, Any] = {}
    waivers: tuple[Waiver, ...] = ()
    against: tuple[str, ...] = ()
    for key, value in data.items():
        name = key.replace("_", "-")
        try:
            if name == "waivers":
                waivers = _waivers(value)
            elif name == "against":
                against = _texts(value)
            elif name in _SETTINGS:
                values[name] = _SETTINGS[name](value)
            else:
                _unknown(name)
        except _Wrong as wrong:
            raise ConfigurationError(f"{where}: {key}", wrong.problem, wrong.remedy) from None
    return Configuration(values, waivers, against)


def _unknown(name: str) -> NoReturn:
    close = difflib.get_close_matches(name, [*_SETTINGS, "against", "waivers"], 1)
    raise _Wrong("there is no such setting", f"did you mean {close[0]}?" if close else "remove it")


# --- waivers ---------------------------------------------------------------------------------------------------------


def fingerprint(value: Json) -> str:
    """A fingerprint as reports print it.

    Raises:
        ConfigurationError: It is none.
    """
    text = str(value)
    if len(text) != _FINGERPRINT_LENGTH or set(text) - set("0123456789abcdef"):
        raise ConfigurationError("waivers", f"{text!r} is no fingerprint", "copy the 12 hex digits of the report")
    return text


def _waivers(value: Json) -> tuple[Waiver, ...]:
    if not isinstance(value, list):
        raise _Wrong(f"no {value!r}", "write a list")
    return tuple(_waiver(one) for one in value)


def _waiver(value: Json) -> Waiver:
    if not isinstance(value, dict):
        raise _Wrong(f"no {value!r}", "write fingerprint, reason, and until if it ends")
    unknown = sorted(value.keys() - {"fingerprint", "reason", "until"})
    if unknown:
        raise _Wrong(f"a waiver has no {unknown[0]}", "it has fingerprint, reason, until")
    reason = value.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise _Wrong("a waiver needs a reason", "say why the break is harmless")
    until = value.get("until")
    if until is not None:
        until = day(until)
    return Waiver(fingerprint(value.get("fingerprint")), reason.strip(), until)


def day(value: object) -> str:
    """A date as `2027-01-31`.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return dt.date.fromisoformat(str(value)).isoformat()
    except ValueError as error:
        raise ConfigurationError("waivers", f"{value!r} is no date", "write it as 2027-01-31") from error


def configured(policy: Policy, values: Mapping[str, Any]) -> Policy:
    """A policy with some settings changed; keys as in the files."""
    settings = evolve(
        policy.settings,
        validation=values.get("validation", policy.settings.validation),
        unknown_types=values.get("unknown-types", policy.settings.unknown_types),
        profile=values.get("profile", policy.settings.profile),
    )
    return evolve(
        policy,
        level=LEVELS[values.get("level", policy.level)],
        fail_on=values.get("fail-on", policy.fail_on),
        severities={**policy.severities, **values.get("severity", {})},
        only=values.get("only", policy.only),
        skip=values.get("skip", policy.skip),
        strict_source=values.get("strict-source", policy.strict_source),
        settings=settings,
    )
