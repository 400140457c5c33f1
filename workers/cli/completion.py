"""`completion`: prints what makes a shell complete this command line, under a name that it can complete.

`python -m workers` itself can't be completed: to a shell that is the command `python`. And the wheel ships no command
of that name, because it does not ship this application. So the script defines one, a function.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from workers.cli import COMPLETE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import MutableMapping

NAME: Final = "reelworks"
_COMMAND: Final = "@command@"


class _Bash(BashComplete):
    source_template = f'{NAME}() {{ {_COMMAND} "$@"; }}\n' + BashComplete.source_template.replace(
        "bash_complete $1)", f"bash_complete {_COMMAND})"
    )


class _Zsh(ZshComplete):
    source_template = f'#compdef %(prog_name)s\n{NAME}() {{ {_COMMAND} "$@" }}\n' + (
        ZshComplete.source_template.removeprefix("#compdef %(prog_name)s\n")
        .replace("    (( ! $+commands[%(prog_name)s] )) && return 1\n", "")
        .replace("zsh_complete %(prog_name)s)", f"zsh_complete {_COMMAND})")
    )


class _Fish(FishComplete):
    source_template = f"function {NAME}; {_COMMAND} $argv; end\n" + FishComplete.source_template.replace(
        "COMP_CWORD=(commandline -t) %(prog_name)s)", f"COMP_CWORD=(commandline -t) {_COMMAND})"
    )


SHELLS: Final[Mapping[str, type[ShellComplete]]] = MappingProxyType({"bash": _Bash, "zsh": _Zsh, "fish": _Fish})


def script(shell: str, command: click.Command, python: str = sys.executable) -> str:
    """What a shell is to read: click's own script, for a function that runs this Python's `-m workers`."""
    options: MutableMapping[str, Any] = {}
    made = SHELLS[shell](command, options, NAME, COMPLETE_VARIABLE).source()
    return made.replace(_COMMAND, f"{shlex.quote(python)} -m workers")


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for bash, zsh or fish that defines `reelworks`, which is `python -m workers`, and completes it.

    \b
    bash:  eval "$(python -m workers completion bash)"      in ~/.bashrc
    zsh:   eval "$(python -m workers completion zsh)"       in ~/.zshrc, after compinit
    fish:  python -m workers completion fish | source       in ~/.config/fish/config.fish
    """
    click.echo(script(shell, context.find_root().command))
