# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the CairnFS authors
"""Finds co_await behind ?, && or || in one expression: GCC 14 carries some of them out whatever the condition says.

Usage: await_in_conditions.py ROOT. Says where, and exits with 1 if there is one.
"""
import pathlib
import re
import sys

FOLDERS = ("chunkd", "cli", "client", "env", "fuse", "metaserver", "rpc", "test")
MEANT = {"test/rpc/coroutine_test.cc"}  # which asks what a compiler makes of it
NO_CODE = re.compile(r'//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'')


def found(text):
    """Offsets of the co_awaits that a condition is to decide about."""
    text = NO_CODE.sub(lambda match: " " * len(match.group()), text)
    return [match.start() for match in re.finditer(r"\bco_await\b", text) if is_decided(text, match.start())]


def is_decided(text, at):
    depth = 0  # of parentheses and braces that are closed before it, from here to the left
    for i in range(at - 1, 0, -1):
        if text[i] in ")}]":
            depth += 1
        elif text[i] in "([":
            depth = max(depth - 1, 0)  # at 0: we are in them, and what is left of them decides about us as well
        elif text[i] == "{":
            if depth == 0:
                return False
            depth -= 1
        elif depth == 0 and text[i] == ";":
            return False
        elif depth == 0 and (text[i] == "?" or text[i - 1:i + 1] in ("&&", "||") and text[i - 2].isspace()):
            return True
    return False


def main():
    root = pathlib.Path(sys.argv[1])
    count = 0
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.suffix not in (".cc", ".h") or name in MEANT:
                continue
            text = path.read_text()
            for at in found(text):
                line = text.count("\n", 0, at) + 1
                print(f"{name}:{line}: co_await behind a condition -> make it a statement of an if (see CONTRIBUTING.md)")
                count += 1
    return 1 if count > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
