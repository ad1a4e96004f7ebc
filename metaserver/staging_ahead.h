// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Which chunks the next step of a copy of a tree (ops/staging.cc) will share: they have to stand still before
// it is proposed. Walks as the step will; with one too many nothing is lost, and at one too few the step
// stops. Called by stepped_snapshot.cc.
#pragma once

#include "metaserver/namespace_reader.h"

namespace cairn {

kj::Array<ChunkHandle> chunksAhead(const NamespaceReader& names, InodeId top, uint32_t budget);
// Those that are not shared yet.

}  // namespace cairn
