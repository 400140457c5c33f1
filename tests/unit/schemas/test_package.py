"""What importing the package costs and offers; each in an interpreter of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import schemas

ROOT = Path(schemas.__file__).parent.parent


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.parametrize("name", schemas.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(schemas, name) is not None
    assert name in dir(schemas)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="promise"):
        _ = schemas.promise  # type: ignore[attr-defined]


def test_every_module_is_said_to_live_there() -> None:
    modules = {file.stem for file in Path(schemas.__file__).parent.glob("*.py")} - {"__init__"}
    assert modules <= set(re.findall(r"`(\w+)`", str(schemas.__doc__)))


def test_importing_the_package_loads_none_of_its_dependencies() -> None:
    code = "import schemas, sys; print(sorted({'redis', 'marshmallow', 'pybase64'} & set(sys.modules)))"
    assert python(code) == "[]"


def test_validating_needs_no_redis_client() -> None:
    code = "from schemas import parse_request; import sys; print('redis' in sys.modules)"
    assert python(code) == "False"


def test_a_missing_dependency_is_said_plainly() -> None:
    code = """
import sys
sys.modules["redis"] = None
try:
    from schemas import Producer
except ImportError as error:
    print(error)
"""
    assert "needs the package 'redis'" in python(code)
