// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn-chunkd inspect PATH`: what is in a store directory or a checksum file, as text or JSON. Reads only,
// also beside a daemon that serves the store (what it prints is then of different moments). Called by
// main.cc.
#pragma once

#include <kj/string.h>

#include <ostream>

#include "rpc/units.h"

namespace cairn {

struct InspectOptions {
  kj::StringPtr path;            // a store directory, or a .sum or .data file in one
  kj::Maybe<ChunkHandle> chunk;  // of a store: this chunk with all its blocks
  enum class Form { TEXT, JSON } form = Form::TEXT;
  enum class Check { HEADERS, BYTES } check = Check::HEADERS;  // BYTES: compare all blocks of all chunks
};

int inspect(const InspectOptions& options, std::ostream& out, std::ostream& problems);
// 0: sound; 1: damage was found (and printed); 2: cannot be read at all.

}  // namespace cairn
