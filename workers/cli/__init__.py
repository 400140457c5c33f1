"""The command line, `python -m workers`: its verbs, and what all have in common. Refuses to do what `tasks` can do.

A verb's module is imported when the verb is used, so that `--help` and quick verbs do not wait for the rest. They share
`common` and `params` (options and their values), `exits` and `missing` (errors as sentences), `formats` (figures).
`request` makes a request of what was typed; `board`, `live` and `waiting` follow jobs; `frame` is the picture of
`top`; `checks`, `providerchecks`, `redischecks`, `clocks` and `verdicts` are what `doctor` does.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

from workers.cli.missing import missing

try:
    import click
except ModuleNotFoundError:
    # Without it nothing can be said in the usual way; 3 is `exits.UNCONFIGURED`.
    sys.stderr.write(f"Error: {missing('click')}\n")
    raise SystemExit(3) from None

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

from workers.cli.exits import INTERRUPTED, MEANINGS, explained

VERBS: Final = {
    "up": ("up", "Run the whole stack on this machine until Ctrl-C."),
    "demo": ("demo", "Generate a few films from start to end, and show what they cost."),
    "submit": ("submit", "Ask for one film."),
    "watch": ("watch", "Follow jobs until they have ended."),
    "jobs": ("jobs", "List jobs, newest first."),
    "job": ("jobs", "Tell one job's story: timeline, attempts, outputs, charges."),
    "rejected": ("rejected", "List what came through Redis and was put aside, with its reason; have it read again."),
    "costs": ("costs", "Sum up what was charged, by day, model, tenant and key."),
    "report": ("report", "Write a page of what became of the jobs of a time, and what it cost; or a table."),
    "top": ("top", "Show how the whole stands, in the terminal, again and again."),
    "queues": ("queues", "Show who waits, for how long, and when the last of them is likely to start."),
    "tenants": ("tenants", "Show tenants; set a tenant's share of the turns and its limit."),
    "keys": ("keys", "Show provider keys; set a key's limits, close it, open it again."),
    "apikeys": ("apikeys", "Show the gateway's keys; create, rotate and revoke them."),
    "webhooks": ("webhooks", "List webhooks and the receivers that fail; replay messages, show and rotate secrets."),
    "pause": ("pause", "Have nothing new created, for all, a tenant or a key; what is under way goes on."),
    "resume": ("pause", "Let creates go on that were paused."),
    "drain": ("drain", "Have nothing new created, and wait until nothing is in flight."),
    "budgets": ("budgets", "Show what is used of each budget; set one, remove one, count again."),
    "metrics": ("metrics", "Print the series that Prometheus scrapes."),
    "uncertain": ("uncertain", "List jobs that may have cost money unseen, and resolve them."),
    "cancel": ("mend", "Cancel a job."),
    "retry": ("mend", "Have a failed job tried again from the stage that failed."),
    "reconcile": ("reconcile", "Compare the ledger with the provider, task by task."),
    "prune": ("prune", "Remove files and jobs that are not to be kept any longer."),
    "backup": ("backup", "Copy the SQLite ledger while workers write."),
    "restore": ("backup", "Put a copy of the ledger back, and hold what may have been created since."),
    "doctor": ("doctor", "Look at every setting and dependency, and say what to do."),
    "migrate": ("operate", "Bring the database to the schema of this version."),
    "pool": ("operate", "Run one worker pool in this process."),
    "gateway": ("operate", "Run the gateway, the HTTP door, in this process."),
    "openapi": ("operate", "Print the gateway's OpenAPI document."),
    "flower": ("operate", "Run Flower, the view of workers and tasks, in this process."),
    "completion": ("completion", "Print what makes a shell complete these commands."),
}
"""Each verb's module within this package, and what it does in one line."""

# \b: click leaves the lines of this paragraph as they are.
_EPILOG: Final = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())


COMPLETE_VARIABLE: Final = "_REELWORKS_COMPLETE"
"""By it a shell asks for completions instead of running a command, as the script of `completion` tells it to."""


class Verbs(click.Group):
    """A group that imports a verb's module when that verb is used, and turns errors into sentences."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's interface)
        """All verbs, in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """A verb, whose module is imported now; `None` where there is none of that name."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"workers.cli.{VERBS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name} is no command")
        command.epilog = _EPILOG
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """Offer the verbs, without importing any of them."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(name, help=line) for name, (_, line) in VERBS.items() if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the help's list of verbs without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; every error ends it with a sentence and one of the exit codes."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:  # noqa: BLE001 (every error becomes a sentence; `explained` tells them apart)
            raise explained(error) from None


@click.group(cls=Verbs, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Reelworks: films from pictures, by the thousand. Nothing is lost, nothing is paid for twice."""


def main() -> None:
    """The entry of `python -m workers`."""
    cli(prog_name="python -m workers", complete_var=COMPLETE_VARIABLE)
