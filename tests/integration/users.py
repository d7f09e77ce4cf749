"""Ordinary users of this machine, and their labs: ltk as they run it, and the network's own word on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import REPOSITORY, Lab, is_kept, wait_for

ONE, OTHER = 64001, 64002  # user ids that nobody has
ROOTS_NAME = ("LOGNAME", "USER", "LNAME", "USERNAME")  # variables, as getpass.getuser() has them
NEEDED = (sys.prefix, sys.base_prefix, str(REPOSITORY))  # folders that a user's Python has to read
# as `python -m ltk`, but broken on purpose where the test is run to see whether it notices
LTK = """
import os
if broken := os.environ.get("LTK_MUTANT"):
    from ltk.testing import mutants
    mutants.install(broken)
from ltk.cli.main import main
main()
"""


class User:
    """An ordinary user with a home and a run-time folder of their own."""

    def __init__(self, uid: int, folder: Path) -> None:
        self.uid = uid
        self.folder = folder
        self.home, self.run_time = folder / "home", folder / "run"
        folder.chmod(0o755)
        for each in (self.home, self.run_time):
            each.mkdir(mode=0o700)
            os.chown(each, uid, uid)

    @property
    def environment(self) -> dict[str, str]:
        """What their programs are told; the administrator's programs are not on their PATH."""
        own = {name: value for name, value in os.environ.items() if name not in ROOTS_NAME}
        return own | {
            "TMPDIR": str(self.home),
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.run_time),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH")))),
        }

    def command(self, *words: str) -> list[str]:
        """The command `words`, to be run by root, as this user runs it."""
        program = str(Path(__file__).with_name("as_user.py"))
        return [sys.executable, program, str(self.uid), *NEEDED, "--", *words]

    def ltk(
        self, *arguments: str, status: int | None = 0, before: tuple[str, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line at home; asserts its exit status (None: any), and that there is no traceback.

        `before` is a command that runs it.
        """
        done = subprocess.run(
            [*before, *self.command(sys.executable, "-c", LTK, *arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.home,
            env=self.environment | environment,
        )
        said = f"ltk {' '.join(arguments)}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, said
        assert status is None or done.returncode == status, said
        return done

    def processes(self, holding: str = "") -> list[int]:
        """The processes of this user that have not ended, of those whose command line has the words."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_text().replace("\0", " ").strip()
                    if entry.stat().st_uid == self.uid and words and holding in words:
                        found.append(int(entry.name))
                except OSError:
                    continue  # it has ended
        return sorted(found)

    def keeper(self) -> int:
        """The process that keeps the user's namespaces."""
        (found,) = self.processes("-m ltk.rootless")
        return found

    def inside(self, *words: str) -> list[str]:
        """The command `words`, to be run by root, in the user's namespaces."""
        return ["nsenter", "--target", str(self.keeper()), "--user", "--mount", "--net", *words]

    def left(self) -> dict[str, object]:
        """Whatever of ltk there is of theirs on the machine."""
        files = [str(path) for path in self.run_time.rglob("*")]
        shared = Path(f"/tmp/ltk-{self.uid}")
        return {"processes": self.processes(), "files": files + [str(shared)] * shared.exists()}

    def end(self) -> None:
        """Take away whatever is left, after a test that has failed."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.processes(), "the killed processes of the user to end", 5)
        shutil.rmtree(self.run_time / "ltk", ignore_errors=True)


class UserLab(Lab):
    """A lab of an ordinary user's."""

    def __init__(self, yaml: str, path: Path, user: User) -> None:
        self.user = user
        super().__init__(yaml, path)

    def ltk(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.user.ltk(*arguments, status=status)

    def command(self, place: str, *words: str) -> list[str]:
        return self.user.inside(*super().command(place, *words))

    def daemon_pid(self, node: str) -> int:
        words = self.user.inside("ip", "netns", "pids", self.scope(node))
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        listed = [int(pid) for pid in done.stdout.split() if is_kept(int(pid))]
        assert len(listed) == 1, f"daemons of {node}: {listed}"
        return listed[0]

    def logs(self) -> str:
        words = self.user.inside("sh", "-c", f"tail -n +1 /run/ltk/{self.name}/*.log")
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def allowed(user: User) -> bool:
    """Whether the user may have namespaces here, as somebody else's program finds; ltk is not asked."""
    words = ["unshare", "--user", "--map-root-user", "--mount", "--net", "true"]
    return subprocess.run(user.command(*words), capture_output=True, check=False).returncode == 0


@contextmanager
def ordinary_user(uid: int = ONE) -> Iterator[User]:
    """A user of this machine, of whom nothing of ltk is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="ltk-user-") as folder:
        user = User(uid, Path(folder))
        if not allowed(user):
            pytest.skip("this machine gives ordinary users no namespaces of their own, see docs/rootless.md")
        try:
            yield user
        except BaseException:
            user.end()
            raise
        # a process that was ended last is seen until init has heard of it
        wait_for(lambda: not user.processes(), "the processes of the user to end", 5)
        assert user.left() == {"processes": [], "files": []}
