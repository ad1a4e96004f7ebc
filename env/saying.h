// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// An exception that says a sentence and nothing else: KJ_EXCEPTION puts the name of the variable before it.
#pragma once

#include <kj/exception.h>

#include <source_location>

namespace cairn::env {

inline kj::Exception saying(kj::Exception::Type type, kj::String sentence,
                            std::source_location where = std::source_location::current()) {
  return {type, where.file_name(), int(where.line()), kj::mv(sentence)};
}

}  // namespace cairn::env
