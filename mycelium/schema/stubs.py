"""Type information for editors and type checkers: a schema as the text of a `.pyi` file, which nobody ever runs.

A stub beside a module that calls `mycelium.bind` says what the contract's classes look like: the fields, read-only and
documented, the constructor, the enums, and a TypedDict for the JSON of each message. Type checkers read it; Python does
not. The text depends on the contract alone, so that a stub can be compared with the one that it should be.

Classes are declared as `attrs.frozen`, which makes their fields read-only to a type checker, and which it wants to see
before it accepts `attrs.evolve` and `attrs.fields`. (mypy refuses `attrs.evolve` where `__init__` is overloaded, as it
has to be here for a required field behind one that may be left out.)
"""

import builtins
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Final, assert_never, final

from mycelium.schema.faults import shortened
from mycelium.schema.model import (
    MISSING,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Field,
    Map,
    Message,
    MessageRef,
    Scalar,
    Schema,
    String,
    Type,
    Vec,
)
from mycelium.schema.printable import printable
from mycelium.schema.values import from_json_value

__all__ = ["stubs"]

_BUILTINS: Final = ("bool", "bytes", "dict", "float", "int", "list", "str")
_INDENT: Final = "    "
_WIDTH: Final = 120
_MAX_ARGUMENT: Final = 60
"""Characters of a rule's argument that a docstring shows."""
_PYTHON_SCALARS: Final = {"bool": "bool", "f32": "float", "f64": "float"}
_FLOAT_WORDS: Final = "'NaN', 'Infinity', '-Infinity'"
_OWN_TO_ENUMS: Final = frozenset(
    {
        *("as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "imag", "is_integer", "name"),
        *("numerator", "real", "value"),
    }
)
"""Attributes of IntEnum that a member's name hides: Python does not mind, type checkers do."""
_HIDES: Final = "  # type: ignore[assignment,unused-ignore]"


def stubs(schema: Schema) -> str:
    """The text of the stub of a schema.

    Args:
        schema: The model. The stub names its source without the folder, so that it is the same on every machine.
    """
    return _Stub(schema).text()


@final
class _Names:
    """Names for what the stub itself needs; a contract may use any name but those that Python keeps.

    Args:
        schema: Where names are taken already. Inside a class body a field hides whatever is called like it.
    """

    def __init__(self, schema: Schema) -> None:
        self._fields = {one.name for message in schema.messages.values() for one in message.fields}
        self._taken = {*schema.messages, *schema.enums, *self._fields}
        self._modules: dict[str, str] = {}
        self._builtins = {name: "" if name in self._taken else name for name in _BUILTINS}
        self._json = {name: self.free(f"{name}Json") for name in (*schema.enums, *schema.messages)}
        self._aliases: dict[str, str] = {}
        self.aliased: dict[str, str] = {}
        """Other names of declared types, with what they stand for; the stub has to end with them."""

    def free(self, wanted: str) -> str:
        """A name that nobody has, as wanted or nearly so."""
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted

    def of(self, module: str, name: str) -> str:
        """A name of a module, which the stub then imports."""
        if module not in self._modules:
            self._modules[module] = self.free(f"_{module}")
        return f"{self._modules[module]}.{name}"

    def builtin(self, name: str) -> str:
        """A built-in type; by its module where the contract uses its name."""
        return self._builtins[name] or self.of("builtins", name)

    def declared(self, name: str) -> str:
        """A message or enum of the contract; by another name where a field hides it, or a type checker might.

        A class with a built-in's name that stands further down is the built-in to mypy, but not at the end of the file.
        """
        if name not in self._fields and not hasattr(builtins, name):
            return name
        if name not in self._aliases:
            self._aliases[name] = self.free(f"_{name}")
            self.aliased[self._aliases[name]] = name
        return self._aliases[name]

    def json(self, name: str) -> str:
        """The JSON form of a message or enum of the contract."""
        return self._json[name]

    def imports(self) -> Iterator[str]:
        """The import statements for what was asked for, the standard library first."""
        for group in (False, True):
            names = [name for name in sorted(self._modules) if (name in ("attrs", "mycelium")) is group]
            yield from (f"import {name} as {self._modules[name]}" for name in names)
            if names:
                yield ""


@final
class _Stub:
    """The stub of one schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._names = _Names(schema)
        self._float = ""

    def text(self) -> str:
        """The whole of it. What has to be imported is known only at the end."""
        enums = [line for enum in self._schema.enums.values() for line in self._enum(enum)]
        messages = [line for message in self._schema.messages.values() for line in self._message(message)]
        body = [*enums, *messages, *self._helpers()]
        return "\n".join([*self._head(), *self._names.imports(), *body]).rstrip() + "\n"

    def _head(self) -> Iterator[str]:
        schema = self._schema
        source = printable(PurePath(schema.source).name)
        yield f"# Types of {source}: schema {schema.id:#010x}, version {schema.version}, digest"
        yield f"# {schema.digest}."
        yield "# Generated by `mycelium schema stubs` for type checkers, and never run: edit the contract instead."
        yield "# What ends in Json exists for them alone: import it under `if TYPE_CHECKING:`."
        yield "# ruff: noqa"
        yield "# fmt: off"
        if any(one.deprecated for one in schema.messages.values()):  # which messages that hold such a one may name
            yield '# mypy: disable-error-code="deprecated"'
            yield "# pyright: reportDeprecated=false"

    def _helpers(self) -> Iterator[str]:
        """Names that the classes use, behind them: see `_Names.declared`."""
        alias = self._names.of("typing", "TypeAlias") if self._float or self._names.aliased else ""
        if self._float:
            yield f"{self._float}: {alias} = {self._names.builtin('float')} | {self._literal(_FLOAT_WORDS)}"
        yield from (f"{name}: {alias} = {meant}" for name, meant in self._names.aliased.items())

    # --- enums -------------------------------------------------------------------------------------------------------

    def _enum(self, enum: EnumDef) -> Iterator[str]:
        yield f"class {enum.name}({self._names.of('enum', 'IntEnum')}):"
        yield from _docstring(enum.description.strip() or f"Enum {enum.name}", _traits_of_enum(enum))
        for name, number in enum.members.items():
            yield f"{_INDENT}{name} = {number}{_HIDES if name in _OWN_TO_ENUMS else ''}"
        words = self._literal(", ".join(map(repr, enum.members)))
        others = f" | {self._names.builtin('int')}" if enum.open else ""
        yield ""
        yield f"{self._names.json(enum.name)}: {self._names.of('typing', 'TypeAlias')} = {words}{others}"
        yield ""

    def _literal(self, words: str) -> str:
        return f"{self._names.of('typing', 'Literal')}[{words}]"

    # --- messages ----------------------------------------------------------------------------------------------------

    def _message(self, message: Message) -> Iterator[str]:
        class_variable = self._names.of("typing", "ClassVar")
        if message.deprecated:
            # Every type checker brings typing_extensions along; nothing has to be installed.
            yield f'@{self._names.of("typing_extensions", "deprecated")}("{message.name} is deprecated")'
        yield f"@{self._names.of('attrs', 'frozen')}(init=False, slots=False)"
        yield f"class {message.name}({self._names.of('mycelium', 'Message')}):"
        yield from _docstring(message.description.strip() or f"Message {message.name}", _traits_of_message(message))
        yield f"{_INDENT}TYPE_ID: {class_variable}[{self._names.builtin('int')}] = {message.type_id}"
        yield f"{_INDENT}TOPIC: {class_variable}[{self._names.builtin('str')}] = {message.topic!r}"
        yield f"{_INDENT}__match_args__ = ({' '.join(f'{one.name!r},' for one in message.fields)})"
        for one in message.fields:
            yield f"{_INDENT}{one.name}: {self._annotation(one)}"
            yield from _docstring(one.description, _traits_of_field(one))
        for lines in self._constructors(message):
            yield from (f"{_INDENT}{line}" for line in lines)
        yield ""
        yield from self._json_form(message)

    def _json_form(self, message: Message) -> Iterator[str]:
        yield f"@{self._names.of('typing', 'type_check_only')}"
        yield f"class {self._names.json(message.name)}({self._names.of('typing', 'TypedDict')}):"
        yield from _docstring(f"JSON form of {message.name}.", ())
        for one in message.fields:
            form = self._json(one.type)
            yield f"{_INDENT}{one.name}: " + (
                form if one.required else f"{self._names.of('typing', 'NotRequired')}[{form}]"
            )
        yield ""

    def _constructors(self, message: Message) -> Iterator[list[str]]:
        """One signature, or overloads where a required field stands behind one that may be left out."""
        signatures = list(_signatures(message.fields))
        for first_default, keyword_only in signatures:
            parameters = ["self"]
            for index, one in enumerate(message.fields):
                if index == keyword_only:
                    parameters.append("*")
                default = "" if one.required or index < first_default else f" = {_default(one)}"
                parameters.append(f"{one.name}: {self._annotation(one)}{default}")
            decorator = [f"@{self._names.of('typing', 'overload')}"] if len(signatures) > 1 else []
            yield [*decorator, *_definition(parameters)]

    # --- types -------------------------------------------------------------------------------------------------------

    def _annotation(self, one: Field) -> str:
        return f"{self._python(one.type)} | None" if one.optional else self._python(one.type)

    def _python(self, type_: Type) -> str:
        """What a field of the type holds, as `mycelium.schema.classes.annotation` says it of the classes."""
        builtin = self._names.builtin
        match type_:
            case Scalar(name):
                return builtin(_PYTHON_SCALARS.get(name, "int"))
            case String():
                return builtin("str")
            case Bytes() | ByteArray():
                return builtin("bytes")
            case EnumDef():
                return f"{self._names.declared(type_.name)} | {builtin('int')}"
            case MessageRef(name):
                return self._names.declared(name)
            case Array(element, _) | Vec(element):
                return f"{builtin('list')}[{self._python(element)}]"
            case Map(key, value):
                return f"{builtin('dict')}[{self._python(key)}, {self._python(value)}]"
            case _:
                assert_never(type_)

    def _json(self, type_: Type) -> str:
        """What stands for a value of the type in JSON, as `mycelium.schema.values.to_json_value` writes it."""
        builtin = self._names.builtin
        match type_:
            case Scalar("f32" | "f64"):
                self._float = self._float or self._names.free("_Float")
                return self._float
            case Scalar(name):
                return builtin(_PYTHON_SCALARS.get(name, "int"))
            case String() | Bytes() | ByteArray():
                return builtin("str")
            case EnumDef() | MessageRef():
                return self._names.json(type_.name)
            case Array(element, _) | Vec(element):
                return f"{builtin('list')}[{self._json(element)}]"
            case Map(_, value):
                return f"{builtin('dict')}[{builtin('str')}, {self._json(value)}]"
            case _:
                assert_never(type_)


# --- constructors ----------------------------------------------------------------------------------------------------


def _signatures(fields: Sequence[Field]) -> Iterator[tuple[int, int | None]]:
    """For each signature the index from which on fields have their defaults, and that of the first keyword-only one.

    A required field behind others that may be left out is given by position together with all before it, or by keyword.
    So there is one signature for calls that give everything up to the last required field, and for each run of fields
    that stands before a required one another, for calls whose first gap is in that run: what follows is keyword-only.
    A name that begins with two underscores means positional-only to type checkers, unless it is keyword-only.
    """
    if any(one.name.startswith("__") for one in fields):
        yield 0, 0
        return
    begin = 0
    last = max((index for index, one in enumerate(fields) if one.required), default=-1)
    yield last + 1, None
    for index in range(1, len(fields)):
        if not fields[index].required and fields[index - 1].required:
            begin = index
        if fields[index].required and not fields[index - 1].required:
            yield begin, index


def _definition(parameters: Sequence[str]) -> list[str]:
    line = f"def __init__({', '.join(parameters)}) -> None: ..."
    if len(_INDENT) + len(line) <= _WIDTH:
        return [line]
    return ["def __init__(", *(f"{_INDENT}{one}," for one in parameters), ") -> None: ..."]


def _default(one: Field) -> str:
    """A default as source where it is short and plain; None is what a field without one has."""
    if one.default is MISSING:
        return "None"
    value = None if isinstance(one.type, EnumDef) else from_json_value(one.type, one.default, None)
    if not isinstance(value, int | float | str | bytes) or (isinstance(value, float) and not math.isfinite(value)):
        return "..."
    return repr(value) if len(repr(value)) <= _MAX_ARGUMENT else "..."


# --- words -----------------------------------------------------------------------------------------------------------


def _traits_of_enum(enum: EnumDef) -> Iterator[str]:
    yield enum.repr
    yield "open" if enum.open else "closed"


def _traits_of_message(message: Message) -> Iterator[str]:
    if message.deprecated:
        yield "deprecated"


def _traits_of_field(one: Field) -> Iterator[str]:
    yield str(one.type)
    if one.optional:
        yield "optional"
    if one.default is not MISSING:
        yield f"default {_cut(json.dumps(one.default, ensure_ascii=False))}"
    if one.deprecated:
        yield "deprecated"
    for rule in one.rules:
        yield f"{shortened(rule.name)}: {_cut(json.dumps(rule.argument, ensure_ascii=False))}"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_ARGUMENT else f"{text[:_MAX_ARGUMENT]}…"


def _docstring(text: str, traits: Iterable[str]) -> Iterator[str]:
    """The lines of a docstring, whatever the text holds."""
    noted = ", ".join(traits)
    words = f"{text.strip()} ({noted})" if text.strip() and noted else text.strip() or noted
    words = words.replace("\\", "\\\\")
    if '"""' in words or words.endswith('"'):
        words = words.replace('"', '\\"')
    lines = [printable(line) for line in words.split("\n")]
    yield f'{_INDENT}"""{lines[0]}' + ('"""' if len(lines) == 1 else "")
    yield from (f"{_INDENT}{line}".rstrip() for line in lines[1:-1])
    if len(lines) > 1:
        yield f'{_INDENT}{lines[-1]}"""'
