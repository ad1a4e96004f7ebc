// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How much of a step of a copy an inode is: what copies (staging.cc) and what looks ahead (staging_ahead.cc)
// go by the same.
#pragma once

#include "metaserver/inode.h"

namespace cairn::ops {

constexpr uint64_t STAGED_FILE_CHUNKS_MAX = 1000;  // a file with more is copied piece by piece

inline bool isLargeFile(const Inode& inode) {
  return inode.chunks > STAGED_FILE_CHUNKS_MAX;
}

inline size_t copyingCost(const Inode& inode) {
  return 1 + inode.xattrBytes / 1024 + (isLargeFile(inode) ? 0 : inode.chunks);
}

}  // namespace cairn::ops
