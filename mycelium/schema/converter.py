"""Messages to and from JSON, by a cattrs converter made for one generation."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from mycelium.schema.classes import M, Message
from mycelium.schema.errors import REDACTED, JsonError
from mycelium.schema.evolution import former_names
from mycelium.schema.model import Field, messages_in
from mycelium.schema.model import Message as MessageModel
from mycelium.schema.redaction import holds_redacted
from mycelium.schema.registry import Registry
from mycelium.schema.values import ValueProblem, from_json_value, to_json_value

__all__ = ["make_converter", "read_json", "to_plain", "write_json"]


def make_converter(registry: Registry[Any]) -> cattrs.Converter:
    """A converter for the messages of a registry; its hooks are made per class on first use."""
    converter = cattrs.Converter(forbid_extra_keys=True)

    def is_message(cls: Any) -> bool:
        return isinstance(cls, type) and issubclass(cls, Message)

    def structure(cls: type[Message]) -> Callable[[Any, Any], Message]:
        model = cls.__mycelium__.message
        hooks: Any = {one.name: override(struct_hook=_reader(model, one, registry)) for one in model.fields}
        return make_dict_structure_fn(cls, converter, _cattrs_use_linecache=False, **hooks)

    def unstructure(cls: type[Message]) -> Callable[[Message], dict[str, Any]]:
        fields = cls.__mycelium__.message.fields
        hooks: Any = {one.name: override(unstruct_hook=_writer(one, registry)) for one in fields}
        write = make_dict_unstructure_fn(cls, converter, _cattrs_use_linecache=False, **hooks)
        return lambda message: {name: value for name, value in write(message).items() if value is not None}

    converter.register_structure_hook_factory(is_message, structure)
    converter.register_unstructure_hook_factory(is_message, unstructure)
    return converter


def _reader(model: MessageModel, field: Field, registry: Registry[Any]) -> Callable[[Any, Any], Any]:
    inside = messages_in(field.type)
    hidden = model.redacted or any(holds_redacted(registry.schema, name) for name in inside)

    def read(value: Any, _: Any) -> Any:
        if value is None and field.optional:
            return None
        try:
            return from_json_value(field.type, value, registry)
        except ValueProblem:
            if hidden:
                raise ValueError(f"{REDACTED} does not fit {field.type}") from None
            raise

    return read


def _writer(field: Field, registry: Registry[Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else to_json_value(field.type, value, registry)


def to_plain(converter: cattrs.Converter, message: Message) -> dict[str, Any]:
    """The dict that JSON is written from."""
    plain: dict[str, Any] = converter.unstructure(message)
    return plain


def write_json(converter: cattrs.Converter, message: Message) -> str:
    """The JSON of a message."""
    return json.dumps(to_plain(converter, message), ensure_ascii=False, allow_nan=False)


def read_json(converter: cattrs.Converter, cls: type[M], text: str | bytes) -> M:
    """The message of a JSON text.

    Raises:
        JsonError: With everything that does not fit.
    """
    name = cls.__name__
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JsonError(name, None, f"no JSON: {error}") from None
    return from_plain(converter, cls, plain)


def from_plain(converter: cattrs.Converter, cls: type[M], plain: object) -> M:
    """The message of what a JSON text holds.

    Raises:
        JsonError: With everything that does not fit.
    """
    name = cls.__name__
    if not isinstance(plain, Mapping):
        raise JsonError(name, None, f"a message is a JSON object, not {type(plain).__name__}")
    former = former_names(cls.__mycelium__.synonyms)
    plain = {former.get(key, key): value for key, value in plain.items()}
    required = (one.name for one in cls.__mycelium__.message.fields if one.required)
    missing = [f"{each}: required field missing" for each in required if each not in plain]
    try:
        return converter.structure(plain, cls)
    except cattrs.ClassValidationError as error:
        raise JsonError(name, None, "; ".join([*missing, *_problems(error, cls)])) from None
    except TypeError:  # the constructor's, for a required field behind an optional one
        raise JsonError(name, None, "; ".join(missing)) from None


def _problems(error: cattrs.ClassValidationError, cls: type[Message]) -> list[str]:
    """One line for each fault: field and what is wrong with it."""
    with_notes, without = error.group_exceptions()
    lines = [f"{note.name}: {fault}" for fault, note in with_notes if not isinstance(fault, KeyError)]
    for fault in without:
        if isinstance(fault, cattrs.ForbiddenExtraKeysError):
            known = ", ".join(cls.__match_args__) or "none"
            lines.append(f"unknown {', '.join(map(repr, sorted(fault.extra_fields)))} (fields: {known})")
        else:
            lines.append(str(fault))
    return lines
