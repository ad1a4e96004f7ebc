# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the CairnFS authors
"""Which co_awaits a condition decides about."""
import unittest

import await_in_conditions as tool


class Conditions(unittest.TestCase):
    def test_behind_a_condition(self):
        for text in ("a = b ? co_await c : d;", "a = b ? c\n      : co_await d;", "co_return a ? co_await b() : c;",
                     "if (a || co_await b()) c();", "while (a && co_await b()) c();", "a = b ? c(co_await d) : e;"):
            self.assertEqual(len(tool.found("{ " + text)), 1, text)
        self.assertEqual(len(tool.found("{ a = b ? co_await c : co_await d;")), 2)

    def test_not_behind_one(self):
        for text in ("if (a && b) co_await c();", "if (a) co_return co_await b();", "co_await a(b ? c : d);",
                     "auto&& a = co_await b();", "for (auto a : co_await b()) c();", "a = b ? c : d; co_await e();",
                     "if (a || b) { co_await c(); }", "// a ? co_await b : c", 'a("? co_await b");',
                     "case A: co_await b();", "a([b = c ? d : e]() { return 1; }); co_await f();"):
            self.assertEqual(tool.found("{ " + text), [], text)


if __name__ == "__main__":
    unittest.main()
