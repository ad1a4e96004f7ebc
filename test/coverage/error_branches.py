# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the CairnFS authors
"""Which branches that handle an error has no test run?  scripts/dev coverage

An error branch is what is done where something went wrong. In the source it is the statement after
  if (CONDITION)            whose condition asks for an error: !ok(...), .error, errno, exception, Status::NOT_FOUND, < 0, ...
  KJ_IF_MAYBE (NAME, ...)   with a name for an error: exception, problem, refusal, ...
  catch (...)
and each throw, KJ_FAIL_..., and log line with a warning or an error. Statements that begin at one place are one branch.
What KJ_REQUIRE and KJ_ASSERT guard is not one: it is a bug when it happens.

Whether it was run comes from clang's coverage: `llvm-cov export` tells for each place in a file how often it was reached.
"""
import argparse
import bisect
import collections
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("chunkd", "cli", "client", "env", "fuse", "metaserver", "rpc")
EXCUSED = Path(__file__).resolve().parent / "excused.txt"

ERROR_CONDITION = re.compile(
    r"!\s*(?:\w+::)*ok\(|!\s*[\w.\->()*\[\]]*(?:\.|->)ok\(\)|\berror\b|\berrno\b|\bexception\b|!=\s*Status::OK\b"
    r"|==\s*(?:rpc::)?Status::(?!OK\b)[A-Z_]+|\b(?:fd|result|opened|got|rc)\s*<\s*0|\bcorrupt\b|\bfailed\b|\bbroken\b")
ERROR_NAMES = re.compile(r"\s*(?:exception|problem|error|refusal|failure|reason|damage|lost|earlier|refused)\s*,")
STATEMENT = re.compile(r"\bthrow\b(?!\s*;)|\bKJ_FAIL_\w+\(|\b(?:log|logger)\.(?:error|warning)\(")
OPENING = re.compile(r"\b(if(?:\s+constexpr)?|KJ_IF_MAYBE|catch)\s*\(")


def without_comments(text):
    """The same places, with comments and the insides of literals blank."""
    def blank(match):
        found = match.group(0)
        if found[0] in "\"'":
            return found[0] + " " * (len(found) - 2) + found[-1]
        return re.sub(r"[^\n]", " ", found)
    return re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])'", blank, text, flags=re.S)


def closing(text, start):
    """The place after the bracket that closes the one at `start`."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at + 1
    return len(text)


def error_branches(text):
    """Places (line, column; from 1) where error branches begin."""
    code = without_comments(text)
    starts = set()
    for match in OPENING.finditer(code):
        end = closing(code, match.end() - 1)
        inside = code[match.end():end - 1]
        kind = match.group(1)
        is_error = (kind == "catch" or (kind == "KJ_IF_MAYBE" and ERROR_NAMES.match(inside))
                    or (kind.startswith("if") and ERROR_CONDITION.search(inside)))
        if is_error:
            while end < len(code) and code[end] in " \n{":
                end += 1
            starts.add(end)
    for match in STATEMENT.finditer(code):
        at = match.start()
        # What stands before it in its statement, as `environment.`, begins it.
        while at > 0 and code[at - 1] not in " \n;{}()":
            at -= 1
        starts.add(at)
    places = []
    for start in sorted(starts):
        line = code.count("\n", 0, start) + 1
        places.append((line, start - (code.rfind("\n", 0, start) + 1) + 1))
    return places


def count_at(segments, place):
    """How often a place was reached; None where there is no code. `segments` as llvm-cov exports them."""
    at = bisect.bisect_right(segments, list(place) + [float("inf")]) - 1
    if at < 0 or not segments[at][3]:
        return None
    return segments[at][2]


def judge(text, segments):
    """Lines of error branches: those that were run, and those that were not."""
    run, missed = [], []
    for line, column in error_branches(text):
        count = count_at(segments, (line, column))
        if count is not None:
            (run if count > 0 else missed).append(line)
    return run, missed


def read_excuses(text):
    """[(file, piece of the source line, reason)] of lines `FILE: PIECE => REASON`."""
    excuses = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        where, arrow, reason = line.partition(" => ")
        name, colon, piece = where.partition(": ")
        if not arrow or not colon or not reason.strip():
            raise ValueError(f"not FILE: PIECE => REASON: {line}")
        excuses.append((name.strip(), piece.strip(), reason.strip()))
    return excuses


def report(files, excuses, out=sys.stdout):
    """`files`: {name: (text, segments)}. Answers whether nothing is left and each excuse is needed."""
    totals = collections.defaultdict(lambda: [0, 0])
    left, used = [], set()
    for name, (text, segments) in sorted(files.items()):
        run, missed = judge(text, segments)
        lines = text.splitlines()
        folder = totals[name.split("/")[0]]
        folder[0] += len(run)
        folder[1] += len(run) + len(missed)
        for number in missed:
            source = lines[number - 1].strip()
            excuse = next((i for i, (file, piece, _) in enumerate(excuses) if file == name and piece in source), None)
            if excuse is None:
                left.append(f"{name}:{number}: {source}")
            else:
                used.add(excuse)
    for line in left:
        print(line, file=out)
    needless = [f"{file}: {piece}" for i, (file, piece, _) in enumerate(excuses) if i not in used]
    for excuse in needless:
        print("excused, and run or not there:", excuse, file=out)
    for folder, (run, count) in sorted(totals.items()):
        print(f"{folder:12} {run:5} of {count:5} error branches run", file=out)
    print(f"{len(left)} were not run, {len(used)} are excused in {EXCUSED.name}", file=out)
    return not left and not needless


def export(profile, programs):
    """What `llvm-cov export` tells of our files: {name: (text, segments)}."""
    objects = [word for program in programs[1:] for word in ("-object", str(program))]
    command = ["llvm-cov-19", "export", "-skip-expansions", "-skip-functions", f"-instr-profile={profile}", str(programs[0]),
               *objects, *(str(ROOT / folder) for folder in FOLDERS)]
    data = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    files = {}
    for file in data["data"][0]["files"]:
        path = Path(file["filename"]).resolve()
        if ROOT in path.parents:
            files[str(path.relative_to(ROOT))] = (path.read_text(), file["segments"])
    return files


def main():
    parser = argparse.ArgumentParser(description="Tells which branches that handle an error no test has run.")
    parser.add_argument("build", type=Path, help="a build directory of KIND coverage")
    parser.add_argument("profile", type=Path, help="what llvm-profdata has merged")
    options = parser.parse_args()
    programs = [path for folder in ("bin", "test") for path in sorted((options.build / folder).rglob("*"))
                if path.is_file() and path.suffix == "" and path.stat().st_mode & 0o100
                and path.open("rb").read(4) == b"\x7fELF"]
    excuses = read_excuses(EXCUSED.read_text())
    return 0 if report(export(options.profile, programs), excuses) else 1


if __name__ == "__main__":
    sys.exit(main())
