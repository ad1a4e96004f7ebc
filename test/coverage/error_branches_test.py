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
        self.assertEqual(tool.judge(self.TEXT, self.SEGMENTS), ([2], [1]))

    def test_code_that_is_not_compiled_is_neither(self):
        self.assertEqual(tool.judge("\n\nif (!ok(a)) x();", self.SEGMENTS), ([], []))

    def test_the_report_names_what_was_not_run_and_excuses_that_are_not_needed(self):
        out = io.StringIO()
        files = {"rpc/a.cc": (self.TEXT, self.SEGMENTS)}
        self.assertFalse(tool.report(files, [], out))
        self.assertIn("rpc/a.cc:1: if (!ok(a)) x();", out.getvalue())
        self.assertIn("1 of     2 error branches run", out.getvalue())
        self.assertTrue(tool.report(files, [("rpc/a.cc", "ok(a)", "cannot happen")], io.StringIO()))
        self.assertFalse(tool.report(files, [("rpc/a.cc", "ok(a)", "x"), ("rpc/a.cc", "ok(b)", "x")], io.StringIO()))

    def test_an_excuse_needs_a_reason(self):
        self.assertEqual(tool.read_excuses("# c\n\nrpc/a.cc: ok(a) => why\n"), [("rpc/a.cc", "ok(a)", "why")])
        with self.assertRaises(ValueError):
            tool.read_excuses("rpc/a.cc: ok(a)\n")


if __name__ == "__main__":
    unittest.main()
