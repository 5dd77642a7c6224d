"""Builds the stages of a Dockerfile: a layer for each step that changes files, each an overlay over those below.

A layer is kept under a name made of all that it follows from: the layers below, the instruction, its variables, and the
bytes it copies. So a second run takes up where something changed, as an engine's cache does, and what is kept of an
earlier run is exactly what this run would make.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import bases
from .dockerfile import Ignored, Stage, Step, Unreadable, command, expand, flags, pairs, stages

# A build step that takes longer than this hangs (s).
STEP_LIMIT = 3600

# What an engine gives every step from the machine it runs on.
FROM_MACHINE = ["etc/resolv.conf", "etc/hosts"]
DEVICES = ["null", "zero", "full", "random", "urandom"]


@dataclass
class Image:
    """A root as its layers, the highest first, and what an engine would start in it."""

    layers: list[Path]
    environment: dict[str, str]
    user: str
    rust: bool
    key: str
    workdir: str = "/"
    volumes: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"


class Builder:
    """Builds the Dockerfile of `source`; keeps bases and layers in `folder`."""

    def __init__(self, source: Path, folder: Path, arguments: dict[str, str]) -> None:
        self.source, self.folder, self.arguments = source, folder, arguments
        self.built: dict[str, Image] = {}
        self.used: set[str] = set()
        ignored = Ignored((source / ".dockerignore").read_text())
        files = (path for path in _files(source) if not ignored(path))
        self.context = sorted(files)

    def build(self) -> Image:
        """The image of the last stage. Layers that no step of this run used are removed."""
        for stage in stages((self.source / "Dockerfile").read_text()):
            self.built[stage.name] = self._stage(stage)
        for layer in (self.folder / "layers").iterdir():
            if layer.name not in self.used:
                shutil.rmtree(layer)
        return self.built[stage.name]

    def _stage(self, stage: Stage) -> Image:
        print(f"FROM {stage.base}", flush=True)
        if below := self.built.get(stage.base):
            image = Image(list(below.layers), dict(below.environment), below.user, below.rust, below.key, below.workdir)
        else:
            base = bases.base(stage.base, self.folder / "bases")
            image = Image([base.root], base.environment, base.user, base.rust, f"{stage.base} {base.root.stat().st_ino}")
        arguments: dict[str, str] = {}
        for step in stage.steps:
            self._step(image, arguments, step)
        return image

    def _step(self, image: Image, arguments: dict[str, str], step: Step) -> None:
        variables = arguments | image.environment
        match step.word:
            case "ARG":
                given = {name: self.arguments.get(name, value) for name, value in pairs(step.text, variables).items()}
                arguments.update(given)
            case "ENV":
                image.environment.update(pairs(step.text, variables))
            case "LABEL":
                image.labels.update(pairs(step.text, variables))
            case "USER":
                image.user = expand(step.text, variables)
            case "VOLUME":
                image.volumes += expand(step.text, variables).split()
            case "EXPOSE":
                image.ports += expand(step.text, variables).split()
            case "STOPSIGNAL":
                image.stop_signal = step.text
            case "ENTRYPOINT":
                image.entrypoint = command(step)
            case "HEALTHCHECK":
                given, rest = flags(step.text)
                unknown = set(given) - {"interval", "timeout", "start-period", "retries"}
                if unknown or not rest.startswith("CMD "):
                    raise Unreadable(f"Dockerfile:{step.line}: HEALTHCHECK {step.text}")
                image.health = command(Step(step.word, rest.removeprefix("CMD "), step.line))
            case "WORKDIR":
                image.workdir = os.path.join(image.workdir, expand(step.text, variables))
                self._layer(image, step, image.workdir, lambda root: _inside(root, image.workdir).mkdir(parents=True, exist_ok=True))
            case "COPY":
                self._copy(image, step, variables)
            case "RUN":
                variables_of_step = f"{sorted(variables.items())} {image.user} {image.workdir}"
                self._layer(image, step, variables_of_step, lambda root: self._run(image, step, variables, root))
            case word:
                raise Unreadable(f"Dockerfile:{step.line}: {word} is not known to this check")

    def _layer(self, image: Image, step: Step, depends_on: str, change) -> None:
        """Puts a layer on `image`: the kept one, or what `change` does to its root."""
        key = hashlib.sha256("\n".join([image.key, step.word, step.text, depends_on]).encode()).hexdigest()[:16]
        layer = self.folder / "layers" / key
        self.used.add(key)
        begun = time.monotonic()
        kept = layer.exists()
        if not kept:
            unfinished = self.folder / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            (unfinished / "files").mkdir(parents=True)
            with mounted(image.layers, self.folder, writable=unfinished) as root:
                change(root)
            shutil.rmtree(unfinished / "work", ignore_errors=True)
            layer.parent.mkdir(exist_ok=True)
            unfinished.rename(layer)
        image.layers.insert(0, layer / "files")
        image.key = key
        took = "kept" if kept else f"{time.monotonic() - begun:.1f} s"
        print(f"  {step.word} {' '.join(step.text.split())[:90]}  [{took}]", flush=True)

    def _copy(self, image: Image, step: Step, variables: dict[str, str]) -> None:
        given, rest = flags(step.text)
        if unknown := set(given) - {"from", "chown"}:
            raise Unreadable(f"Dockerfile:{step.line}: COPY --{unknown.pop()} is not known to this check")
        *sources, target = expand(rest, variables).split()
        owner = [int(number) for number in given.get("chown", "0:0").split(":")]
        into = target.endswith("/") or len(sources) > 1
        destination = os.path.join(image.workdir, target)
        if other := given.get("from"):
            built = self.built.get(other)
            if built is None:
                raise Unreadable(f"Dockerfile:{step.line}: there is no stage {other}")

            def change(root: Path) -> None:
                with mounted(built.layers, self.folder) as there:
                    for source in sources:
                        origin = _inside(there, source)
                        if origin.is_dir():
                            files = [str(path.relative_to(origin)) for path in origin.rglob("*")]
                            _put(origin, files, _inside(root, destination), owner)
                        else:
                            _put_file(origin, _target(root, destination, source, into), owner)

            self._layer(image, step, built.key, change)
            return
        chosen = {source: self._chosen(step, source) for source in sources}
        digest = hashlib.sha256()
        for file in sorted({file for files in chosen.values() for file in files}):
            digest.update(f"{file}\0{(self.source / file).stat().st_mode}\0".encode())
            digest.update((self.source / file).read_bytes())

        def change_from_context(root: Path) -> None:
            for source, files in chosen.items():
                origin = self.source / source
                if origin.is_dir():
                    relative = [os.path.relpath(self.source / file, origin) for file in files]
                    _put(origin, relative, _inside(root, destination), owner)
                else:
                    _put_file(origin, _target(root, destination, source, into), owner)

        self._layer(image, step, digest.hexdigest(), change_from_context)

    def _chosen(self, step: Step, source: str) -> list[str]:
        folder = os.path.normpath(source)
        found = [file for file in self.context if folder in (".", file) or file.startswith(f"{folder}/")]
        if not found:
            raise Unreadable(f"Dockerfile:{step.line}: COPY {source}: nothing of that name in the context; see .dockerignore")
        return found

    def _run(self, image: Image, step: Step, variables: dict[str, str], root: Path) -> None:
        """A shell form by /bin/sh in the root, as the stage's user, with what an engine mounts there."""
        with contextlib.ExitStack() as mounts:
            for path in FROM_MACHINE:
                if not (root / path).exists():
                    (root / path).touch()
                mount(mounts, "--bind", f"/{path}", root / path)
            mount(mounts, "-t", "proc", "proc", root / "proc")
            for device in DEVICES:
                (root / "dev" / device).touch()
                mount(mounts, "--bind", f"/dev/{device}", root / "dev" / device)
            # A machine's own authorities too, where it reaches registries through a proxy of its own.
            bundle = Path("/") / bases.BUNDLE
            if bundle.exists() and (root / bases.BUNDLE).exists():
                mount(mounts, "--bind", bundle, root / bases.BUNDLE)
            if image.rust:
                self._mount_rust(mounts, root)
            log = self.folder / "step.log"
            with log.open("w") as output:
                words = ["chroot", f"--userspec={image.user}", root, "env", "-i", *(f"{name}={value}" for name, value in variables.items())]
                words += ["/bin/sh", "-c", f'cd "$0" && {step.text}', image.workdir]
                done = subprocess.run(words, stdout=output, stderr=output, stdin=subprocess.DEVNULL, timeout=STEP_LIMIT)
            if done.returncode != 0:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
                raise SystemExit(f"{tail}\nDockerfile:{step.line}: RUN ended with {done.returncode}; all it said is in {log}")
            compiled = sum(line.lstrip().startswith("Compiling ") for line in log.read_text(errors="replace").splitlines())
            if compiled:
                print(f"   compiled {compiled} packages", flush=True)

    def _mount_rust(self, mounts: contextlib.ExitStack, root: Path) -> None:
        """The machine's toolchain, and its cargo's settings and downloads."""
        sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip()
        mount(mounts, "--bind", "-o", "ro", sysroot, root / bases.RUST_AT.lstrip("/"))
        home, there = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo"), root / bases.CARGO_AT.lstrip("/")
        (home / "registry").mkdir(parents=True, exist_ok=True)
        mount(mounts, "--bind", home / "registry", there / "registry")
        for name in ("config.toml", "config"):
            if (home / name).exists():
                (there / name).touch()
                mount(mounts, "--bind", "-o", "ro", home / name, there / name)


@contextlib.contextmanager
def mounted(layers: list[Path], folder: Path, writable: Path | None = None):
    """The root that `layers` make, mounted; changes go to `files` in `writable`, and none are possible without."""
    root = folder / ("root" if writable else "origin")
    root.mkdir(exist_ok=True)
    with contextlib.ExitStack() as mounts:
        if writable:
            (writable / "work").mkdir(exist_ok=True)
            over = f",upperdir={writable}/files,workdir={writable}/work"
        elif len(layers) == 1:
            mount(mounts, "--bind", "-o", "ro", layers[0], root)
            yield root
            return
        else:
            over = ""
        mount(mounts, "-t", "overlay", "-o", f"lowerdir={':'.join(map(str, layers))}{over}", "overlay", root)
        yield root


def mount(mounts: contextlib.ExitStack, *words) -> None:
    """Mounts, and unmounts when `mounts` closes. The last word is where."""
    subprocess.run(["mount", *map(str, words)], check=True)
    mounts.callback(subprocess.run, ["umount", "--lazy", str(words[-1])], check=True)


def _files(source: Path):
    """Every file below `source`, relative to it; build output and what git keeps are never part of a context."""
    for folder, folders, files in os.walk(source):
        if Path(folder) == source:
            folders[:] = [name for name in folders if name not in (".git", "target", "node_modules")]
        for file in files:
            yield os.path.relpath(os.path.join(folder, file), source)


def _inside(root: Path, path: str) -> Path:
    """A path of the image in its root. A link on the way would lead out of it, so there may be none."""
    found = root
    for part in Path(path.lstrip("/")).parts:
        found = found / part
        if found.is_symlink():
            raise Unreadable(f"{path} goes through a link; this check does not follow links of an image")
    return found


def _target(root: Path, destination: str, source: str, into: bool) -> Path:
    found = _inside(root, destination)
    return found / Path(source).name if into or found.is_dir() else found


def _put(origin: Path, files: list[str], target: Path, owner: list[int]) -> None:
    """What a folder holds, into `target`; folders that are made belong to `owner`, as the files do."""
    if not target.exists():
        target.mkdir(parents=True)
        os.chown(target, *owner)
    for file in sorted(files):
        if (origin / file).is_dir():
            if not (target / file).exists():
                (target / file).mkdir(parents=True)
                (target / file).chmod((origin / file).stat().st_mode & 0o7777)
                os.chown(target / file, *owner)
        else:
            _put_file(origin / file, target / file, owner)


def _put_file(origin: Path, target: Path, owner: list[int]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(origin, target, follow_symlinks=False)
    os.chown(target, *owner, follow_symlinks=False)
