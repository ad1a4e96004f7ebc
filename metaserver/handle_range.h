// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Chunk handles for new chunks, from ranges that the namespace has reserved: the log has the high-water mark
// on stable storage before any handle of a range is used, so that a handle is never given out twice. What a
// restart leaves unused is lost. Called by chunk_grants.cc.
#pragma once

#include <kj/async.h>

#include "metaserver/operation_log.h"
#include "rpc/coroutine.h"
#include "rpc/result.h"
#include "rpc/units.h"

namespace cairn {

class HandleRange {
 public:
  explicit HandleRange(OperationLog& log) : log(log) {}
  Async<Result<ChunkHandle>> take();

 private:
  static constexpr uint32_t RESERVATION = 1000;
  Async<Status> reserve();

  OperationLog& log;
  ChunkHandle next, end;
  enum class State { IDLE, RESERVING } state = State::IDLE;
  kj::Maybe<kj::ForkedPromise<Status>> reserving;  // the latest reservation, under way or done
};

}  // namespace cairn
