// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Waiting for something another process does: asks again and again until it holds or the time is up. For
// tests on real processes only; whoever runs on an event loop waits for the event itself.
#pragma once

#include <chrono>
#include <functional>

namespace cairn::test {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

bool eventually(std::chrono::milliseconds patience, const std::function<bool()>& holds);
// True as soon as `holds` does; false when it still does not after `patience`.

}  // namespace cairn::test
