"""Worlds of a few messages, their fields as bytes, and what becomes of payloads."""

import json

from strategies import load

from mycelium.wire.errors import DecodeError, Misfit


def world(messages, types=None):
    numbered = {
        name: {"tlv_type": 1000 + number, "fields": {}, **message}
        for number, (name, message) in enumerate(messages.items())
    }
    return load(json.dumps({"types": types or {}, "messages": numbered}))


def one(fields, types=None, **more):
    """A world of one message, its class and its codec."""
    made = world({"Message": {"fields": fields, **more}}, types)
    return made.registry.class_of("Message"), made.registry.codec_of("Message")


def field(tag, data=""):
    return tag.to_bytes(2, "little") + (len(data) // 2).to_bytes(4, "little") + bytes.fromhex(data)


def outcome(function, *arguments):
    """What a function returns, or the arguments of the DecodeError that it raises; NaN is equal to itself."""
    try:
        return "value", repr(function(*arguments))
    except DecodeError as error:
        return "error", repr(error.args)


def judged(codec, payload, metadata):
    """What the general walk makes of a payload."""
    try:
        return "value", repr(codec.walk.decode(payload, 0, len(payload), 1, metadata))
    except Misfit as misfit:
        found = (misfit.path, misfit.problem, misfit.offset, misfit.rule, misfit.value)
        return "error", repr((codec.message.name, *found))
