"""The arguments and options that commands share. Those for settings are made of `SETTINGS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from streamlib.core.errors import DefinitionError
from streamlib.core.settings import SETTINGS, Setting, Settings

Command = Callable[..., None]


class _Takes(click.ParamType[Any]):
    """A text that a setting understands."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.name = str(setting.takes).lower()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._setting.parse(value)
        except DefinitionError as error:
            self.fail(f"{error.found} is {error.message}; expected {error.expected}", param, ctx)


def target(command: Command) -> Command:
    """TARGET, and the parameters of a function that makes a flow."""
    parameter = click.option(
        "--param",
        "parameters",
        metavar="NAME=VALUE",
        multiple=True,
        help="A parameter, where TARGET is a function that makes a flow. Repeat it for more, and for lists.",
    )
    return click.argument("target", metavar="TARGET")(parameter(command))


def settings(command: Command) -> Command:
    """An option for everything that can be set."""
    for setting in reversed(tuple(SETTINGS.values())):
        default = "" if setting.default is None else f"  [default: {setting.default}]"
        choices = isinstance(setting.takes, tuple)
        option = click.option(
            setting.flag,
            setting.name,
            type=click.Choice(setting.takes) if choices else _Takes(setting),
            metavar=None if choices else str(setting.takes),
            help=setting.help + default,
        )
        command = option(command)
    return command


def asked(options: dict[str, Any]) -> Settings:
    """Take the settings out of a command's options."""
    return Settings(**{name: options.pop(name) for name in SETTINGS})


def by_flag(setting: Setting) -> str:
    """Where a setting comes from that was given on the command line."""
    return f"flag {setting.flag}"
