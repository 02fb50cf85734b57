"""The project's own example contracts: `contracts.yaml` of a checkout, packed into the wheel."""

from pathlib import Path

__all__ = ["example_contracts"]

_HERE = Path(__file__).parent


def example_contracts() -> Path:
    """The file, wherever this package was installed from."""
    packed = _HERE / "contracts.yaml"
    return packed if packed.exists() else _HERE.parent / "contracts.yaml"
