"""`mycelium schema accept`: a known break, with its reason, so that the check passes and everybody can read why."""

import argparse

from mycelium.cli.compat_options import add_against, add_contract, add_policy
from mycelium.cli.options import Commands, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`accept FINGERPRINT --reason TEXT`."""
    parser = new_command(
        commands,
        "accept",
        "Add a waiver to .mycelium-compat.yaml. The finding stays in every report, marked with the reason; "
        "only the exit code of the check changes.",
        'mycelium schema accept 9c41f0d2ab17 --reason "venue feed replaced" --until 2027-01-31',
    )
    parser.add_argument("fingerprint", metavar="FINGERPRINT", help="of the finding, as the report prints it")
    add_contract(parser)
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why the break is harmless")
    parser.add_argument("--until", metavar="DATE", help="the last day on which it holds, as 2027-01-31")
    add_against(parser)
    add_policy(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Look the finding up, and write the waiver down."""
    from mycelium.cli.compat_run import guarded

    return guarded(_accept)(args)


def _accept(args: argparse.Namespace) -> int:
    from mycelium.cli.compat_files import with_waiver
    from mycelium.cli.compat_run import compared, inputs
    from mycelium.cli.failures import fail
    from mycelium.cli.files import write_whole
    from mycelium.cli.output import say
    from mycelium.schema.compat.configuration import ConfigurationError, day, fingerprint
    from mycelium.schema.compat.findings import Waiver

    if not args.reason.strip():
        raise ConfigurationError("--reason", "it is empty", "say why the break is harmless")
    until = day(args.until) if args.until else None
    waiver = Waiver(fingerprint(args.fingerprint), " ".join(args.reason.split()), until)
    found = inputs(args)
    report = compared(found)
    finding = next((one for one in report.issues if one.fingerprint == waiver.fingerprint), None)
    if finding is None:
        known = ", ".join(f"{one.fingerprint} {one.rule}" for one in report.issues if one.severity != "info")
        why = f"the check finds {known}" if known else "the check finds nothing to accept"
        return fail(1, f"no finding has the fingerprint {waiver.fingerprint}", why, "copy it from the report")
    target = found.found.waiver_file
    if any(one.fingerprint == waiver.fingerprint for one in found.policy.waivers):
        return fail(1, f"{waiver.fingerprint} is accepted already", f"in {target}", "edit the entry there")
    text = target.read_text(encoding="utf-8") if target.is_file() else ""
    write_whole(target, with_waiver(text, waiver))
    say(f"{target}: accepted {finding.rule} {finding.subject}")
    return 0
