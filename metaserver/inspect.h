// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn-metaserver inspect DIR`: what is in a metaserver's directory, as text. Changes nothing but takes the
// lock. Called by main.cc.
#pragma once

#include <kj/string.h>

namespace cairn {

int inspectDirectory(
    kj::StringPtr directory);  // prints to stdout; answers the exit code. Throws sentences for the user

}  // namespace cairn
