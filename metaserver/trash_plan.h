// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// When the trash has to give space back before its time, and how much. It is counted as used until then: what
// is in it was worth keeping, but not worth refusing a write. So it is given back before anybody is refused:
// while fewer stores than a new chunk wants have more than TRASH_RESERVE free, which is above the reserve
// with which placement.h refuses a store. What has been purged takes some seconds to become free space
// (garbage is collected, stores delete, heartbeats tell), so after each step the effect is waited for. Pure:
// the caller passes `now`. Called by trash_keeper.cc.
#pragma once

#include <kj/common.h>
#include <kj/time.h>

#include <cstdint>

namespace cairn {

struct TrashStore {
  uint64_t bytesTotal = 0, bytesFree = 0;
};

uint64_t trashReserve(uint64_t bytesTotal);  // min(10 %, 10 GiB): twice what placement leaves, and more

constexpr kj::Duration TRASH_TOLD = 2 * kj::SECONDS;  // from when all is deleted to a heartbeat that says so
constexpr kj::Duration TRASH_EFFECT = 5 * kj::SECONDS;   // how long deleting is waited for
constexpr kj::Duration TRASH_WANTED = 30 * kj::SECONDS;  // how long somebody's being refused counts
constexpr uint64_t TRASH_STEP = 256ull << 20;            // at the least, when somebody was refused

class TrashPlan {
 public:
  void refused(kj::TimePoint now) { wantedUntil = now + TRASH_WANTED; }
  // Somebody was refused space, whatever the stores say.

  uint64_t due(kj::ArrayPtr<const TrashStore> stores, uint32_t copies, uint64_t garbage, kj::TimePoint now);
  // How many bytes (of one copy) the trash is to give back now; 0: none. `stores`: those that take chunks;
  // `garbage`: chunks that are waiting to be deleted.

  void purged(kj::TimePoint now) { last = now; }

  bool spaceMayCome(uint64_t trash, uint64_t garbage, kj::TimePoint now) const;
  // It is worth waiting: the trash has something left, or what it gave is on its way.

 private:
  kj::TimePoint wantedUntil = kj::origin<kj::TimePoint>();
  kj::Maybe<kj::TimePoint> last;  // when it last gave something
};

}  // namespace cairn
