// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A chunk store whose disk and whose index may fail when a test says so.
#pragma once

#include <rocksdb/env.h>

#include <memory>

#include "test/chunkd/store_house.h"
#include "test/support/failing_disk.h"
#include "test/support/failing_rocks.h"

namespace cairn {

struct FailingHouse {
  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};
  env::MemoryDisk memory;
  FailingDisk disk{memory};
  std::unique_ptr<rocksdb::Env> rocksdbEnv{rocksdb::NewMemEnv(rocksdb::Env::Default())};
  FailingRocks rocks{*rocksdbEnv};
  StoreHouse house{disk, "/store", rocks, waitScope};
};

}  // namespace cairn
