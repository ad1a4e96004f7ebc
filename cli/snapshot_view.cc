// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/snapshot_view.h"

namespace cairn::cli {

using Phase = rpc::SnapshotStatus::Phase;

void writeSnapshot(JsonWriter& json, rpc::SnapshotStatus::Reader snapshot) {
  auto phase = [&]() {
    switch (snapshot.getPhase()) {
      case Phase::NONE:
        return "none";
      case Phase::WRITERS:
        return "writers";
      case Phase::COPYING:
        return "copying";
      case Phase::STORES:
        return "stores";
    }
    return "unknown";  // of a newer metaserver
  }();
  json.key("snapshot").beginObject().field("phase", std::string(phase));
  json.field("inodes", snapshot.getInodes()).field("held_ms", snapshot.getHeldMs());
  json.field("held", snapshot.getHeld()).endObject();
}

std::string snapshotText(rpc::SnapshotStatus::Reader snapshot) {
  if (snapshot.getPhase() == Phase::NONE) return "";
  if (snapshot.getPhase() == Phase::WRITERS) {
    return "a snapshot of a large tree waits for mounts to send what they have written\n";
  }
  std::string text = "SNAPSHOT of a large tree: " + plural(snapshot.getInodes(), "inode") + " copied";
  if (snapshot.getPhase() == Phase::STORES) text += ", waits for stores to settle chunks";
  auto held = snapshot.getHeldMs();
  return text + "; changes have been waiting for " + std::to_string(held / 1000) + "." +
         std::to_string(held % 1000 / 100) + " s, " + std::to_string(snapshot.getHeld()) + " wait now\n";
}

}  // namespace cairn::cli
