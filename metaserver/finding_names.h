// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Which files findings are about: all names of an inode, all files that have a chunk. The namespace knows
// neither way back, so its tables are walked, once for as many findings as there are. Called when findings
// are told.
#pragma once

#include <kj/async.h>
#include <kj/function.h>

#include <map>
#include <set>

#include "metaserver/finding.h"
#include "metaserver/namespace_reader.h"
#include "metaserver/namespace_scan.h"
#include "metaserver/path_finder.h"
#include "rpc/coroutine.h"

namespace cairn {

constexpr size_t PATHS_MAX = 100;  // of one finding

class FindingNames {
 public:
  using Rest = kj::Function<kj::Promise<void>()>;  // others have a turn
  FindingNames(const NamespaceScan& scan, const NamespaceReader& names, Rest rest)
      : scan(scan), names(names), rest(kj::mv(rest)), finder(names) {}
  Async<void> fillIn(std::vector<Finding>& findings);

 private:
  struct Place {
    InodeId directory;
    std::string name;
    bool trashed = false;
  };
  const NamespaceScan& scan;
  const NamespaceReader& names;
  Rest rest;
  PathFinder finder;
  std::map<ChunkHandle, std::vector<InodeId>> owners;
  std::map<InodeId, std::vector<Place>> places;

  Async<void> findOwners(const std::set<ChunkHandle>& chunks);
  Async<void> findPlaces(const std::set<InodeId>& inodes);
  Async<std::string> pathOf(InodeId directory);
  Async<void> addPaths(Finding& finding, InodeId inode);
};

}  // namespace cairn
