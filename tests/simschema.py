"""The contracts of simulated worlds, in three generations that get along with each other."""

import mycelium
from mycelium.schema.parse import parse_text

__all__ = ["ASK", "KEYED", "POLICY", "SCHEMAS", "SLOTS", "TYPES", "give_back", "take_handle"]

_MESSAGE = """
  {name}:
    tlv_type: {type_id}
    domain: Simulation
    description: A number of a row
{more}    fields:
      publisher: {{type: u32, description: Whose row}}
      sequence: {{type: u32, description: Which number}}
      slot: {{type: u8, description: Which key}}
      filler: {{type: String, description: Length}}
"""
_NOTE = "      note_{number}: {{type: String, optional: true, description: Came later}}\n"
TYPES = {"Tick": 1001, "Tock": 1002, "State": 1003, "Work": 1004, "Ask": 1005, "Answer": 1006}
"""`Ask` is only ever requested, `Answer` is only ever a reply."""
ASK = "Ask"
KEYED = "State"
SLOTS = 4
"""Keys that there are."""
POLICY = {"State": "latest", "Work": "block"}
"""By the contract, where it is not `drop_oldest`."""
_MORE = {
    "State": "    qos: {on_lag: latest}\n    key: [slot]\n    retain: last\n",
    "Work": "    qos: {on_lag: block}\n",
}


def _schema(version):
    text = f"schema: {{id: 7, version: {version}, min_compatible: 1}}\nmessages:\n"
    for name, type_id in TYPES.items():
        text += _MESSAGE.format(name=name, type_id=type_id, more=_MORE.get(name, "")).lstrip("\n")
        text += "".join(_NOTE.format(number=number) for number in range(2, version + 1))
    return parse_text(text.replace("{{", "{").replace("}}", "}"), "simulation")


SCHEMAS = [_schema(version) for version in (1, 2, 3)]
_spare = {schema.digest: [] for schema in SCHEMAS}
"""Handles that nobody uses at the moment: each process has its own, and a new one takes its time."""


def take_handle(schema):
    """A handle on these contracts that nobody else has."""
    spare = _spare[schema.digest]
    return spare.pop() if spare else mycelium.load(schema)


def give_back(contracts, schema):
    """Nobody uses a handle any more that was taken for a schema."""
    if contracts.schema is schema and not contracts._listeners:
        _spare[schema.digest].append(contracts)
