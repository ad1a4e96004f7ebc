// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// From a directory's inode to its path. An inode knows its parent, not its name, so the parent is listed, in
// slices between which others have their turn; what was found is remembered for the lifetime of the object,
// which is that of one question of an operator. A directory that is gone is found where it was, if a file in
// the trash was in it.
#pragma once

#include <kj/async.h>

#include <string>
#include <unordered_map>

#include "metaserver/namespace_reader.h"
#include "rpc/coroutine.h"

namespace cairn {

class PathFinder {
 public:
  explicit PathFinder(const NamespaceReader& names) : names(names) {}
  KJ_DISALLOW_COPY(PathFinder);

  Async<std::string> pathOf(InodeId directory);
  // "" for the root, else "/a/b". What cannot be told (it moves just now) is shown as "/?", which is no name
  // that there can be twice.

 private:
  Async<std::string> nameIn(InodeId parent, InodeId directory);
  const NamespaceReader& names;
  std::unordered_map<InodeId, std::string> known;
};

}  // namespace cairn
