"""A Python session of a page: takes its blocks one after the other, and says what went wrong with each.

Blocks may await, as in `python -m asyncio`; all of a page share names and a loop. What a `pycon` block prints has to be
what the page shows.
"""

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import json
import sys
import traceback

_MARK = "\x1e"
_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def main():
    """Read requests from standard input until it ends."""
    kinds = {"block": run_block, "session": run_session}
    names = {"__name__": "__main__"}
    told = sys.stdout
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            kind, text, number = json.loads(line)
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    problem = kinds[kind](text, f"<line {number}>", names, runner)
            except BaseException:  # noqa: BLE001  whatever it is, the test says it
                problem = traceback.format_exc()
            print(_MARK + json.dumps(problem), file=told, flush=True)


def execute(code, names, runner):
    """Run compiled source inside the loop, as `python -m asyncio` does."""

    async def inside():
        result = eval(code, names)
        if inspect.iscoroutine(result):
            await result

    runner.run(inside())


def run_block(text, file, names, runner):
    """Run a block; nothing is wrong unless it raises."""
    execute(compile(text, file, "exec", flags=_FLAGS), names, runner)
    return ""


def run_session(text, file, names, runner):
    """Run `>>>` lines, and compare what each prints."""
    checker = doctest.OutputChecker()
    problems = []
    for example in doctest.DocTestParser().get_examples(text):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            try:
                execute(compile(example.source, file, "single", flags=_FLAGS), names, runner)
            except Exception as error:
                if example.exc_msg is None:
                    raise
                said.write("".join(traceback.format_exception_only(error)))
        want = example.want if example.exc_msg is None else example.exc_msg
        if not checker.check_output(want.replace("…", "..."), said.getvalue().replace("…", "..."), _OPTIONS):
            problems.append(f">>> {example.source}expected: {want}got: {said.getvalue()}")
    return "\n".join(problems)


if __name__ == "__main__":
    main()
