# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the CairnFS authors
"""What counts as a branch that handles an error, and when it counts as run."""
import io
import unittest

import error_branches as tool


def found(text):
    lines = text.splitlines()
    return [lines[line - 1][column - 1:] for line, column in tool.error_branches(text)]


class Branches(unittest.TestCase):
    def test_what_follows_a_condition_about_an_error(self):
        self.assertEqual(found("if (!ok(status)) co_return status;"), ["co_return status;"])
        self.assertEqual(found("if (!answer.ok()) {\n  again();\n}"), ["again();"])
        self.assertEqual(found("if (ok(status) && (a || b != Status::OK)) x();"), ["x();"])
        self.assertEqual(found("if (status == Status::NOT_FOUND) x();"), ["x();"])
        self.assertEqual(found("if (outcome.error == ENOSPC)\n  x();"), ["x();"])

    def test_what_follows_any_other_condition_is_none(self):
        self.assertEqual(found("if (ok(status)) x(); if (status == Status::OK) y(); if (count > 0) z();"), [])

    def test_maybes_with_the_name_of_an_error(self):
        self.assertEqual(found("KJ_IF_MAYBE (exception, problem) { tell(); }"), ["tell(); }"])
        self.assertEqual(found("KJ_IF_MAYBE (lease, find(handle)) { use(); }"), [])

    def test_catch_throw_and_log_lines(self):
        self.assertEqual(found("catch (const kj::Exception& e) { x(); }"), ["x(); }"])
        self.assertEqual(found("a();\nthrow Failure(1);"), ["throw Failure(1);"])
        self.assertEqual(found("throw;"), [])
        self.assertEqual(found("environment.log.error(1);"), ["environment.log.error(1);"])
        self.assertEqual(found("log.info(1);"), [])

    def test_two_at_one_place_are_one(self):
        self.assertEqual(found("if (!ok(status)) throw Failure(1);"), ["throw Failure(1);"])

    def test_neither_comments_nor_literals(self):
        self.assertEqual(found('// if (!ok(s)) x();\nauto a = "throw x";'), [])


class Counts(unittest.TestCase):
    TEXT = "if (!ok(a)) x();\nif (!ok(b)) y();\n"
    SEGMENTS = [[1, 1, 5, True, True, False], [1, 13, 0, True, True, False], [1, 17, 5, True, False, False],
                [2, 13, 2, True, True, False], [2, 17, 5, True, False, False], [3, 1, 0, False, False, False]]

    def test_a_place_has_the_count_of_the_region_it_is_in(self):
        self.assertEqual(tool.judge(self.TEXT, self.SEGMENTS), {(1, 13): False, (2, 13): True})

    def test_code_that_is_not_compiled_is_neither(self):
        self.assertEqual(tool.judge("\n\nif (!ok(a)) x();", self.SEGMENTS), {})

    def test_the_report_names_what_was_not_run_and_excuses_that_are_not_needed(self):
        out = io.StringIO()
        files = {"rpc/a.cc": (self.TEXT, self.SEGMENTS)}
        self.assertFalse(tool.report(files, [], out))
        self.assertIn("rpc/a.cc:1: if (!ok(a)) x();", out.getvalue())
        self.assertIn("2 error branches:    1 run,   0 passed on,   0 excused,   1 not run", out.getvalue())
        self.assertTrue(tool.report(files, [("rpc/a.cc", "ok(a)", "cannot happen")], io.StringIO()))
        self.assertFalse(tool.report(files, [("rpc/a.cc", "ok(a)", "x"), ("rpc/a.cc", "ok(b)", "x")], io.StringIO()))

    def test_an_excuse_needs_a_reason(self):
        self.assertEqual(tool.read_excuses("# c\n\nrpc/a.cc: ok(a) => why\n"), [("rpc/a.cc", "ok(a)", "why")])
        with self.assertRaises(ValueError):
            tool.read_excuses("rpc/a.cc: ok(a)\n")


class PassedOn(unittest.TestCase):
    def callees(self, text):
        return list(tool.passing_on(text).values())

    def test_a_branch_that_returns_the_answer_of_a_call_unchanged(self):
        self.assertEqual(self.callees("auto s = co_await file.sync(a, b);\nif (!ok(s)) co_return s;"), ["sync"])
        self.assertEqual(self.callees("auto s = ask(); if (!s.ok()) {\n  return s.status();\n}"), ["ask"])
        self.assertEqual(self.callees("s = a->b().c(d); if (!ok(s.status)) co_return Answer{s.status};"), ["c"])
        self.assertEqual(self.callees("KJ_IF_MAYBE (refusal, refuse(key)) co_return *refusal;"), ["refuse"])

    def test_the_last_call_counts(self):
        self.assertEqual(self.callees("s = a(); s = b();\nif (!ok(s)) return s;\ns = c();"), ["b"])

    def test_a_branch_that_does_anything_else_is_none(self):
        for text in ("s = a(); if (!ok(s)) { b(); return s; }", "s = a(); if (!ok(s)) return Status::IO_ERROR;",
                     "s = a(); if (!ok(s)) { return s; b(); }", "s = a(); if (!ok(s)) return t;",
                     "s = a(); if (!ok(s) && t) return s;", "s = t; if (!ok(s)) return s;", "if (!ok(s)) return s;",
                     "s = a(); if (ok(s)) return s;"):
            self.assertEqual(self.callees(text), [], text)

    def test_functions_are_found_with_their_lines(self):
        text = "Async<Status> A::sync(B b) const {\n  if (x) {\n  }\n}\nint y(1);\nA::A() : z(1) {}\nauto c() { d(); }\n"
        self.assertEqual(tool.functions(text), [("sync", 1, 4), ("c", 7, 7)])

    # Line 2 passes on what lines 5 and 6 come upon.
    TEXT = ("Status outer() {\n  auto s = inner(); if (!ok(s)) return s;\n}\nStatus inner() {\n"
            "  if (!ok(a)) x();\n  if (!ok(b)) y();\n}\n")

    def verdict(self, first, second, excuses=()):
        segments = [[1, 1, 1, True, True, False], [2, 33, 0, True, True, False], [2, 42, 1, True, False, False],
                    [5, 15, first, True, True, False], [5, 18, 1, True, False, False],
                    [6, 15, second, True, True, False], [6, 18, 1, True, False, False], [8, 1, 0, False, False, False]]
        out = io.StringIO()
        tool.report({"rpc/a.cc": (self.TEXT, segments)}, list(excuses), out)
        return out.getvalue()

    def test_it_is_passed_on_when_all_of_the_callee_was_run_or_excused(self):
        self.assertIn("3 error branches:    2 run,   1 passed on,   0 excused,   0 not run", self.verdict(1, 1))
        self.assertIn("3 error branches:    1 run,   0 passed on,   0 excused,   2 not run", self.verdict(1, 0))
        self.assertIn("3 error branches:    1 run,   1 passed on,   1 excused,   0 not run",
                      self.verdict(1, 0, [("rpc/a.cc", "ok(b)", "why")]))

    def test_a_callee_that_is_not_ours_or_has_no_error_branch_is_not_enough(self):
        for text in ("void f() {\n  auto s = read(); if (!ok(s)) return s;\n}\n",
                     "void f() {\n  auto s = g(); if (!ok(s)) return s;\n}\nStatus g() {\n}\n"):
            segments = [[2, 29, 0, True, True, False], [2, 46, 1, True, False, False], [9, 1, 0, False, False, False]]
            out = io.StringIO()
            tool.report({"rpc/a.cc": (text, segments)}, [], out)
            self.assertIn("1 not run", out.getvalue())


if __name__ == "__main__":
    unittest.main()
