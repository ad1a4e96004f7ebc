// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A directory of very many entries is listed in memory that does not depend on how many there are. A million
// takes a while in a debug build: CAIRN_TEST_ENTRIES=1000000; by default there are a hundred thousand.
#include <malloc.h>

#include <cstdlib>

#include "test/metaserver/metadata_world.h"

namespace cairn {
namespace {

size_t memoryInUse() {
  auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(BigDirectory, IsListedInPagesOfTheSameSizeWhateverIsInIt) {
  auto wanted = getenv("CAIRN_TEST_ENTRIES");
  uint64_t count = wanted != nullptr ? strtoull(wanted, nullptr, 10) : 100'000;
  auto env = std::unique_ptr<rocksdb::Env>(rocksdb::NewMemEnv(rocksdb::Env::Default()));
  auto names =
      Namespace::open({.path = "/names", .env = env.get(), .cacheBytes = 8 << 20, .memtableBytes = 4 << 20});
  uint64_t index = 0, sequence = 0;
  auto apply = [&](LoggedOperation& operation) {
    operation.body().setIndex(++index);
    operation.body().setTime(1);
    auto outcome = names->apply(operation.body().asReader());
    KJ_ASSERT(outcome.ok(), outcome.status);
    return outcome.number;
  };
  {
    LoggedOperation found;
    auto request = found.body().initFound();
    request.setClusterHigh(1);
    request.setReplicas(3);
    apply(found);
  }
  LoggedOperation open;
  open.body().initOpenSession().setName("a client");
  auto session = apply(open);
  for (uint64_t i = 0; i < count; ++i) {
    LoggedOperation operation;
    operation.body().setSession(session);
    auto change = operation.body().initChange();
    change.setSequence(++sequence);
    change.setAnswered(sequence - 1);
    auto create = change.initCreate();
    create.setParent(ROOT_INODE.value());
    create.setName(kj::str("entry-", i));
    create.setMode(0644);
    apply(operation);
    if (i % 1000 == 0) names->commit();
  }
  names->commit();
  names->flush();

  auto list = [&](ListingDetail detail) {
    uint64_t seen = 0, cookie = 0;
    size_t most = 0;
    auto before = memoryInUse();
    for (auto end = ListingEnd::NO; end == ListingEnd::NO;) {
      auto page = names->read().list(ROOT_INODE, cookie, LISTING_LIMIT_MAX, detail);
      KJ_ASSERT(page->entries.size() <= LISTING_LIMIT_MAX);
      auto now = memoryInUse();
      most = kj::max(most, now - kj::min(now, before));
      seen += page->entries.size();
      if (page->entries.size() > 0) cookie = page->entries.back().cookie;
      end = page->end;
    }
    EXPECT_EQ(seen, count);
    return most;
  };
  constexpr size_t CACHE = 8 << 20, PAGES = 4 << 20;  // what RocksDB may keep, and a page with its entries
  for (auto detail : {ListingDetail::NAMES, ListingDetail::ATTRIBUTES}) {
    auto most = list(detail);
    EXPECT_LT(most, CACHE + PAGES);
  }
}

}  // namespace
}  // namespace cairn
