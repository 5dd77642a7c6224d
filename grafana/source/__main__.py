"""Writes every dashboard: `python -m source FOLDER`."""

import json
import sys
from pathlib import Path

from . import BOARDS


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{board.uid}.json": board for board in (make() for make in BOARDS)}
    for stale in folder.glob("*.json"):
        if stale.name not in wanted:
            stale.unlink()
    for name, board in wanted.items():
        text = json.dumps(board.to_json(), indent=2, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
