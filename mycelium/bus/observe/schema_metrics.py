"""Metrics of what runs here, and of the contracts in force."""

from collections.abc import Callable
from typing import Final, get_args

from mycelium.bus.observe.family import Family, Samples
from mycelium.bus.observe.scrape import OTHER, Scrape
from mycelium.bus.observe.varz import build
from mycelium.bus.reload import Outcome

__all__ = ["SCHEMA_METRICS"]

_SHORT: Final = 12
"""Hex digits of a digest in a label."""
_MILLI: Final = 1e-3
_PERCENT: Final = 1e-2


def _build(_: Scrape) -> Samples:
    yield tuple(build().values()), 1


def _schema(scrape: Scrape) -> Samples:
    schema = scrape.observed.exchange.registry.schema
    yield (f"{schema.id:#010x}", str(schema.version), str(schema.min_compatible), schema.digest[:_SHORT]), 1


def _message_infos(scrape: Scrape) -> Samples:
    """Those that have series of their own, and a domain."""
    for message in scrape.observed.exchange.registry.schema.messages.values():
        label = scrape.labels[message.type_id]
        if label != OTHER and message.domain is not None:
            yield (label, message.domain), 1


def _messages(scrape: Scrape) -> Samples:
    yield (), len(scrape.observed.exchange.registry.schema.messages)


def _generations(scrape: Scrape) -> Samples:
    yield (), scrape.observed.history.generations


def _reloads(scrape: Scrape) -> Samples:
    outcomes = scrape.observed.history.outcomes
    return (((one,), outcomes[one]) for one in get_args(Outcome))


def _last_reload(scrape: Scrape) -> Samples:
    yield (), int(scrape.observed.history.is_good)


def _last_success(scrape: Scrape) -> Samples:
    yield (), scrape.observed.history.good_at


def _reload_duration(scrape: Scrape) -> Samples:
    yield (), scrape.observed.history.seconds


def _objectives(name: str, unit: float) -> Callable[[Scrape], Samples]:
    """What the contract says of each domain.

    Args:
        name: Of the figure.
        unit: How much one of it is.
    """

    def samples(scrape: Scrape) -> Samples:
        for domain in scrape.observed.exchange.registry.schema.domains.values():
            figure = getattr(domain, name)
            if figure is not None:
                yield (domain.name,), figure * unit

    return samples


SCHEMA_METRICS: Final[tuple[Family[Scrape], ...]] = (
    Family(
        "mycelium_build_info",
        "gauge",
        "What runs here; always 1.",
        ("version", "python", "implementation", "loop", "codec"),
        _build,
    ),
    Family(
        "mycelium_schema_info",
        "gauge",
        "The contracts in force; always 1. The digest is cut to 12 digits.",
        ("schema_id", "version", "min_compatible", "digest"),
        _schema,
    ),
    Family(
        "mycelium_schema_message_info",
        "gauge",
        "Which domain a message belongs to, to join what is counted of it with the domain's objectives; always 1.",
        ("message", "domain"),
        _message_infos,
    ),
    Family("mycelium_schema_messages", "gauge", "Message types of the contracts in force.", (), _messages),
    Family("mycelium_schema_generations", "gauge", "Generations of contracts that are still in use.", (), _generations),
    Family("mycelium_schema_reloads_total", "counter", "Readings of the contracts file.", ("outcome",), _reloads),
    Family(
        "mycelium_schema_last_reload_successful",
        "gauge",
        "1 while the contracts file, as it was last read, is in force.",
        (),
        _last_reload,
    ),
    Family(
        "mycelium_schema_last_reload_success_timestamp_seconds",
        "gauge",
        "When the contracts file was last read and not refused.",
        (),
        _last_success,
    ),
    Family(
        "mycelium_schema_reload_duration_seconds",
        "histogram",
        "Time to read, check and apply the contracts file.",
        (),
        _reload_duration,
    ),
    Family(
        "mycelium_slo_latency_objective_seconds",
        "gauge",
        "latency_slo_p99_ms of the contract.",
        ("domain",),
        _objectives("latency_slo_p99_ms", _MILLI),
    ),
    Family(
        "mycelium_slo_error_ratio_objective",
        "gauge",
        "error_rate_slo_pct of the contract.",
        ("domain",),
        _objectives("error_rate_slo_pct", _PERCENT),
    ),
)
