#!/bin/sh
# Says in one line what is missing to make a virtual environment with the given interpreter: prerequisites.sh PYTHON
python=$1

fail() {
    echo "reelworks: $1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "$python is not found: install Python 3.11 or newer, or name yours with make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version 2>&1) is too old: install Python 3.11 or newer, or name one with make PYTHON=python3.11"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python has no venv module: install it (Debian, Ubuntu: apt install python3-venv)"
