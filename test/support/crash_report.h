// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a program has said about its own end: the report of a sanitizer, an exception that nobody caught, a
// signal that its supervisor saw. A supervisor starts a dead daemon again and the test would go on as if
// nothing had happened, so whoever reads the words of a program looks for these.
#pragma once

#include <string>

namespace cairn::test {

std::string crashReport(const std::string& words);
// The first report and some lines after it; empty when there is none. SIGKILL and SIGTERM are what tests
// send.

}  // namespace cairn::test
