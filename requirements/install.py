"""Make .venv and bring the pinned packages of a group into it, if a hash says they are not there.

Run by the Makefile with the interpreter that .venv shall have: `python install.py GROUP`. Groups:
core, train, deep and catboost (each with core and train), test (core, train and test), all. Only
the standard library is at hand here. An environment that runs is never made anew: packages are
installed into it.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
VENV = FOLDER.parent / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"  # group -> hash of its requirement files, written after success
GROUPS = {
    "core": ("core.txt",),
    "train": ("core.txt", "train.txt"),
    "deep": ("core.txt", "train.txt", "deep.txt"),
    "catboost": ("core.txt", "train.txt", "catboost.txt"),
    "test": ("core.txt", "train.txt", "test.txt"),
    "all": ("core.txt", "train.txt", "deep.txt", "catboost.txt", "test.txt"),
}
OLDEST = (3, 11)


def main(group: str) -> int:
    """Bring .venv up to date for one group and return the exit code."""
    wanted = fingerprint(group)
    if runs(PYTHON) and stamps().get(group) == wanted:
        return 0
    VENV.mkdir(exist_ok=True)
    with only_one():
        if runs(PYTHON) and stamps().get(group) == wanted:
            return 0  # another make has just done it
        if not runs(PYTHON) and not make_environment():
            return 1
        files = [word for name in GROUPS[group] for word in ("-r", str(FOLDER / name))]
        pip = [str(PYTHON), "-m", "pip", "install", "-qq", "--no-input", "--no-compile", *files]
        if not follow(f"Installing the {group} packages into .venv", pip):
            return 1
        compile_all()
        files_done = set(GROUPS[group])
        done = stamps() | {g: fingerprint(g) for g in GROUPS if files_done.issuperset(GROUPS[g])}
        part = STAMP.with_suffix(".part")
        part.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n")
        os.replace(part, STAMP)
    return 0


def fingerprint(group: str) -> str:
    """Return the sha256 of the requirement files of a group, hex."""
    digest = hashlib.sha256()
    for name in GROUPS[group]:
        digest.update(name.encode() + b"\0" + (FOLDER / name).read_bytes() + b"\0")
    return digest.hexdigest()


def stamps() -> dict[str, str]:
    """Return what the last successful installations wrote; empty if there is none."""
    try:
        found = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def runs(python: Path) -> bool:
    """Say whether this interpreter starts and is new enough."""
    test = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    try:
        done = subprocess.run([str(python), "-c", test], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def make_environment() -> bool:
    """Make .venv with the interpreter that runs this file."""
    version = ".".join(map(str, sys.version_info[:3]))
    again = ["--clear"] if PYTHON.is_symlink() or PYTHON.exists() else []
    command = [sys.executable, "-m", "venv", *again, str(VENV)]
    return follow(f"Making .venv with Python {version}", command)


def compile_all() -> None:
    """Write the packages' bytecode on all cores; pip does it on one.

    Some packages bring files that are no Python of this version: they are left, as by pip.
    """
    command = [str(PYTHON), "-m", "compileall", "-qq", "-j", "0", str(VENV / "lib")]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)


def follow(what: str, command: list[str]) -> bool:
    """Run a command quietly, show that it lives, and its last lines if it fails."""
    alive = sys.stderr.isatty()
    start = time.monotonic()
    print(what, "..." if not alive else "", file=sys.stderr, end="" if alive else "\n", flush=True)
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if alive:
                    seconds = time.monotonic() - start
                    print(f"\r{what} ... {seconds:.0f} s", file=sys.stderr, end="", flush=True)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            print("\nInterrupted; the next make goes on from here.", file=sys.stderr)
            sys.exit(130)
        if alive:
            print(file=sys.stderr)
        if process.returncode == 0:
            return True
        log.seek(0)
        tail = log.read().strip().splitlines()[-12:]
    print("\n".join(f"  {line}" for line in tail), file=sys.stderr)
    print(f"{what} failed (see above). Is the network at hand?", file=sys.stderr)
    return False


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold the environment's lock, so that two makes do not install at once."""
    with (VENV / "install.lock").open("w") as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        except ImportError:  # no flock on this system: one make at a time is the user's task
            pass
        yield


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in GROUPS:
        sys.exit(f"usage: install.py {'|'.join(GROUPS)}")
    sys.exit(main(sys.argv[1]))
