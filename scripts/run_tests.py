"""Builds and runs all tests: scripts/test [asan|tsan] [--suite NAME]... [--no-install]

Last line: `N passed, N failed`, counted in test cases. Exits with 1 when one failed or nothing ran.
"""
import argparse
import collections
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SANITIZERS = ("asan", "tsan")
TOLD_LINES = 40  # of what a test that failed has said, at the end: all of it stands above and in the log of meson


def finish(passed, failed):
    """`failed`: names, and what each has said."""
    for name, said in failed:
        print("FAILED ", name)
        lines = said.splitlines()
        left_out = [f"... and {len(lines) - TOLD_LINES} lines"] if len(lines) > TOLD_LINES else []
        for line in lines[:TOLD_LINES] + left_out:
            print("    " + line)
    print(f"{passed} passed, {len(failed)} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)


def run(*command):
    """Runs a command that sees no terminal input; ends the script when it fails."""
    words = list(map(str, command))
    if subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode:
        finish(0, [(" ".join(words), "")])


def build(kind):
    directory = ROOT / (f"build-{kind}" if kind else "build")
    run("scripts/configure", directory, *([kind] if kind else []))
    run("ninja", "-C", directory)
    return directory


def executable(test):
    """The program of a test: the first word of its command that lies in the build directory."""
    return next((Path(word).name for word in test["command"] if "/" in word and os.access(word, os.X_OK)), "")


def read_logs(directory, reports):
    """Test cases passed, failed (as for finish), skipped. A program that is no gtest, or died, counts as one case."""
    tests = [json.loads(line) for line in (directory / "meson-logs/testlog.json").read_text().splitlines()]
    cases = collections.defaultdict(list)
    for path in reports.glob("*.json"):
        try:
            report = json.loads(path.read_text())
        except ValueError:
            continue  # it died while it wrote: counted below as a program that failed
        program = path.stem
        while program not in {executable(test) for test in tests} and "_" in program:
            program = program.rpartition("_")[0]  # gtest numbers the reports of one program: name_1.json
        cases[program] += [(suite["name"], case) for suite in report["testsuites"] for case in suite["testsuite"]]

    passed, failed, skipped, counted = 0, [], [], set()
    for test in tests:
        program, fine = executable(test), test["result"] in ("OK", "SKIP", "EXPECTEDFAIL")
        broken = 0
        if program not in counted:
            counted.add(program)
            for suite, case in cases[program]:
                name = f"{test['name']}: {suite}.{case['name']}"
                if case.get("failures"):
                    failed.append((name, "\n".join(failure["failure"] for failure in case["failures"])))
                    broken += 1
                elif case.get("result") == "SKIPPED":
                    skipped.append(name)
                elif case.get("status") == "RUN":
                    passed += 1
        if not fine and not broken:
            failed.append((f"{test['name']}: ended with {test['result']} (status {test['returncode']})", ""))
        elif not cases[program]:
            if test["result"] == "SKIP":
                skipped.append(test["name"])
            else:
                passed += 1
    return passed, failed, skipped


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=SANITIZERS, help="build with a sanitizer, in build-KIND")
    parser.add_argument("--suite", action="append", default=[], help="only this folder's tests, as in --suite rpc")
    parser.add_argument("--no-install", action="store_true", help="for scripts/test: look for no missing packages")
    options = parser.parse_args()

    directory = build(options.kind)
    reports = directory / "test-reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    log = directory / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)

    environment = dict(os.environ, GTEST_OUTPUT=f"json:{reports}/", CAIRN_PROGRAMS=str(directory / "bin"),
                       ASAN_OPTIONS="detect_stack_use_after_return=1:abort_on_error=1",
                       UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
    command = ["meson", "test", "-C", str(directory), "--no-rebuild", "--print-errorlogs"]
    if options.kind:
        command += ["--timeout-multiplier", "4"]
    else:  # one more than there are processors: many end-to-end tests wait most of the time
        command += ["--num-processes", str(len(os.sched_getaffinity(0)) + 1)]
    for suite in options.suite:
        command += ["--suite", suite]
    subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False)
    if not log.exists():
        finish(0, [("meson ran no test", "")])

    passed, failed, skipped = read_logs(directory, reports)
    for name in skipped:
        print("skipped", name)
    finish(passed, failed)


if __name__ == "__main__":
    main()
