// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Only in builds with -Db_sanitize=thread: tells the sanitizer what KJ's mutex orders. The libkj of a
// distribution is not instrumented and locks with futexes, so without this all that kj::MutexGuarded,
// kj::Executor and the cross-thread fulfillers guard would be reported as a race, and a suppression wide
// enough to hide that would hide ours too. These functions take the place of libkj's, for its own calls as
// well, and call them. INVARIANT: release before the real unlock, acquire after the real lock: never more
// order than the lock gives, but that readers are also ordered among each other.
#include <dlfcn.h>
#include <kj/mutex.h>
#include <sanitizer/tsan_interface.h>
#include <stdlib.h>

#define CAIRN_KJ_MUTEX "_ZN2kj1_5Mutex"
#define CAIRN_KJ_TIMEOUT "NS_5MaybeINS_8QuantityIlNS0_15NanosecondLabelEEEEENS_18NoopSourceLocationE"

namespace kj {
namespace _ {

namespace {

template <typename Function>
Function* libkj(const char* symbol) {
  auto found = dlsym(RTLD_NEXT, symbol);
  if (found == nullptr) abort();  // another KJ, with other names: write them above
  return reinterpret_cast<Function*>(found);
}

}  // namespace

bool Mutex::lock(Exclusivity exclusivity, Maybe<Duration> timeout, LockSourceLocationArg location) {
  static auto real = libkj<bool(Mutex*, Exclusivity, Maybe<Duration>, LockSourceLocationArg)>(
      CAIRN_KJ_MUTEX "4lockENS1_11ExclusivityE" CAIRN_KJ_TIMEOUT);
  auto locked = real(this, exclusivity, kj::mv(timeout), location);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::unlock(Exclusivity exclusivity, Waiter* waiterToSkip) {
  static auto real =
      libkj<void(Mutex*, Exclusivity, Waiter*)>(CAIRN_KJ_MUTEX "6unlockENS1_11ExclusivityEPNS1_6WaiterE");
  __tsan_release(this);
  real(this, exclusivity, waiterToSkip);
}

void Mutex::wait(Predicate& predicate, Maybe<Duration> timeout, LockSourceLocationArg location) {
  // Whoever unlocks checks the predicates of those that wait, in its own thread and with the lock still held,
  // and hands the lock over without a call of lock().
  static auto real = libkj<void(Mutex*, Predicate&, Maybe<Duration>, LockSourceLocationArg)>(
      CAIRN_KJ_MUTEX "4waitERNS1_9PredicateE" CAIRN_KJ_TIMEOUT);
  struct Ordered final : public Predicate {
    Ordered(Mutex* mutex, Predicate& inner) : mutex(mutex), inner(inner) {}
    bool check() override {
      __tsan_acquire(mutex);
      KJ_DEFER(__tsan_release(mutex));
      return inner.check();
    }
    Mutex* mutex;
    Predicate& inner;
  } ordered(this, predicate);
  __tsan_release(this);
  KJ_DEFER(__tsan_acquire(this));
  real(this, ordered, kj::mv(timeout), location);
}

}  // namespace _
}  // namespace kj
