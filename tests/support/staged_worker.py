"""A worker in whose way a test can put something: `python -m tests.support.staged_worker CELERY-ARGUMENTS`.

`REELWORKS_STAGE` is a folder. A file `PLACE.stop` there stops the first process that comes by the place. A file
`PLACE.die` kills every process that comes by with the job that the file names. Places are those of `tasks.failpoints`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import structlog

from tasks import failpoints

STAGE = "REELWORKS_STAGE"


def stage(folder: Path) -> None:
    """Look into `folder` at every place."""

    def act(place: str) -> None:
        try:
            (folder / f"{place}.stop").unlink()
        except FileNotFoundError:
            pass
        else:
            # To this thread: of a signal to the process another thread may learn first, and this one would run on.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        deadly = folder / f"{place}.die"
        job = structlog.contextvars.get_contextvars().get("job_id")
        if deadly.exists() and deadly.read_text() == job:
            os.kill(os.getpid(), signal.SIGKILL)

    failpoints._armed.update(dict.fromkeys(failpoints.FAILPOINTS, act))


if __name__ == "__main__":
    stage(Path(os.environ.pop(STAGE)))
    from celery.__main__ import main

    sys.argv[0] = "celery"
    main()
