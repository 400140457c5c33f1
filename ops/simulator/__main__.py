"""The command line of the simulator: `python -m ops.simulator`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path

from tornado.netutil import bind_sockets

from .bill import Bill, read_bill
from .provider import Options, Provider
from .scenario import Scenario
from .server import Face


def main(argv: list[str] | None = None) -> int:
    """Runs the simulator until SIGTERM or SIGINT. Exit codes: 0 ended by a signal, 1 cannot listen, 2 usage."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # odd metadata in a picture is its sender's business
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        rules = json.loads(args.scenario.read_text()) if args.scenario else []
        scenario = Scenario(rules, seed=args.seed)
    except (OSError, ValueError) as error:
        parser.error(f"--scenario: {error}")
    try:
        bill = read_bill(args.bill)
    except (OSError, ValueError, LookupError) as error:
        parser.error(f"--bill: unreadable ({type(error).__name__})")
    with contextlib.ExitStack() as stack:
        data = args.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simulator-")))
        options = Options(
            bill=args.bill,
            data=data,
            speed=args.speed,
            seed=args.seed,
            keys=args.keys,
            broke_keys=args.broke_keys,
            open_limit=args.open_limit,
            rate_per_minute=args.rate_per_minute,
            url_ttl_s=args.url_ttl_s,
        )
        try:
            asyncio.run(_serve(args.host, args.port, args.ready_file, options, scenario, bill))
        except OSError as error:
            sys.stderr.write(f"simulator: {error}\n")
            return 1
    return 0


async def _serve(
    host: str, port: int, ready_file: Path | None, options: Options, scenario: Scenario, bill: Bill
) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    sockets = bind_sockets(port, host)
    provider = Provider(options, scenario)
    provider.resume(bill)
    face = Face(provider)
    server = face.server()
    server.add_sockets(sockets)
    try:
        name = f"[{host}]" if ":" in host else host
        line = {"event": "listening", "url": f"http://{name}:{sockets[0].getsockname()[1]}", "pid": os.getpid()}
        _announce(json.dumps(line) + "\n", ready_file)
        await ended.wait()
    finally:
        server.stop()
        await face.close()
        await server.close_all_connections()
        await provider.close()


def _announce(line: str, ready_file: Path | None) -> None:
    if ready_file is not None:
        part = ready_file.with_suffix(ready_file.suffix + ".part")
        part.write_text(line)
        part.replace(ready_file)
    sys.stdout.write(line)
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.simulator",
        description="A faithful stand-in for the video provider. Says where it listens in one JSON line.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 takes a free one")
    add("--speed", type=_positive, default=30.0, help="simulated seconds in a real one (default 30)")
    add("--seed", type=int, default=0, help="the same seed gives the same latencies and chances")
    add("--bill", type=Path, required=True, help="file that accepted creates, prices and deliveries are appended to")
    add("--scenario", type=Path, help="JSON file of rules; see the docstring of ops.simulator")
    add("--keys", type=_names, default=(), help="accepted keys, by commas; without it any that begins with sk-")
    add("--broke-keys", type=_names, default=(), help="keys without balance, by commas: their creates get 403")
    add("--data", type=Path, help="folder for films and tasks, kept between runs (default: a temporary one)")
    add("--open-limit", type=int, default=Options.open_limit, help="tasks a key may have open")
    add(
        "--rate-per-minute", type=int, default=Options.rate_per_minute, help="creates a key may make a simulated minute"
    )
    add("--url-ttl-s", type=_positive, default=Options.url_ttl_s, help="simulated seconds until output URLs expire")
    add("--ready-file", type=Path, help="file that the JSON line is also written to, in one piece")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("a number above 0 is needed")
    return value


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


if __name__ == "__main__":
    sys.exit(main())
