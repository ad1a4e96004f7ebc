// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Whether the namespace agrees with itself: every name leads to an inode and every inode to the root, and
// everything that is counted is counted right. It looks at the store as of one operation, so what is changed
// meanwhile makes no false alarm. INVARIANT: memory is bounded whatever the size of the namespace: inodes and
// chunks are taken in passes of so many, and for each pass the tables that name them are walked once. Changes
// nothing. Driven by check_handlers.cc and, offline, by fsck.cc.
#pragma once

#include <kj/async.h>

#include <unordered_set>

#include "metaserver/finding.h"
#include "metaserver/namespace_scan.h"
#include "rpc/coroutine.h"

namespace cairn {

class CheckSink {
 public:
  virtual ~CheckSink() noexcept(false) = default;
  virtual kj::Promise<void> found(Finding finding) = 0;  // may wait until there is room for more
  virtual kj::Promise<void> rest(
      uint64_t rows) = 0;  // so many more rows have been looked at: others have a turn
};

struct NamespaceCheckOptions {
  size_t passSize = 200'000;  // inodes, or chunks, at a time: some 60 MB
};

class NamespaceCheck {
 public:
  NamespaceCheck(const NamespaceScan& scan, CheckSink& sink, NamespaceCheckOptions options = {});
  ~NamespaceCheck() noexcept(false);
  KJ_DISALLOW_COPY(NamespaceCheck);
  Async<void> run();

 private:
  struct Node;
  struct Chunk;
  class Nodes;
  class Chunks;
  struct Totals {
    uint64_t inodes = 0, chunks = 0, garbage = 0, orphans = 0, trash = 0, trashBytes = 0, quotas = 0,
             toCount = 0;
  };

  const NamespaceScan& scan;
  CheckSink& sink;
  NamespaceCheckOptions options;
  Totals totals;
  uint64_t sinceRest = 0;
  std::unordered_set<uint64_t> reachable;  // directories that lead to the root, some of them

  kj::Promise<void> pace();
  kj::Promise<void> tell(Trouble trouble, InodeId inode, uint64_t found = 0, uint64_t right = 0);
  Async<void> checkNodes();
  Async<void> countNames(Nodes& nodes);
  Async<void> countPlaces(Nodes& nodes);
  Async<void> countExtras(Nodes& nodes);
  Async<void> markNameless(Nodes& nodes);
  Async<void> markStaged(Nodes& nodes);
  Async<void> countUsage(Nodes& nodes);
  Async<void> judge(Nodes& nodes);
  Async<void> judgeFile(const Node& node);
  Async<void> judgeDirectory(const Node& node);
  Async<void> judgeUsage(const Node& node);
  Async<void> judgeBacklinks(Nodes& nodes, const Node& node);
  bool leadsToRoot(InodeId directory);
  Async<void> checkChunks();
  Async<void> checkWhereabouts();
  Async<void> checkStagings();
  Async<void> checkAnswers();
  Async<void> checkCounters();
};

}  // namespace cairn
