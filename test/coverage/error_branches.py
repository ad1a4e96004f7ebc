# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the CairnFS authors
"""Which branches that handle an error has no test run?  scripts/dev coverage

An error branch is what is done where something went wrong. In the source it is the statement after
  if (CONDITION)            whose condition asks for an error: !ok(...), .error, errno, exception, Status::NOT_FOUND, < 0, ...
  KJ_IF_MAYBE (NAME, ...)   with a name for an error: exception, problem, refusal, ...
  catch (...)
and each throw, KJ_FAIL_..., and log line with a warning or an error. Statements that begin at one place are one branch.
What KJ_REQUIRE and KJ_ASSERT guard is not one: it is a bug when it happens.

One that does nothing but pass on what a function of ours has answered, as `if (!ok(status)) co_return status;`, does not need a
run of its own: it is counted as "passed on" when there are error branches in every function of that name, and all of them are
run, excused, or passed on themselves.

Whether a branch was run comes from clang's coverage: `llvm-cov export` tells for each place in a file how often it was reached.
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
ANSWER = r"(\w+)(?:\.status(?:\(\))?)?"
ONLY_NOT_OK = re.compile(rf"\s*!\s*(?:(?:\w+::)*ok\({ANSWER}\)|(\w+)\.ok\(\))\s*")
MAYBE_OF_CALL = re.compile(r"\s*(\w+)\s*,\s*(.*)", re.S)
PASS_ON = re.compile(rf"(?:co_)?return\s+(?:\*?{ANSWER}|[\w:]+\{{\*?{ANSWER}\}})\s*;\s*(\}}?)")
CALL = re.compile(r"(?:co_await\s+)?(?:[\w]+(?:\(\))?(?:\.|->|::))*(\w+)\(")
FUNCTION = re.compile(r"(?<=[\w>&*]) (?:\w+::)*(\w+)\(")
BODY = re.compile(r"(?:\s|const\b|override\b|final\b|noexcept\b)*\{")


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
    return [place_of(code, start) for start in sorted(starts)]


def callee_of_what_is_passed_on(code, opening, inside, body):
    """The function whose answer is returned unchanged by the branch that begins at `body`; None if it does anything else."""
    passed = PASS_ON.match(code, body)
    only = ONLY_NOT_OK.fullmatch(inside) if opening.group(1) == "if" else None
    maybe = MAYBE_OF_CALL.fullmatch(inside) if opening.group(1) == "KJ_IF_MAYBE" else None
    if not passed or not (only or maybe):
        return None
    name = (only.group(1) or only.group(2)) if only else maybe.group(1)
    braced = code.rfind("{", opening.start() + len(inside), body) >= 0
    if name not in (passed.group(1), passed.group(2)) or (braced and not passed.group(3)):
        return None
    if maybe:
        call = CALL.match(maybe.group(2))
    else:
        origins = list(re.finditer(rf"\b{name} = ", code[:opening.start()]))
        call = CALL.match(code, origins[-1].end()) if origins else None
    return call.group(1) if call else None


def passing_on(text):
    """{place: name of the function} of error branches that only pass on its answer."""
    code = without_comments(text)
    found = {}
    for match in OPENING.finditer(code):
        end = closing(code, match.end() - 1)
        body = end
        while body < len(code) and code[body] in " \n{":
            body += 1
        callee = callee_of_what_is_passed_on(code, match, code[match.end():end - 1], body)
        if callee is not None:
            found[place_of(code, body)] = callee
    return found


def functions(text):
    """[(name, first line, last line)] of those with a body."""
    code = without_comments(text)
    found = []
    for match in FUNCTION.finditer(code):
        opened = BODY.match(code, closing(code, match.end() - 1))
        if not opened:
            continue
        depth, at = 1, opened.end()
        while depth > 0 and at < len(code):
            depth += (code[at] == "{") - (code[at] == "}")
            at += 1
        found.append((match.group(1), code.count("\n", 0, match.start()) + 1, code.count("\n", 0, at) + 1))
    return found


def place_of(code, start):
    return code.count("\n", 0, start) + 1, start - (code.rfind("\n", 0, start) + 1) + 1


def count_at(segments, place):
    """How often a place was reached; None where there is no code. `segments` as llvm-cov exports them."""
    at = bisect.bisect_right(segments, list(place) + [float("inf")]) - 1
    if at < 0 or not segments[at][3]:
        return None
    return segments[at][2]


def judge(text, segments):
    """{place: whether it was run} of the error branches."""
    counts = {place: count_at(segments, place) for place in error_branches(text)}
    return {place: count > 0 for place, count in counts.items() if count is not None}


class Tree:
    """All files with their branches, and who of them passes on what."""

    def __init__(self, files, excuses):
        self.judged = {name: judge(text, segments) for name, (text, segments) in files.items()}
        self.lines = {name: text.splitlines() for name, (text, _) in files.items()}
        self.passing = {name: passing_on(text) for name, (text, _) in files.items()}
        self.excuses = excuses
        self.bodies = collections.defaultdict(list)
        for name, (text, _) in files.items():
            for function, first, last in functions(text):
                self.bodies[function].append((name, first, last))

    def source(self, name, place):
        return self.lines[name][place[0] - 1].strip()

    def excuse(self, name, place):
        source = self.source(name, place)
        return next((i for i, (file, piece, _) in enumerate(self.excuses) if file == name and piece in source), None)

    def is_passed_on(self, name, place, asked=()):
        """Whether all errors that the branch could pass on have their runs where they come from."""
        callee = self.passing[name].get(place)
        if callee is None or callee in asked:
            return False
        inside = [(file, branch) for file, first, last in self.bodies[callee]
                  for branch in self.judged[file] if first <= branch[0] <= last]
        have_some = all(any(file == where and first <= branch[0] <= last for file, branch in inside)
                        for where, first, last in self.bodies[callee])
        return bool(inside) and have_some and all(
            self.judged[file][branch] or self.excuse(file, branch) is not None
            or self.is_passed_on(file, branch, (*asked, callee)) for file, branch in inside)


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
    tree = Tree(files, excuses)
    totals = collections.defaultdict(collections.Counter)
    left, used = [], set()
    for name in sorted(files):
        folder = totals[name.split("/")[0]]
        for place, was_run in sorted(tree.judged[name].items()):
            folder["all"] += 1
            excuse = tree.excuse(name, place)
            if was_run:
                folder["run"] += 1
            elif excuse is not None:
                folder["excused"] += 1
                used.add(excuse)
            elif tree.is_passed_on(name, place):
                folder["passed on"] += 1
            else:
                left.append(f"{name}:{place[0]}: {tree.source(name, place)}")
    for line in left:
        print(line, file=out)
    needless = [f"{file}: {piece}" for i, (file, piece, _) in enumerate(excuses) if i not in used]
    for excuse in needless:
        print("excused, and run or not there:", excuse, file=out)
    for folder, count in [*sorted(totals.items()), ("all", sum(totals.values(), collections.Counter()))]:
        missing = count["all"] - count["run"] - count["passed on"] - count["excused"]
        print(f"{folder:12} {count['all']:4} error branches: {count['run']:4} run, {count['passed on']:3} passed on,"
              f" {count['excused']:3} excused, {missing:3} not run", file=out)
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
