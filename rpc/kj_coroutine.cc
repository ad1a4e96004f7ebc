// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of KJ 1.x's coroutines that lives in libkj-async, for a libkj-async that was built as C++17 and so
// lacks it, as Debian 13's: the headers then promise to every C++20 program what nobody defines. Written
// against <kj/async-inl.h>, with the rules of rpc/coroutine.h. Built only where meson finds the library
// without. INVARIANT: a suspended frame is owned by exactly one promise node: itself, through the promise it
// returned.
#include <kj/async.h>
#include <kj/debug.h>

namespace kj::_ {

// ---------------------------------------------------------------------------
// The frame

CoroutineBase::CoroutineBase(stdcoro::coroutine_handle<> coroutine, ExceptionOrValue& resultRef,
                             SourceLocation location)
    : Event(location), coroutine(coroutine), resultRef(resultRef) {}

CoroutineBase::~CoroutineBase() noexcept(false) {
  KJ_IF_MAYBE (results, maybeDisposalResults) results->destructorRan = true;
}

void CoroutineBase::destroy() {
  // Clang hands an exception out of the destructor of a local to unhandled_exception() and then leaves the
  // frame half destroyed; a second destroy() finishes. The exception is passed on when that is allowed.
  DisposalResults results;
  maybeDisposalResults = results;
  UnwindDetector unwind = unwindDetector;  // ours goes with the frame
  disarm();
  auto frame = coroutine;
  do frame.destroy();
  while (!results.destructorRan);
  KJ_IF_MAYBE (exception, results.exception) {
    if (!unwind.isUnwinding()) throwFatalException(kj::mv(*exception));
  }
}

void CoroutineBase::unhandled_exception() {
  auto exception = getCaughtExceptionAsKj();
  KJ_IF_MAYBE (results, maybeDisposalResults) {
    if (results->exception == nullptr) results->exception = kj::mv(exception);
    return;
  }
  // After co_return, this comes from the destructor of a local: the waiter is due, but has not read the
  // result.
  resultRef.addException(kj::mv(exception));
  if (isWaiting()) scheduleResumption();
}

void CoroutineBase::onReady(Event* event) noexcept {
  onReadyEvent.init(event);
}

void CoroutineBase::tracePromise(TraceBuilder& builder, bool stopAtNextEvent) {
  if (stopAtNextEvent) return;
  KJ_IF_MAYBE (awaited, promiseNodeForTrace) awaited->tracePromise(builder, false);
  builder.add(*static_cast<void**>(coroutine.address()));  // where the frame resumes
}

Maybe<Own<Event>> CoroutineBase::fire() {
  promiseNodeForTrace = nullptr;
  coroutine.resume();
  return nullptr;
}

void CoroutineBase::traceEvent(TraceBuilder& builder) {
  KJ_IF_MAYBE (awaited, promiseNodeForTrace) awaited->tracePromise(builder, true);
  builder.add(*static_cast<void**>(coroutine.address()));
  onReadyEvent.traceEvent(builder);
}

// ---------------------------------------------------------------------------
// A co_await

CoroutineBase::AwaiterBase::AwaiterBase(OwnPromiseNode node) : node(kj::mv(node)) {}
CoroutineBase::AwaiterBase::AwaiterBase(AwaiterBase&&) = default;

CoroutineBase::AwaiterBase::~AwaiterBase() noexcept(false) {
  KJ_IF_MAYBE (event, maybeCoroutineEvent) event->promiseNodeForTrace = nullptr;
  unwindDetector.catchExceptionsIfUnwinding([this]() { node = nullptr; });
}

bool CoroutineBase::AwaiterBase::awaitSuspendImpl(CoroutineBase& event) {
  // False: the node is ready and nothing else is due before us, so go on at once. Not while the coroutine
  // still runs on its caller's stack: callers rely on running first.
  node->setSelfPointer(&node);
  node->onReady(&event);
  if (event.hasSuspendedAtLeastOnce && event.isNext()) {
    event.disarm();
    return false;
  }
  event.hasSuspendedAtLeastOnce = true;
  event.promiseNodeForTrace = *node;
  maybeCoroutineEvent = event;
  return true;
}

void CoroutineBase::AwaiterBase::getImpl(ExceptionOrValue& result, void* awaitedAt) {
  // The node goes before the value is used: what it was waiting for may hold a lock or a buffer.
  node->get(result);
  KJ_IF_MAYBE (exception, runCatchingExceptions([this]() { node = nullptr; })) {
    result.addException(kj::mv(*exception));
  }
  KJ_IF_MAYBE (exception, result.exception) {
    exception->addTrace(awaitedAt);
    throwFatalException(kj::mv(*exception));
  }
}

}  // namespace kj::_
