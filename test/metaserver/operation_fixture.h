// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A namespace behind its log, with one client, for tests of its operations.
#pragma once

#include <string.h>

#include <set>
#include <string>

#include "test/metaserver/metadata_world.h"

namespace cairn {

struct OperationTest : testing::Test {
  ~OperationTest() noexcept override {}
  OperationTest() {
    world.start();
    client = kj::heap<Client>(world);
    world.clock.advance(1 * kj::SECONDS);
  }

  MetadataWorld world;
  kj::Own<Client> client;

  Attributes stat(InodeId inode) { return world.read().inode(inode).value().attributes; }
  Status statusOf(InodeId inode) { return world.read().inode(inode).status(); }
  InodeId find(InodeId parent, kj::StringPtr name) {
    auto found = world.read().lookup(parent, name);
    return found.ok() ? found->inode : InodeId();
  }
  int64_t tick() {
    world.clock.advance(1 * kj::SECONDS);
    return world.clock.ns();
  }
  kj::String longName(size_t size) {
    auto name = kj::heapString(size);
    memset(name.begin(), 'n', size);
    return name;
  }
  std::string names(InodeId directory) {
    std::set<std::string> all;
    auto listing = world.read().list(directory, 0, 1000, ListingDetail::NAMES);
    for (auto& entry : listing->entries) all.insert(entry.name.cStr());
    std::string text;
    for (auto& name : all) text += (text.empty() ? "" : " ") + name;
    return text;
  }
};

}  // namespace cairn
