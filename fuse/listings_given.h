// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Answers to READDIRPLUS whose names the kernel may not have taken yet. It counts such a name as new from
// when it takes it (fuse_direntplus_link() in Linux reads the epoch then; that of a lookup is read before
// the request), so a name that it is told to forget in between stays. It has taken all of an answer when it
// asks for more of the same open directory, or closes it. Called by notifier.cc.
#pragma once

#include <kj/timer.h>

#include <map>
#include <vector>

#include "rpc/coroutine.h"
#include "rpc/units.h"

namespace cairn::fuse {

class ListingsGiven {
 public:
  // How long the kernel takes at most, on a busy machine, for an answer that it has: nothing else holds it
  // up.
  static constexpr kj::Duration TAKING_MAX = 250 * kj::MILLISECONDS;

  explicit ListingsGiven(kj::Timer& timer) : timer(timer) {}
  KJ_DISALLOW_COPY(ListingsGiven);

  void given(const void* handle, InodeId directory);
  void taken(const void* handle);
  void stop();                                         // nobody waits any more
  bool any(kj::Maybe<InodeId> directory) const;        // null: of whatever directory
  Async<void> allTaken(kj::Maybe<InodeId> directory);  // those given until now, or TAKING_MAX has passed

 private:
  struct Given {
    InodeId directory;
    kj::TimePoint end = kj::origin<kj::TimePoint>();
    std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;
  };
  kj::Timer& timer;
  std::map<const void*, Given> listings;  // by open directory

  bool isOut(const Given& listing, kj::Maybe<InodeId> directory) const;
  static void tell(Given& listing);
};

}  // namespace cairn::fuse
