// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The client library on a fake cluster, for tests of what an application may rely on.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "client/remote_filesystem.h"
#include "test/client/fake_cluster.h"

namespace cairn::client {

constexpr uint64_t KIB = 1 << 10, MIB = 1 << 20;

struct RemoteFilesystemTest : testing::Test {
  ~RemoteFilesystemTest() noexcept override {}
  FakeCluster cluster;
  kj::Own<Filesystem> filesystem = cluster.mount();

  kj::Own<OpenFile> create(kj::StringPtr name = "a") { return cluster.create(*filesystem, name); }
  kj::Own<OpenFile> written(std::string text, kj::StringPtr name = "a") {
    // The replicas have it, and the metaserver knows.
    auto file = create(name);
    EXPECT_EQ(cluster.write(*file, 0, text), Status::OK);
    EXPECT_EQ(flush(*file), Status::OK);
    return file;
  }
  FakeFile::Chunk& raisedElsewhere(OpenFile& file) {
    // Another client's write had the version of its first chunk raised.
    auto& chunk = cluster.file(file.inode()).chunks.at(0);
    chunk.version += 1;
    for (auto server : chunk.replicas)
      cluster.stores.at(server).chunks.at(chunk.handle).version = chunk.version;
    return chunk;
  }
  Status flush(OpenFile& file) { return cluster.run(file.flush()); }
  Status sync(OpenFile& file) { return cluster.run(file.sync()); }
  std::string stored(OpenFile& file, uint32_t store, uint64_t index = 0) {
    return cluster.stored(store, file.inode(), index);
  }
  static std::string pattern(size_t size, char first = 'a') {
    std::string text(size, ' ');
    for (size_t i = 0; i < size; ++i) text[i] = char(first + i / 997 % 23);
    return text;
  }
};

}  // namespace cairn::client
