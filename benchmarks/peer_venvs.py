"""Environments of the peers: which interpreter, which version, installed apart under .venvs/."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RunError

FOLDER = Path(".venvs")
INSTALL_TIMEOUT_S = 900
PROBE_TIMEOUT_S = 20
MARK = "installed.txt"  # written last: an interrupted installation starts anew


@dataclass(frozen=True)
class Peer:
    """One version of one peer and what its environment holds."""

    name: str
    version: str
    packages: tuple[str, ...]
    lowest: tuple[int, int]  # Python, inclusive
    highest: tuple[int, int]
    prerelease: bool = False

    @property
    def folder(self) -> Path:
        """Where its environment lies."""
        return FOLDER / f"{self.name}-{self.version}"

    @property
    def python(self) -> Path:
        """Return the interpreter of its environment."""
        return self.folder / "bin" / "python"

    @property
    def installed(self) -> bool:
        """Tell whether it can be run."""
        return self.python.exists() and (self.folder / MARK).exists()


NAUTILUS_2 = Peer(
    "nautilus",
    "2.0.0rc7",
    ("nautilus_trader==2.0.0rc7", "numpy==2.4.6", "onnxruntime==1.31.1"),
    (3, 12),
    (3, 14),
    prerelease=True,
)
NAUTILUS_1 = Peer(
    "nautilus",
    "1.221.0",
    ("nautilus_trader==1.221.0", "numpy>=2,<3", "onnxruntime==1.31.1"),
    (3, 11),
    (3, 13),
)
HFTBACKTEST = Peer("hftbacktest", "2.4.4", ("hftbacktest==2.4.4",), (3, 11), (3, 13))


def _version(python: str) -> tuple[int, int] | None:
    """Ask an interpreter for its version; None when it cannot be used."""
    code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    try:
        out = subprocess.run(
            [python, "-c", code],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return int(out[0]), int(out[1])


def interpreters() -> dict[tuple[int, int], str]:
    """Find Pythons from 3.11 on: this one, those on PATH, and those of pyenv."""
    names = [f"python3.{minor}" for minor in (14, 13, 12, 11)]
    candidates = [path for name in names if (path := shutil.which(name))]
    candidates += [str(p) for p in sorted(Path.home().glob(".pyenv/versions/3.1*/bin/python"))]
    candidates.append(sys.executable)
    found: dict[tuple[int, int], str] = {}
    for python in candidates:
        version = _version(python)
        if version is not None and version >= (3, 11):
            found.setdefault(version, python)
    return found


def interpreter_for(peer: Peer) -> str | None:
    """Return an interpreter that the peer's version runs on, the newest, or None."""
    fitting = {v: p for v, p in interpreters().items() if peer.lowest <= v <= peer.highest}
    return fitting[max(fitting)] if fitting else None


def install(peer: Peer, say: bool = True) -> None:
    """Make the peer's environment if it is not there.

    Raises:
        RunError: no fitting interpreter, or the installation failed; says which and why.
    """
    if peer.installed:
        return
    python = interpreter_for(peer)
    if python is None:
        wanted = ".".join(map(str, peer.lowest))
        raise RunError(f"{peer.name} {peer.version} needs Python {wanted} or later; none was found")
    if say:
        print(f"installing {peer.name} {peer.version} into {peer.folder} with {python}", flush=True)
    shutil.rmtree(peer.folder, ignore_errors=True)
    pip = [str(peer.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [
        [python, "-m", "venv", str(peer.folder)],
        [*pip, *(["--pre"] if peer.prerelease else []), *peer.packages],
    ]
    for step in steps:
        try:
            subprocess.run(
                step, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=True
            )
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or error.stdout or "").strip().splitlines() or ["no message"]
            text = next((line for line in lines if line.startswith("ERROR")), lines[-1])
            raise RunError(f"{peer.name} {peer.version}: {text[:300]}") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunError(f"{peer.name} {peer.version}: {error}") from None
    (peer.folder / MARK).write_text(f"{peer.version}\n", encoding="utf-8")


def nautilus() -> Peer:
    """Return the NautilusTrader to run: 2.0.0rc7 where there is Python 3.12, else 1.221.0."""
    if NAUTILUS_2.installed or interpreter_for(NAUTILUS_2) is not None:
        return NAUTILUS_2
    return NAUTILUS_1
