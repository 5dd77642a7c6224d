"""Stands in for the images that a Dockerfile begins from, with the Debian packages that they are made of.

Registries of images may be out of reach; Debian's packages are what those images hold anyway:

- `rust:<version>-slim-<suite>` is that Debian release with gcc, the C library's headers and certificates. The Rust of the
  official image cannot be had as a package: the machine's own toolchain is mounted in its place, and its version compared.
- `gcr.io/distroless/cc-debian<N>` is a handful of packages that were only unpacked: nothing is configured, there is no
  shell, no package manager, and no file beyond them but users, certificates and a few folders.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .dockerfile import Unreadable

SUITES = {"11": "bullseye", "12": "bookworm", "13": "trixie"}

# What the official image's own Dockerfile installs on `debian:<suite>-slim`.
RUST_PACKAGES = ["ca-certificates", "gcc", "libc6-dev"]

# https://github.com/GoogleContainerTools/distroless: static, base and cc, together.
DISTROLESS_PACKAGES = ["base-files", "ca-certificates", "libc6", "libgcc-s1", "libgomp1", "libssl3", "libstdc++6", "netbase", "tzdata"]

BUNDLE = "etc/ssl/certs/ca-certificates.crt"

# Where the machine's toolchain appears in a build root, and cargo's home, as in the official image.
RUST_AT, CARGO_AT = "/usr/local/rust", "/usr/local/cargo"


@dataclass
class Base:
    """A root to begin from: its folder, environment, user, and whether the Rust toolchain is mounted into it."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
    user: str = "0:0"
    rust: bool = False


def base(image: str, folder: Path) -> Base:
    """The root of `image`; made below `folder` unless it is there."""
    if found := re.fullmatch(r"rust:([0-9.]+)-slim-(\w+)", image):
        version, suite = found.groups()
        _compare_rust(version)
        made = Base(_once(folder / f"rust-{suite}", lambda root: _debian(suite, root, RUST_PACKAGES)), rust=True)
        made.environment["PATH"] = f"{RUST_AT}/bin:{made.environment['PATH']}"
        made.environment["CARGO_HOME"] = CARGO_AT
        return made
    if found := re.fullmatch(r"gcr\.io/distroless/cc-debian(\d+)(:nonroot)?", image):
        suite = SUITES.get(found[1])
        if suite is None:
            raise Unreadable(f"FROM {image}: which suite is Debian {found[1]}? See SUITES in bases.py")
        builder = base(f"rust:{_rust_version()}-slim-{suite}", folder).root
        root = _once(folder / f"distroless-cc-{suite}", lambda root: _distroless(builder, root))
        made = Base(root, user="65532:65532" if found[2] else "0:0")
        made.environment["SSL_CERT_FILE"] = f"/{BUNDLE}"
        return made
    raise Unreadable(f"FROM {image}: this check does not know what that image is made of; teach it in bases.py")


def _once(root: Path, make) -> Path:
    """`root`, made in another place first, so that what was broken off is never taken for whole."""
    if not root.exists():
        unfinished = root.with_name(root.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        print(f"   making {root.name} of Debian's packages", flush=True)
        make(unfinished)
        unfinished.rename(root)
    return root


def _rust_version() -> str:
    text = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout
    return text.split()[1]


def _compare_rust(wanted: str) -> None:
    here = _rust_version()
    if f"{here}.".startswith(f"{wanted}."):
        return
    print(f"   note: the image has Rust {wanted}, this machine {here}; the check builds with {here}", flush=True)


def _mirrors(suite: str) -> list[tuple[str, str]]:
    """(address, suite) of what this machine installs from, where it is of that release; Debian's own otherwise."""
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)"], capture_output=True, text=True)
    found = sorted({tuple(line.split()) for line in listed.stdout.splitlines()})
    mirrors = [(uri, name) for uri, name in found if name in (suite, f"{suite}-updates", f"{suite}-security")]
    if any(name == suite for _, name in mirrors):
        return mirrors
    debian = "http://deb.debian.org/debian"
    return [(debian, suite), (debian, f"{suite}-updates"), (f"{debian}-security", f"{suite}-security")]


def _debian(suite: str, root: Path, packages: list[str]) -> None:
    mirrors = _mirrors(suite)
    main = next(uri for uri, name in mirrors if name == suite)
    include = f"--include={','.join(packages)}"
    with (root.parent / "debootstrap.log").open("w") as log:
        done = subprocess.run(["debootstrap", "--variant=minbase", include, suite, root, main], stdout=log, stderr=log)
    if done.returncode != 0:
        raise SystemExit(f"debootstrap failed; see {log.name}")
    (root / "etc/apt/sources.list").write_text("".join(f"deb {uri} {name} main\n" for uri, name in mirrors))
    # A machine behind a proxy reaches Debian through it from inside too.
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True).stdout.splitlines()
    proxies = [line for line in dump if re.match(r"Acquire::https?::Proxy", line)]
    (root / "etc/apt/apt.conf.d/90proxy").write_text("".join(f"{line}\n" for line in proxies))
    (root / CARGO_AT.lstrip("/") / "registry").mkdir(parents=True)
    (root / RUST_AT.lstrip("/")).mkdir(parents=True)


def _distroless(builder: Path, root: Path) -> None:
    downloads = builder / "tmp/distroless"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir()
    # As root in the build root, which has a package manager; `_apt` may not write there.
    fetch = f"apt-get update -q && cd /tmp/distroless && apt-get -o APT::Sandbox::User=root download {' '.join(DISTROLESS_PACKAGES)}"
    with (root.parent / "distroless.log").open("w") as log:
        shutil.copy("/etc/resolv.conf", builder / "etc/resolv.conf")
        done = subprocess.run(["chroot", builder, "sh", "-c", fetch], stdout=log, stderr=log)
    if done.returncode != 0:
        raise SystemExit(f"the packages of distroless could not be had; see {log.name}")
    for package in sorted(downloads.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
    shutil.rmtree(downloads)
    authorities = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    (root / BUNDLE).parent.mkdir(parents=True, exist_ok=True)
    (root / BUNDLE).write_text("".join(authority.read_text() for authority in authorities))
    users = "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
    (root / "etc/passwd").write_text(f"{users}nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
    (root / "etc/group").write_text("root:x:0:\nnobody:x:65534:\ntty:x:5:\nstaff:x:50:\nnonroot:x:65532:\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    for name in ("tmp", "var/tmp", "proc", "sys", "dev"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
