// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See safe_mode.h.
#include "metaserver/safe_mode.h"

#include <algorithm>

namespace cairn {

SafeMode::Change SafeMode::update(uint32_t known, uint32_t reported, kj::TimePoint now) {
  if (!active) return Change::NONE;
  auto waited = now - started;
  uint32_t enough = known;
  bool impatient = waitFor == WaitFor::ENOUGH;
  if (impatient && waited >= SAFE_MODE_PATIENCE) enough = std::min(known, std::max(minimum, known / 2 + 1));
  if (impatient && waited >= SAFE_MODE_PATIENCE_MAX) enough = std::min(known, minimum);

  if (reported >= enough) {
    active = false;
    left = known == 0 ? kj::str("the cluster has no stores yet")
                      : kj::str(reported, " of ", known, " known stores have reported");
    text = kj::String();
    return Change::LEFT;
  }
  text = kj::str(
      reported, " of ", known, " known stores have reported their chunks since the start ",
      waited / kj::SECONDS, " s ago; waiting for ", enough,
      impatient
          ? ""
          : ": it was restored from a backup. One that is gone for good: cairn drain STORE --remove --force");
  return Change::NONE;
}

}  // namespace cairn
