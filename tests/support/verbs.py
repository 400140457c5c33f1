"""The command line within the test's own process."""

from __future__ import annotations

from click.testing import CliRunner

from workers.cli import cli


def told(*words: str, code: int = 0) -> str:
    """What a verb says, once it has ended with `code`."""
    result = CliRunner().invoke(cli, list(words))
    assert result.exit_code == code, result.output
    return result.output
