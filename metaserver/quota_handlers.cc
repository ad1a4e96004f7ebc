// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of the Administration interface that is about quotas.
#include "metaserver/administration_handlers.h"
#include "metaserver/path_finder.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {
constexpr uint32_t QUOTAS_LIMIT_MAX = 1000;
}

Async<void> AdministrationHandlers::settingQuota(SetQuotaContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto operation = kj::heap<LoggedOperation>();
  auto set = operation->body().initSetQuota();
  set.setQuotaOf(params.getDirectory());
  set.setBytesMax(params.getBytes());
  set.setInodesMax(params.getInodes());
  auto outcome = co_await service.operations.propose(kj::mv(operation));
  if (outcome.ok()) outcome.status = co_await service.operations.durable(outcome.index);
  results.setStatus(outcome.status);
  results.setCounting(service.names.state().counting == Counting::RUNNING);
  if (!outcome.ok()) co_return;
  service.log.info("an operator wants directory ", params.getDirectory(), " to hold at most ",
                   params.getBytes(), " bytes and ", params.getInodes(), " inodes (0: any) -> from now on");
}

Async<void> AdministrationHandlers::listingQuotas(QuotasContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto& state = service.names.state();
  results.setCounting(state.counting == Counting::RUNNING);
  results.setCounted(state.counted);
  auto limit = kj::min(kj::max(params.getLimit(), 1u), QUOTAS_LIMIT_MAX);
  kj::Array<NamespaceReader::DirectoryQuota> page;
  if (params.getDirectory() != 0) {
    auto found = service.names.quota(InodeId(params.getDirectory()));
    if (found == nullptr) {
      results.setStatus(Status::NO_DATA);
      co_return;
    }
    page = kj::heapArray<NamespaceReader::DirectoryQuota>(1);
    page[0] = {InodeId(params.getDirectory()), KJ_ASSERT_NONNULL(found)};
  } else {
    page = service.names.quotas(InodeId(params.getAfter()), limit + 1);
  }
  auto count = kj::min(page.size(), size_t(limit));
  results.setMore(page.size() > count);
  auto list = results.initQuotas(uint32_t(count));
  PathFinder paths(service.names);
  for (uint32_t i = 0; i < count; ++i) {
    auto path = co_await paths.pathOf(page[i].directory);
    auto used = service.names.usage(page[i].directory);
    list[i].setDirectory(page[i].directory.value());
    list[i].setPath(path.empty() ? "/" : path.c_str());
    list[i].setBytesLimit(page[i].limits.bytes);
    list[i].setInodesLimit(page[i].limits.inodes);
    list[i].setBytes(used.bytes);
    list[i].setInodes(used.inodes);
    list[i].setTrashBytes(used.trashBytes);
    list[i].setTrashInodes(used.trashInodes);
  }
}

}  // namespace cairn
