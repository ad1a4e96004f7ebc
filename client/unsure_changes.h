// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the metaserver has answered to this mount and not said to be on stable storage, by inode. In commit
// mode `memory` a loss of power of its machine takes the end of the log with it, answers and all: then an
// fsync of an inode that any of them was about must not say that all is well. INVARIANT: an inode is here
// from the answer on until the operation is known to be on stable storage, or a sync has told that it is
// lost. Pure. Called by session.cc and open_file.cc.
#pragma once

#include <unordered_map>
#include <unordered_set>

#include "rpc/units.h"

namespace cairn::client {

class UnsureChanges {
 public:
  void answered(InodeId inode, LogIndex index);  // something about it rests on that operation
  void answered(InodeId inode, LogIndex index, uint32_t age);
  // The same, of an answer that was had when age() was that: operations may have been lost since.
  void durable(LogIndex upTo);   // these are on stable storage
  void lost(LogIndex from);      // these and all later ones are gone
  bool takeLoss(InodeId inode);  // something about it is lost, and no sync has told so
  bool takeLosses();             // about any

  LogIndex durableUpTo() const { return known; }
  uint32_t age() const { return ages; }  // counts losses: operations are numbered anew after each
  size_t size() const { return latest.size() + losses.size(); }

 private:
  std::unordered_map<InodeId, LogIndex> latest;  // the last operation; an earlier one is lost only with it
  std::unordered_set<InodeId> losses;
  LogIndex known;
  LogIndex lastLost;  // from where on, the last time
  uint32_t ages = 0;
};

}  // namespace cairn::client
