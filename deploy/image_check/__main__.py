"""Builds the Dockerfile's image and tries it. `scripts/image-check` starts this in namespaces of its own.

    python3 -m image_check build SOURCE FOLDER       build; writes what a container is started from to FOLDER/image.json
    python3 -m image_check try SOURCE FOLDER         try it; wants a network namespace of its own
"""

import dataclasses
import json
import sys
from pathlib import Path

from .build import Builder, Image
from .trial import try_out
from .dockerfile import Unreadable

# What the labels of this build say; the Dockerfile's own defaults say the rest.
ARGUMENTS = {"REVISION": "image-check"}


def main() -> None:
    task, source, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    made = folder / "image.json"
    if task == "build":
        folder.mkdir(parents=True, exist_ok=True)
        image = Builder(source, folder, ARGUMENTS).build()
        made.write_text(json.dumps(dataclasses.asdict(image), default=str))
    else:
        known = json.loads(made.read_text())
        known["layers"] = [Path(layer) for layer in known["layers"]]
        try_out(Image(**known), source, folder)


if __name__ == "__main__":
    try:
        main()
    except Unreadable as problem:
        raise SystemExit(f"image-check: {problem}") from None
