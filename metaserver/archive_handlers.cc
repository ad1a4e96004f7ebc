// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of Administration that is about the metaserver's own storage: checkpoint, images for backups, and
// what a restored namespace keeps.
#include <kj/debug.h>

#include "env/checksum.h"
#include "metaserver/administration_handlers.h"
#include "metaserver/archive.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

class ImageHandlers final : public rpc::Image::Server {
 public:
  ImageHandlers(MetaService& service, kj::Own<NamespaceImage> image)
      : service(service), image(kj::mv(image)) {}

  kj::Promise<void> describe(DescribeContext context) override {
    auto results = context.getResults();
    auto& state = image->state();
    results.setCluster(kj::str(state.cluster));
    results.setOperation(state.applied.value());
    results.setEpoch(state.epoch.value());
    results.setInodes(state.inodes);
    results.setChunks(state.chunks);
    results.setTaken(service.operations.now());
    auto files = results.initFiles(image->files().size());
    for (size_t i = 0; i < image->files().size(); ++i) {
      files[i].setName(image->files()[i].name.c_str());
      files[i].setSize(image->files()[i].size);
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> read(ReadContext context) override { return service.guard(reading(context)); }

 private:
  MetaService& service;
  kj::Own<NamespaceImage> image;

  Async<void> reading(ReadContext context) {
    auto self = thisCap();  // the image stays as long as it is read
    auto params = context.getParams();
    auto results = context.getResults();
    if (params.getFile() >= image->files().size() || params.getSize() > TRANSFER_SIZE_MAX) {
      results.setStatus(Status::INVALID);
      co_return;
    }
    auto bytes = co_await image->read(params.getFile(), params.getOffset(), params.getSize());
    results.setChecksum(env::crc32c(bytes));
    results.setData(bytes);
  }
};

}  // namespace

Async<void> AdministrationHandlers::takingImage(ImageContext context) {
  auto results = context.getResults();
  results.setStatus(Status::NOT_SUPPORTED);
  KJ_IF_MAYBE (archive, service.archive) {
    auto taken = co_await archive->image();
    results.setStatus(taken.status());
    if (taken.ok()) results.setImage(kj::heap<ImageHandlers>(service, kj::mv(*taken)));
  }
}

Async<void> AdministrationHandlers::checkpointing(CheckpointContext context) {
  auto results = context.getResults();
  results.setStatus(Status::NOT_SUPPORTED);
  KJ_IF_MAYBE (archive, service.archive) {
    auto done = co_await archive->checkpoint();
    results.setStatus(done.status);
    results.setOperation(done.operation.value());
    results.setSegments(done.segments);
  }
}

Async<void> AdministrationHandlers::releasingKept(ReleaseKeptContext context) {
  auto results = context.getResults();
  auto kept = service.view.garbage.kept();
  auto operation = kj::heap<LoggedOperation>();
  operation->body().setReleaseKept();
  auto outcome = co_await service.operations.propose(kj::mv(operation));
  if (outcome.ok()) outcome.status = co_await service.operations.durable(outcome.index);
  results.setStatus(outcome.status);
  if (!outcome.ok()) co_return;
  results.setKept(kept);
  service.survey.startAnew();
  if (kept > 0) {
    service.log.warning("an operator says that chunks of no file from before the restore may go -> ", kept,
                        " replicas are garbage now");
  }
}

}  // namespace cairn
