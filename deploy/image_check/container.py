"""Starts an image's root as an engine would: its layers read-only, its user, its entry point as process 1, a volume."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .build import DEVICES, Image, mount

UNSHARE = shutil.which("unshare") or "/usr/bin/unshare"


class Failed(Exception):
    """What the trial expects does not hold."""


def expect(holds: bool, what: str) -> None:
    """Prints what holds; fails with what does not."""
    if not holds:
        raise Failed(what)
    print(f"  ok  {what}", flush=True)


class Container:
    """A container of `image`. `volume` is its data on the host, `mounts` further folders of the host by their place."""

    def __init__(self, image: Image, folder: Path, volume: Path, environment: dict[str, str], mounts: dict[str, Path]) -> None:
        self.image, self.volume, self.mounts = image, volume, mounts
        self.environment = image.environment | environment
        self.root, self.writable = folder / "container", folder / "writable"
        self.log = folder / "container.log"
        self.process: subprocess.Popen | None = None
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> "Container":
        self.root.mkdir(exist_ok=True)
        # An engine makes what it mounts on in a layer of its own, then locks it: so the root is read-only all the same.
        shutil.rmtree(self.writable, ignore_errors=True)
        for name in ("files", "work"):
            (self.writable / name).mkdir(parents=True)
        layers = ":".join(map(str, self.image.layers))
        over = f"lowerdir={layers},upperdir={self.writable}/files,workdir={self.writable}/work"
        mount(self.stack, "-t", "overlay", "-o", over, "overlay", self.root)
        [place] = self.image.volumes
        inner = self.root / place.lstrip("/")
        if not self.volume.exists():
            # A new volume begins as what the image has there.
            shutil.copytree(inner, self.volume)
            shutil.copystat(inner, self.volume)
            os.chown(self.volume, inner.stat().st_uid, inner.stat().st_gid)
        for name in ("dev", "proc", "tmp"):
            (self.root / name).mkdir(exist_ok=True)
        for device in DEVICES:
            (self.root / "dev" / device).touch()
        for inside in self.mounts:
            (self.root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", self.root], check=True)
        for device in DEVICES:
            mount(self.stack, "--bind", f"/dev/{device}", self.root / "dev" / device)
        mount(self.stack, "-t", "tmpfs", "-o", "mode=1777,size=64m", "tmpfs", self.root / "tmp")
        mount(self.stack, "--bind", self.volume, inner)
        for inside, outside in self.mounts.items():
            mount(self.stack, "--bind", "-o", "ro", outside, self.root / inside.lstrip("/"))
        return self

    def __exit__(self, *_) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.stack.close()

    def _inside(self, command: list[str], *unshared: str) -> list[str]:
        user, group = self.image.user.split(":")
        place = [f"--root={self.root}", f"--wd={self.image.workdir}", f"--setuid={user}", f"--setgid={group}"]
        return [UNSHARE, *unshared, *place, *command]

    def start(self) -> None:
        """Starts the entry point as process 1 of a namespace of its own."""
        command = self._inside(self.image.entrypoint, "--pid", "--fork", "--kill-child", "--mount-proc")
        with self.log.open("w") as output:
            self.process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def run(self, *command: str) -> subprocess.CompletedProcess:
        """What an engine's `exec` does."""
        return subprocess.run(self._inside(list(command)), env=self.environment, capture_output=True, text=True, timeout=30)

    def wait_until_healthy(self, limit_s: float = 60) -> float:
        """Asks by the image's HEALTHCHECK until it succeeds; how long it took (s)."""
        begun = time.monotonic()
        while True:
            asked = self.run(*self.image.health)
            took = time.monotonic() - begun
            if asked.returncode == 0:
                return took
            if self.process is None or self.process.poll() is not None or took > limit_s:
                raise Failed(f"not healthy after {took:.0f} s: {asked.stderr}{asked.stdout}\n{self.log.read_text()}")
            # As an engine does: the question is asked again after a while, not for ever.
            time.sleep(0.1)

    def main_process(self) -> int:
        """The number of the entry point's process, out here."""
        assert self.process is not None
        own = self.process.pid
        return int(Path(f"/proc/{own}/task/{own}/children").read_text().split()[0])

    def status(self, name: str) -> list[str]:
        """The values of a line in the process's status."""
        lines = Path(f"/proc/{self.main_process()}/status").read_text().splitlines()
        return next(line for line in lines if line.startswith(f"{name}:")).split()[1:]

    def stop(self, limit_s: float) -> tuple[int, float]:
        """Sends the image's stop signal; the exit code, and how long it took (s)."""
        assert self.process is not None
        begun = time.monotonic()
        os.kill(self.main_process(), getattr(signal, self.image.stop_signal))
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"still there {limit_s:.0f} s after {self.image.stop_signal}\n{self.log.read_text()}") from None
        return code, time.monotonic() - begun
