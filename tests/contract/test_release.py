"""What `make release` hands over: the image's context, its packages, checksums; the same bytes from the same commit."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.release import __main__ as release
from ops.release import imagecontext, packages
from ops.release.imagecontext import NoContext
from ops.release.packages import NotListed

MADE_AT = 1_700_000_000
INDEX = "index.example"
LOCK = (release.ROOT / "requirements.lock").read_text()
OF_TWO = f"""celery[redis]==5.7.0 \\
    --hash=sha256:{"0" * 64}
    # via reelworks (pyproject.toml)
markup_safe==3.0 ; python_full_version < '3.12' \\
    --hash=sha256:{"1" * 64}
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A build of this tree, whatever its state."""
    folder = tmp_path_factory.mktemp("dist")
    (folder / "reelworks-0.0.0-image.tar.gz").write_bytes(b"an older one")
    (folder / "another-1.0.whl").write_bytes(b"not ours")
    with pytest.MonkeyPatch.context() as patch:
        for tool in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL"):
            patch.setenv(tool, f"https://user:word@{INDEX}/simple")
        release.build(folder, release.version(), MADE_AT)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout with an image of its own."""
    files = {
        "ops/Dockerfile": "FROM a AS b\nCOPY lock /tmp/lock\nCOPY --from=b /x /x\nCOPY app app\nCOPY ops ops\n",
        ".dockerignore": "*\n!lock\n!app\n!ops\nops/Dockerfile\n**/__pycache__\n",
        ".gitignore": "__pycache__/\n",
        "lock": "a==1\n",
        "app/run.sh": "#!/bin/sh\n",
        "app/deep/one.py": "1\n",
        "ops/__init__.py": "",
        "not_copied/secret": "s\n",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "app/run.sh").chmod(0o700)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    return tmp_path


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = tar.getmembers()
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def test_the_release_is_whole_and_an_older_one_is_gone(dist: Path) -> None:
    name = release.version()
    assert {file.name for file in dist.iterdir()} == {
        f"reelworks-{name}-py3-none-any.whl",
        f"reelworks-{name}.tar.gz",
        f"reelworks-{name}-image.tar.gz",
        f"reelworks-{name}-image.cdx.json",
        "SHA256SUMS",
        "another-1.0.whl",
    }


def test_sha256sum_finds_every_file_as_it_was_built(dist: Path) -> None:
    lines = (dist / "SHA256SUMS").read_text().splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    assert listed == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in dist.glob("reelworks-*")}
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, check=True, capture_output=True)


def test_wheel_and_sdist_hold_the_contract_and_bear_the_commits_time(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        assert {each.filename.partition("/")[0] for each in wheel.infolist()} == {
            "reelworks",
            f"reelworks-{release.version()}.dist-info",
        }
        assert {each.date_time[:3] for each in wheel.infolist()} == {(2023, 11, 14)}
    with tarfile.open(dist / f"reelworks-{release.version()}.tar.gz") as sdist:
        found = sdist.getmembers()
    assert {each.mtime for each in found} == {MADE_AT}
    tops = {each.name.split("/")[1] for each in found}
    assert tops == {"schemas", "README.md", "pyproject.toml", "PKG-INFO", ".gitignore"}


def test_the_context_holds_what_the_dockerfile_copies_and_the_dockerfile(dist: Path) -> None:
    archive = (dist / f"reelworks-{release.version()}-image.tar.gz").read_bytes()
    found = members(archive)
    tracked = subprocess.run(
        ["git", "ls-files", "requirements.lock", "requirements-otel.lock", "schemas", "tasks", "workers", "ops"],
        cwd=release.ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    files = {name for name, each in found.items() if each.isfile()}
    assert files == {*tracked, "Dockerfile"} - {"ops/Dockerfile"}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for name in ("Dockerfile", "requirements.lock", "workers/app.py"):
            held = tar.extractfile(name)
            assert held is not None
            assert held.read() == (release.ROOT / ("ops/Dockerfile" if name == "Dockerfile" else name)).read_bytes()


def test_the_documents_packages_are_those_of_the_lock_with_every_hash(dist: Path) -> None:
    document = json.loads(next(dist.glob("*.cdx.json")).read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "reelworks"
    pinned = [line.split()[0] for line in LOCK.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    assert len(document["components"]) == len(pinned) > 50
    hashes = [each for part in document["components"] for ref in part["externalReferences"] for each in ref["hashes"]]
    assert sorted(each["content"] for each in hashes) == sorted(
        line.partition("sha256:")[2].split()[0] for line in LOCK.splitlines() if "--hash=sha256:" in line
    )
    assert packages.listed(document) == packages.locked(LOCK)
    assert INDEX not in json.dumps(document), "whoever reads it can't reach the index of the machine that built it"


def test_a_context_is_the_same_whoever_makes_it_and_holds_no_file_that_lies_about(checkout: Path) -> None:
    first = imagecontext.archive(checkout, MADE_AT)
    found = members(first)
    assert list(found) == [
        *("app", "app/deep", "ops"),
        *("Dockerfile", "app/deep/one.py", "app/run.sh", "lock", "ops/__init__.py"),
    ]
    assert {(each.mtime, each.uid, each.gid, each.uname, each.gname) for each in found.values()} == {
        (MADE_AT, 0, 0, "", "")
    }
    assert [oct(found[name].mode) for name in ("app", "app/run.sh", "lock")] == ["0o755", "0o755", "0o644"]
    (checkout / "app/__pycache__").mkdir()
    (checkout / "app/__pycache__/one.pyc").write_bytes(b"x")
    (checkout / "app/notes.txt").write_text("of nobody's concern")
    (checkout / "app/run.sh").chmod(0o755)
    os.utime(checkout / "lock", (1, 1))
    assert imagecontext.archive(checkout, MADE_AT) == first
    assert int.from_bytes(first[4:8], "little") == MADE_AT, "gzip's own stamp"
    assert imagecontext.archive(checkout, MADE_AT + 1) != first


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ADD app app", "can be followed: ADD app"),
        ('COPY ["app", "app"]', "can be followed"),
        ("COPY app \\\n  app", "can be followed"),
        ("COPY nowhere nowhere", "copies nowhere, of which git knows no file"),
    ],
)
def test_a_dockerfile_that_can_not_be_followed_makes_no_context(checkout: Path, line: str, reason: str) -> None:
    (checkout / "ops/Dockerfile").write_text(f"FROM a\n{line}\n")
    with pytest.raises(NoContext, match=reason):
        imagecontext.archive(checkout, MADE_AT)


def test_a_link_makes_no_context(checkout: Path) -> None:
    (checkout / "app/link").symlink_to("/etc/passwd")
    git(checkout, "add", "-A")
    with pytest.raises(NoContext, match="app/link: git knows it as 120000"):
        imagecontext.archive(checkout, MADE_AT)


def document(**components: Any) -> dict[str, Any]:
    return {
        "components": [
            {
                "name": name,
                "version": version,
                "externalReferences": [{"hashes": [{"alg": "SHA-256", "content": each} for each in hashes]}],
            }
            for name, (version, *hashes) in components.items()
        ]
    }


def test_a_document_that_lists_the_lock_passes() -> None:
    assert packages.check(document(celery=("5.7.0", "0" * 64), **{"markup-safe": ("3.0", "1" * 64)}), OF_TWO) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"celery": ("5.7.0", "0" * 64)},
        {"celery": ("5.7.1", "0" * 64), "markup-safe": ("3.0", "1" * 64)},
        {"celery": ("5.7.0", "0" * 64), "markup-safe": ("3.0",)},
        {"celery": ("5.7.0", "0" * 64), "markup-safe": ("3.0", "2" * 64)},
        {"celery": ("5.7.0", "0" * 64), "markup-safe": ("3.0", "1" * 64), "more": ("1", "3" * 64)},
    ],
)
def test_a_document_that_says_anything_else_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(NotListed, match=r"lock and document differ: .*(celery|markup-safe|more)"):
        packages.check(document(**wrong), OF_TWO)


def test_a_line_that_pins_nothing_is_refused() -> None:
    with pytest.raises(NotListed, match="pins nothing: celery>=5"):
        packages.locked("celery>=5\n")


def test_a_version_of_which_the_changelog_says_nothing_is_not_released() -> None:
    release._check_told(release.version())
    with pytest.raises(release.NotReleased, match=r"no section \[9\.9\.9]"):
        release._check_told("9.9.9")


def test_the_time_is_the_commits_unless_another_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert release._time() == int(release._git("log", "-1", "--format=%ct"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(MADE_AT))
    assert release._time() == MADE_AT
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(release.NotReleased, match="whole seconds since 1970, not 'yesterday'"):
        release._time()


def test_a_tree_with_changes_is_not_released(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(checkout, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "first")
    monkeypatch.setattr(release, "ROOT", checkout)
    assert release._commit(allow_changes=False)
    (checkout / "app/new.py").write_text("a file that the wheel would take along")
    assert release.main(["--dist", str(checkout / "dist")]) == 1
    assert "1 files differ from commit" in capsys.readouterr().err
    assert not (checkout / "dist").exists()
    assert release._commit(allow_changes=True).endswith(" with 1 files changed")
