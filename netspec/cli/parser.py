"""An argument parser whose errors are one line: what is wrong and what was probably meant."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from typing import Any, NoReturn

from netspec.cli.other_verbs import option_meant, task_meant, verb_meant
from netspec.files.model_files import what_to_do
from netspec.text.printable import printable

# argparse makes a formatter for each option. One that asks for the width of the terminal imports shutil
# and all that reads archives, which only a help text is worth.
_UNMEASURED = functools.partial(argparse.HelpFormatter, width=80)


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that reports errors in one line, with a suggestion instead of the usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _UNMEASURED, **options})

    def format_help(self) -> str:
        """See `ArgumentParser`; the examples of the verb come at the end."""
        from netspec.cli.examples import EXAMPLES

        if self.formatter_class is _UNMEASURED:
            self.formatter_class = argparse.HelpFormatter
        examples = EXAMPLES.get(self.prog.removeprefix("netspec").lstrip(), ())
        if not examples:  # of a verb that is being written: a test asks for one
            return super().format_help()
        shown = "".join(f"  {line}\n" for line in examples)
        return (
            f"{super().format_help()}\n{'examples' if len(examples) > 1 else 'example'}:\n{shown}"
        )

    def error(self, message: str) -> NoReturn:
        """See `ArgumentParser`."""
        self.exit(2, f"error: {printable(message)}\n")

    def refuse_unknown(self, unknown: Sequence[str]) -> NoReturn:
        """Report the first unknown argument, with a suggestion."""
        first = next((text for text in unknown if text.startswith("-")), unknown[0])
        name = first.partition("=")[0]
        meant = _meant(name.lstrip("-"), [flag[2:] for flag in self._option_string_actions])
        if not first.startswith("-"):
            self.error(
                f"`{first}` is one argument too many: {self.prog} --help shows the arguments"
            )
        hint = f"did you mean --{meant}?" if meant else f"{self.prog} --help lists the options"
        hint = option_meant(self.prog.removeprefix("netspec").lstrip(), name) or hint
        self.error(f"there is no option {name}: {hint}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """See `ArgumentParser`; called for each value of an action with `choices`."""
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        meant = _meant(str(value), known)
        hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(known)}"
        if isinstance(action, argparse._SubParsersAction):
            verb = self.prog.removeprefix("netspec").lstrip()
            if verb:
                hint = task_meant(verb, str(value), meant) or hint
                self.error(f"there is no `netspec {verb} {value}`: {hint}")
            hint = what_to_do(str(value)) or verb_meant(str(value)) or hint
            self.error(f"there is no verb `{value}`: {hint}")
        raise argparse.ArgumentError(action, f"there is no `{value}`: {hint}")


def _meant(name: str, known: Sequence[str]) -> str | None:
    """Return the known word that was probably meant. Imported late because `check` must start fast."""
    from netspec.runtime.data.choices import meant_by

    return meant_by(name, known)
