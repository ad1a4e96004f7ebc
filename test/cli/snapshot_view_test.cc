// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/snapshot_view.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace cairn::cli {
namespace {

using Phase = rpc::SnapshotStatus::Phase;

struct View {
  std::string text, json;
};

View viewOf(Phase phase) {
  capnp::MallocMessageBuilder message;
  auto status = message.initRoot<rpc::SnapshotStatus>();
  status.setPhase(phase);
  status.setInodes(12000);
  status.setHeldMs(3250);
  status.setHeld(14);
  JsonWriter json;
  json.beginObject();
  writeSnapshot(json, status.asReader());
  return {snapshotText(status.asReader()), json.endObject().text()};
}

std::string withoutSpace(std::string text) {
  text.erase(std::remove_if(text.begin(), text.end(), [](char c) { return c == ' ' || c == '\n'; }),
             text.end());
  return text;
}

TEST(SnapshotView, TellsWhatWaitsForWhat) {
  EXPECT_EQ(viewOf(Phase::NONE).text, "");
  EXPECT_EQ(viewOf(Phase::WRITERS).text,
            "a snapshot of a large tree waits for mounts to send what they have written\n");
  EXPECT_EQ(
      viewOf(Phase::COPYING).text,
      "SNAPSHOT of a large tree: 12000 inodes copied; changes have been waiting for 3.2 s, 14 wait now\n");
  EXPECT_EQ(
      viewOf(Phase::STORES).text,
      "SNAPSHOT of a large tree: 12000 inodes copied, waits for stores to settle chunks; changes have been "
      "waiting for 3.2 s, 14 wait now\n");
}

TEST(SnapshotView, IsOneMemberOfTheJson) {
  for (auto [phase, name] : {std::pair(Phase::NONE, "none"), std::pair(Phase::WRITERS, "writers"),
                             std::pair(Phase::COPYING, "copying"), std::pair(Phase::STORES, "stores"),
                             std::pair(static_cast<Phase>(9), "unknown")}) {
    auto json = std::string("{\"snapshot\":{\"phase\":\"") + name +
                "\",\"inodes\":12000,\"held_ms\":3250,\"held\":14}}";
    EXPECT_EQ(withoutSpace(viewOf(phase).json), json);
  }
}

}  // namespace
}  // namespace cairn::cli
