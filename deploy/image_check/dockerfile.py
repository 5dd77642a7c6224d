"""Reads a Dockerfile: its stages and their steps, in order. What it does not know it refuses."""

import json
import re
import shlex
from dataclasses import dataclass, field

# What may stand in a stage. A step that is not here would be passed over, and the proof be of another image.
STEPS = {"ARG", "COPY", "ENTRYPOINT", "CMD", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "RUN", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}

VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass
class Step:
    """One instruction: its word, what follows it, and the line it begins on (from 1)."""

    word: str
    text: str
    line: int


@dataclass
class Stage:
    """What begins with a FROM: the image or stage below it, its own name or its number, its steps."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)


class Unreadable(Exception):
    """The Dockerfile says what this check does not understand."""


def stages(text: str) -> list[Stage]:
    """All stages of a Dockerfile's text."""
    found: list[Stage] = []
    for step in _steps(text):
        if step.word == "FROM":
            words = step.text.split()
            named = len(words) == 3 and words[1].upper() == "AS"
            if not (named or len(words) == 1):
                raise Unreadable(f"Dockerfile:{step.line}: FROM {step.text}")
            found.append(Stage(words[0], words[2] if named else str(len(found))))
        elif not found or step.word not in STEPS:
            raise Unreadable(f"Dockerfile:{step.line}: {step.word} is not known to this check")
        else:
            found[-1].steps.append(step)
    if not found:
        raise Unreadable("Dockerfile: no FROM")
    return found


def _steps(text: str):
    words, begun = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("#") or (not stripped and not words):
            continue
        begun = begun or number
        if stripped.endswith("\\"):
            words += stripped[:-1].rstrip() + " "
            continue
        word, _, rest = (words + stripped).partition(" ")
        yield Step(word.upper(), rest.strip(), begun)
        words, begun = "", 0
    if words:
        raise Unreadable(f"Dockerfile:{begun}: the last line goes on")


def expand(text: str, variables: dict[str, str]) -> str:
    """`$NAME` and `${NAME}` by their values; empty where there is none, as builders do it."""
    return VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def pairs(text: str, variables: dict[str, str]) -> dict[str, str]:
    """The `name=value` pairs of ENV, LABEL and ARG; a name alone has an empty value."""
    found = {}
    for word in shlex.split(text):
        name, _, value = word.partition("=")
        found[name] = expand(value, variables)
    return found


def command(step: Step) -> list[str]:
    """The words of an exec form. A shell form is refused: there may be no shell."""
    try:
        words = json.loads(step.text)
    except json.JSONDecodeError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise Unreadable(f'Dockerfile:{step.line}: {step.word} is not of the form ["program", "argument"]')
    return words


def flags(text: str) -> tuple[dict[str, str], str]:
    """The `--name=value` at the beginning of an instruction, and the rest of it."""
    found = {}
    while text.startswith("--"):
        word, _, text = text.partition(" ")
        name, _, value = word[2:].partition("=")
        found[name] = value
        text = text.strip()
    return found, text


class Ignored:
    """What a `.dockerignore` keeps out of the context: the last pattern that fits decides."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        self.patterns = [
            (line.startswith("!"), re.compile(_pattern(line.lstrip("!").strip("/"))))
            for line in lines
            if line and not line.startswith("#")
        ]

    def __call__(self, path: str) -> bool:
        ignored = False
        for kept, pattern in self.patterns:
            if pattern.match(path):
                ignored = not kept
        return ignored


def _pattern(text: str) -> str:
    """A pattern as an expression that fits the path, or a folder it is in."""
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*|\*|\?)", text)
    return "".join(parts.get(piece, re.escape(piece)) for piece in pieces) + r"(?:/.*)?$"
