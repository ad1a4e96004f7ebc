// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Async<T>: what our coroutines return; a kj::Promise<T> under a name of its own. The same rules with every
// compiler and KJ: the body runs at once up to its first co_await; `co_await promise` takes the promise (also
// an lvalue) and yields its value or throws; destroying the promise is the only way to cancel, and destroys
// the locals in the usual order.
//
// Two things may be missing below us, and are made up for here:
// - KJ before 1.0 has no coroutines: it gets a frame of ours. KJ 1.x has its own.
// - GCC before 15 ends with an internal error (gimplify_var_or_parm_decl; GCC's PR 102051 is of this family,
//   Cap'n Proto's issue 1949 is it) on a coroutine whose return type has a destructor and in which any
//   destructor may throw, as nearly all of KJ's may: it keeps a flag for that, which the part that runs first
//   never declares. So there Async<T> is a class without a destructor, which holds the promise until somebody
//   takes it. That happens at once: it is awaited, or becomes a kj::Promise<T>, or one of the promise's
//   methods is called. -DCAIRN_ASYNC_HANDLE=1 has any compiler build it like that.
// HAZARD: such an Async<T> that nobody takes leaks its frame, where a promise would cancel it. So it is
// [[nodiscard]], is neither copied nor moved, and gives the promise away only as an rvalue. Do not name one:
// write `kj::Promise<T> promise = coroutine();`, not `auto`; a lambda for `then` returns a kj::Promise<T>.
//
// INVARIANT: a suspended frame is owned by exactly one promise node: itself, through the promise it returned.
// A coroutine must not destroy its own promise from its own body (KJ: "Promise callback destroyed itself").
#pragma once

#include <capnp/common.h>
#include <kj/async.h>

#include <concepts>
#include <coroutine>
#include <new>
#include <type_traits>

#ifndef CAIRN_ASYNC_HANDLE
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 15
#define CAIRN_ASYNC_HANDLE 1
#else
#define CAIRN_ASYNC_HANDLE 0
#endif
#endif

#if CAPNP_VERSION < 1000000 && !defined(KJ_HAS_COROUTINE)
#define CAIRN_KJ_HAS_COROUTINES 0
#else
#define CAIRN_KJ_HAS_COROUTINES 1
#endif

// ---------------------------------------------------------------------------
// What a coroutine returns

namespace cairn {

#if CAIRN_ASYNC_HANDLE

template <typename T>
class [[nodiscard]] [[gnu::warn_unused]] Async final {
 public:
  // From whatever makes a kj::Promise<T>: a plain function may return the same type as a coroutine.
  template <typename Result>
    requires std::convertible_to<Result, kj::Promise<T>>
  Async(Result&& result) {
    new (storage) kj::Promise<T>(kj::fwd<Result>(result));
  }
  Async(Async&&) = delete;

  operator kj::Promise<T>() && { return take(); }

  template <typename... Arguments>
  auto then(Arguments&&... arguments) && {
    return take().then(kj::fwd<Arguments>(arguments)...);
  }
  template <typename Handler>
  kj::Promise<T> catch_(Handler&& handler) && {
    return take().catch_(kj::fwd<Handler>(handler));
  }
  template <typename... Attachments>
  kj::Promise<T> attach(Attachments&&... attachments) && {
    return take().attach(kj::fwd<Attachments>(attachments)...);
  }
  template <typename Handler>
  kj::Promise<T> eagerlyEvaluate(Handler&& handler) && {
    return take().eagerlyEvaluate(kj::fwd<Handler>(handler));
  }
  kj::Promise<T> exclusiveJoin(kj::Promise<T>&& other) && { return take().exclusiveJoin(kj::mv(other)); }
  kj::Promise<void> ignoreResult() && { return take().ignoreResult(); }
  kj::ForkedPromise<T> fork() && { return take().fork(); }
  T wait(kj::WaitScope& scope) && { return take().wait(scope); }

 private:
  alignas(kj::Promise<T>) kj::byte storage[sizeof(kj::Promise<T>)];

  kj::Promise<T> take() {
    auto& held = *std::launder(reinterpret_cast<kj::Promise<T>*>(storage));
    kj::Promise<T> promise = kj::mv(held);
    kj::dtor(held);
    return promise;
  }
};
static_assert(std::is_trivially_destructible_v<Async<void>>);

#else

template <typename T>
using Async = kj::Promise<T>;

#endif

// For templates, which cannot deduce T through a conversion: takes an Async<T> or a kj::Promise<T>.
template <typename T>
kj::Promise<T> promiseOf(kj::Promise<T>&& promise) {
  return kj::mv(promise);
}
#if CAIRN_ASYNC_HANDLE
template <typename T>
kj::Promise<T> promiseOf(Async<T>&& promise) {
  return kj::mv(promise);
}
#endif

}  // namespace cairn

// ---------------------------------------------------------------------------
// The frame

#if CAIRN_ASYNC_HANDLE || !CAIRN_KJ_HAS_COROUTINES

namespace cairn::coroutine {

template <typename Self, typename T>
class Returning {
 public:
  void return_value(T value) { static_cast<Self*>(this)->fulfill(kj::mv(value)); }
};
template <typename Self>
class Returning<Self, void> {
 public:
  void return_void() { static_cast<Self*>(this)->fulfill({}); }
};

#if !CAIRN_KJ_HAS_COROUTINES

// An explicit instantiation may name private members: how the fast path below sees whether KJ 0.9 has armed
// an event, and where in the queue, without a copy of its headers.
template <typename Tag, typename Tag::Type member>
struct Access {
  friend constexpr typename Tag::Type memberOf(Tag) { return member; }
};
struct EventPrev {
  using Type = kj::_::Event** kj::_::Event::*;
  friend constexpr Type memberOf(EventPrev);
};
template struct Access<EventPrev, &kj::_::Event::prev>;

class FrameBase : public kj::_::PromiseNode, public kj::_::Event {
  // The part of a coroutine's frame that does not depend on its type: the event that resumes the frame and
  // the promise node its caller awaits. Both live in the frame: a coroutine costs one allocation.
 public:
  FrameBase() = default;
  KJ_DISALLOW_COPY(FrameBase);
  ~FrameBase() noexcept(false) {
    if (disposal != nullptr) disposal->promiseDestroyed = true;
  }

  std::suspend_never initial_suspend() const noexcept { return {}; }
  std::suspend_always final_suspend() noexcept {
    // The locals are gone, the frame stays until its promise goes. While that goes nobody waits any more.
    if (disposal == nullptr) onReadyEvent.arm();
    return {};
  }

  // PromiseNode: what the holder of the returned promise uses
  void onReady(Event* event) noexcept override { onReadyEvent.init(event); }
  void tracePromise(kj::_::TraceBuilder& builder, bool stopAtNextEvent) override {
    if (stopAtNextEvent) return;
    if (awaited != nullptr) awaited->tracePromise(builder, false);
    builder.add(resumeAddress());
  }

  // Event: what the awaited promise uses
  void traceEvent(kj::_::TraceBuilder& builder) override {
    if (awaited != nullptr) awaited->tracePromise(builder, true);
    builder.add(resumeAddress());
    onReadyEvent.traceEvent(builder);
  }

  bool suspendFor(kj::Own<kj::_::PromiseNode>& node) {
    // Called at a co_await. False: the node is ready and nothing else is due before us, so go on at once.
    // Not while the coroutine still runs on its caller's stack: callers rely on running first.
    node->setSelfPointer(&node);
    node->onReady(this);
    if (queueFront != nullptr && this->*memberOf(EventPrev()) == queueFront) {
      disarm();
      return false;
    }
    awaited = node.get();
    return true;
  }

 protected:
  struct Disposal {
    bool promiseDestroyed = false;
    kj::Maybe<kj::Exception> exception;
  };

  static kj::Exception currentException() {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([]() { throw; })) return kj::mv(*exception);
    KJ_UNREACHABLE;
  }

  void destroyFrame(std::coroutine_handle<> handle) {
    // Clang hands an exception out of the destructor of a local to unhandled_exception() and then leaves the
    // frame half destroyed; a second destroy() finishes. The exception is passed on when that is allowed.
    Disposal results;
    disposal = &results;
    kj::UnwindDetector unwind;
    disarm();
    do handle.destroy();
    while (!results.promiseDestroyed);
    KJ_IF_MAYBE (exception, results.exception) {
      if (!unwind.isUnwinding()) kj::throwRecoverableException(kj::mv(*exception));
    }
  }

  kj::Maybe<kj::Own<Event>> resume(std::coroutine_handle<> handle) {
    if (queueFront == nullptr) {
      // At the start of a turn the depth-first place is the front of the queue: learn where that is.
      armDepthFirst();
      queueFront = this->*memberOf(EventPrev());
      disarm();
    }
    awaited = nullptr;
    handle.resume();
    return nullptr;
  }

  virtual void* resumeAddress() = 0;

  OnReadyEvent onReadyEvent;
  Disposal* disposal = nullptr;

 private:
  kj::_::PromiseNode* awaited = nullptr;  // for traces; owned by the awaiter in the frame
  Event** queueFront = nullptr;           // of the loop; unknown until the first resume
};

template <typename T>
class Awaiter {
 public:
  explicit Awaiter(kj::Promise<T>&& promise) : node(kj::_::PromiseNode::from(kj::mv(promise))) {}
  Awaiter(Awaiter&&) = default;
  ~Awaiter() noexcept(false) {
    unwind.catchExceptionsIfUnwinding([this]() { node = nullptr; });
  }

  bool await_ready() const { return false; }
  template <typename Frame>
  bool await_suspend(std::coroutine_handle<Frame> handle) {
    return handle.promise().suspendFor(node);
  }
  T await_resume() {
    // The node goes before the value is used: what it was waiting for may hold a lock or a buffer.
    kj::_::ExceptionOr<kj::_::FixVoid<T>> result;
    node->get(result);
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([this]() { node = nullptr; })) {
      result.addException(kj::mv(*exception));
    }
    KJ_IF_MAYBE (exception, result.exception) kj::throwFatalException(kj::mv(*exception));
    return kj::_::convertToReturn(kj::mv(result));
  }

 private:
  kj::UnwindDetector unwind;
  kj::Own<kj::_::PromiseNode> node;
};

template <typename T>
class FrameDisposer final : public kj::Disposer {
 public:
  void disposeImpl(void* frame) const override;
  static const FrameDisposer INSTANCE;
};
template <typename T>
const FrameDisposer<T> FrameDisposer<T>::INSTANCE{};

template <typename T>
class Frame final : public FrameBase, public Returning<Frame<T>, T> {
  // The promise_type of a coroutine that returns Async<T>.
  using Handle = std::coroutine_handle<Frame>;

 public:
  Async<T> get_return_object() {
    return kj::_::PromiseNode::to<kj::Promise<T>>(
        kj::Own<kj::_::PromiseNode>(this, FrameDisposer<T>::INSTANCE));
  }

  void unhandled_exception() {
    auto exception = currentException();
    if (disposal == nullptr) {
      result.addException(kj::mv(exception));
    } else if (disposal->exception == nullptr) {
      disposal->exception = kj::mv(exception);
    }
  }

  void fulfill(kj::_::FixVoid<T>&& value) { result.value = kj::mv(value); }

  template <typename U>
  Awaiter<U> await_transform(kj::Promise<U>& promise) {
    return Awaiter<U>(kj::mv(promise));
  }
  template <typename U>
  Awaiter<U> await_transform(kj::Promise<U>&& promise) {
    return Awaiter<U>(kj::mv(promise));
  }
#if CAIRN_ASYNC_HANDLE
  template <typename U>
  Awaiter<U> await_transform(Async<U>&& promise) {
    return Awaiter<U>(kj::mv(promise));
  }
#endif

  void get(kj::_::ExceptionOrValue& output) noexcept override {
    output.as<kj::_::FixVoid<T>>() = kj::mv(result);
  }

 private:
  friend class FrameDisposer<T>;

  kj::_::ExceptionOr<kj::_::FixVoid<T>> result;

  kj::Maybe<kj::Own<Event>> fire() override { return resume(Handle::from_promise(*this)); }
  void* resumeAddress() override { return *static_cast<void**>(Handle::from_promise(*this).address()); }
};

template <typename T>
void FrameDisposer<T>::disposeImpl(void* pointer) const {
  auto& frame = *static_cast<Frame<T>*>(pointer);
  frame.destroyFrame(std::coroutine_handle<Frame<T>>::from_promise(frame));
}

#else

template <typename T>
class Frame final : public kj::_::CoroutineBase, public Returning<Frame<T>, T> {
  // As above, on what KJ has: there, only the outermost class names the type that a coroutine returns.
  using Handle = std::coroutine_handle<Frame>;

  template <typename U>
  class Awaiter : public kj::_::CoroutineBase::AwaiterBase {
   public:
    explicit Awaiter(kj::Promise<U>&& promise) : AwaiterBase(kj::_::PromiseNode::from(kj::mv(promise))) {}
    bool await_suspend(Handle handle) { return this->awaitSuspendImpl(handle.promise()); }
    KJ_NOINLINE U await_resume() {  // not inline: for traces, its return address is where the coroutine waits
      kj::_::ExceptionOr<kj::_::FixVoid<U>> result;
      this->getImpl(result, __builtin_return_address(0));
      return kj::_::convertToReturn(kj::mv(result));
    }
  };

 public:
  Frame() : CoroutineBase(Handle::from_promise(*this), result, {}) {}

  Async<T> get_return_object() { return kj::_::PromiseNode::to<kj::Promise<T>>(kj::_::OwnPromiseNode(this)); }

  void fulfill(kj::_::FixVoid<T>&& value) {
    result.value = kj::mv(value);
    if (isWaiting()) scheduleResumption();
  }

  template <typename U>
  Awaiter<U> await_transform(kj::Promise<U>& promise) {
    return Awaiter<U>(kj::mv(promise));
  }
  template <typename U>
  Awaiter<U> await_transform(kj::Promise<U>&& promise) {
    return Awaiter<U>(kj::mv(promise));
  }
  template <typename U>
  Awaiter<U> await_transform(Async<U>&& promise) {
    return Awaiter<U>(kj::mv(promise));
  }

 private:
  kj::_::ExceptionOr<kj::_::FixVoid<T>> result;

  void get(kj::_::ExceptionOrValue& output) noexcept override {
    output.as<kj::_::FixVoid<T>>() = kj::mv(result);
  }
};

#endif

}  // namespace cairn::coroutine

template <typename T, typename... Arguments>
struct std::coroutine_traits<cairn::Async<T>, Arguments...> {
  using promise_type = cairn::coroutine::Frame<T>;
};

#endif
