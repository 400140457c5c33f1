"""What a demo is to do, and where: its options, its folder, and the settings that its stack gets. Starts nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from workers.folderlock import make_private
from workers.stackplan import KEY_VARIABLES

DEFAULT_PROMPT: Final = (
    "Sunrise over a still mountain lake. [push in] Mist drifts over the water, then [pan left] along the shore."
)

# By option. The prompt and the picture are the demo's own business: its stack gets them in requests alone.
VARIABLES: Final = {
    "jobs": "JOBS",
    "image": "IMAGE",
    "prompt": "PROMPT",
    "resolution": "RESOLUTION",
    "duration": "DURATION",
    "speed": "SPEED",
    "provider": "PROVIDER",
}

# The real schedule, which a simulator that runs faster would outpace.
_FIRST_LOOK_S: Final = 10.0
_INTERVAL_S: Final = 5.0
_SHORTEST_S: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What a demo is to do. `image` is a path or URL, `None`: the demo paints one. `speed` is the simulator's."""

    jobs: int
    image: str | None = field(repr=False)
    prompt: str = field(repr=False)
    resolution: str
    duration: int
    speed: float
    provider: Literal["simulator", "vtrix"]

    @property
    def patience_s(self) -> float:
        """How long nothing at all may move before the demo gives up: real seconds."""
        return 120.0 if self.provider == "simulator" else 600.0


def new_folder(parent: Path, now: datetime) -> Path:
    """A folder for one demo, named by the time."""
    make_private(parent)
    for number in range(1, 1000):
        name = f"{now:%Y%m%d-%H%M%S}" + (f"-{number}" if number > 1 else "")
        with contextlib.suppress(FileExistsError):  # a demo was started in the same second
            (parent / name).mkdir(mode=0o700)
            break
    return parent / name


def point_latest(folder: Path) -> None:
    """Make `latest`, beside the folder, a link to it."""
    with contextlib.suppress(OSError):  # a convenience: some file systems have no links
        link = folder.with_name(f".{folder.name}.link")
        link.symlink_to(folder.name, target_is_directory=True)
        link.replace(folder.with_name("latest"))


def not_the_demos(options: DemoOptions) -> frozenset[str]:
    """Variables that a demo does not take from its surroundings.

    It runs on a stack of its own, whatever is exported for another; and a rehearsal with the simulator must not find
    its way to a provider that is paid.
    """
    names = {*VARIABLES.values(), "REELWORKS_REDIS_URL", "REELWORKS_DATABASE_URL", "REELWORKS_STORE"}
    if options.provider == "simulator":
        names |= {"REELWORKS_PROVIDER_URL", *KEY_VARIABLES}
    return frozenset(names)


def stack_environment(env: Mapping[str, str], options: DemoOptions) -> dict[str, str]:
    """The environment for the demo's stack: polls come as much oftener as the simulator is faster."""
    others = {name: value for name, value in env.items() if name not in not_the_demos(options)}
    if options.provider == "vtrix":
        return others
    scaled = {
        "REELWORKS_POLL_FIRST_S": f"{max(_SHORTEST_S, _FIRST_LOOK_S / options.speed):g}",
        "REELWORKS_POLL_INTERVAL_S": f"{max(_SHORTEST_S, _INTERVAL_S / options.speed):g}",
    }
    return {**scaled, **{name: value for name, value in others.items() if value or name not in scaled}}
