"""One Celery worker: `python -m workers.celeryworker APP OPTION...`, with the options of `celery worker`.

Owns how a worker is begun. `celery worker` would be the same worker, but Celery's command line first loads the commands
that other packages add to it: with Flower's all of Flower, in each worker and each of its children.
"""

from __future__ import annotations

import sys

from celery.app.utils import find_app
from celery.bin.base import CLIContext
from celery.bin.worker import worker


def main() -> None:
    """Works until it is told to end, and exits as Celery does."""
    app, *options = sys.argv[1:]
    worker.main(options, prog_name="celery worker", obj=CLIContext(find_app(app), no_color=False, workdir=None))


if __name__ == "__main__":
    main()
