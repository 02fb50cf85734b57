"""The root of every error that Mycelium raises on purpose.

    MyceliumError
    ├── SchemaError                 mycelium.schema.errors: what a contracts file says
    │   ├── ContractError           the file has faults (all of them at once)
    │   ├── ContractNotFound        there is no such file
    │   ├── LayoutError             messages that have no layout in the Rust dialect (all of them at once)
    │   └── UnknownTypeError        the contracts have no such message or enum
    ├── MessageError                mycelium.schema.errors: a message that does not fit its contract
    │   ├── RuleError               a value breaks a rule
    │   ├── JsonError               JSON that is no such message
    │   ├── EncodeError             mycelium.wire.errors: a value does not fit its type
    │   └── DecodeError             mycelium.wire.errors: bytes that are no such message
    ├── ProtocolError               mycelium.wire.errors: a side of a connection broke the wire protocol
    ├── BusError                    mycelium.bus.errors: delivery, connection, lifetime
    └── BenchError                  mycelium.bench.errors: a measurement cannot go on

Each layer keeps its own module; the public names are on the package, `mycelium.ContractError` and so on.
"""

__all__ = ["MyceliumError"]


class MyceliumError(Exception):
    """The base of all errors of this package. Exceptions hold values; `str()` ends with what to do."""
