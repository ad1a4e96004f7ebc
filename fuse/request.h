// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// One request of the kernel, which gets exactly one reply.
// INVARIANT: a Request that dies unanswered answers EIO; one that was answered early (its caller was killed
// while waiting) swallows the later reply and says so, so that the handler takes back what it was about to
// hand out. Interrupts watches requests whose caller got a signal. A process in a FUSE call cannot die before
// its call is answered, so once the signal is fatal we answer EINTR; the operation goes on underneath.
#pragma once

#include <kj/async.h>
#include <kj/list.h>
#include <kj/timer.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <set>

#include "client/filesystem.h"
#include "env/log.h"
#include "fuse/libfuse.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

class Interrupts;

class Request {
 public:
  Request(fuse_req_t handle, Interrupts& interrupts);
  Request(Request&& other) noexcept;
  ~Request() noexcept(false);

  enum class Taken { NO, YES };
  // Each reply below is sent unless the request was answered early. NO: the kernel has not taken it, so what
  // it would have received (a lookup, an open file) is not counted there.

  Taken fail(int error);  // positive errno; 0: success without a value
  Taken status(Status status);
  Taken attributes(const struct stat& attributes, double timeout);
  Taken entry(const fuse_entry_param& entry);
  Taken opened(const fuse_file_info& file);
  Taken created(const fuse_entry_param& entry, const fuse_file_info& file);
  Taken written(size_t size);
  Taken bytes(kj::ArrayPtr<const kj::byte> bytes);
  Taken data(const ReadData& data);  // straight from the pieces, without a copy
  Taken link(kj::StringPtr target);
  Taken statistics(const struct statvfs& statistics);
  Taken xattrSize(size_t size);
  Taken position(FileOffset offset);
  Taken lock(const struct flock& lock);

  bool isAnswered() const;              // early: its caller was killed
  kj::Promise<void> whenInterrupted();  // its caller got a signal. Once

  Credentials caller() const;
  std::set<gid_t> groups() const;  // of the caller, its own and supplementary ones
  fuse_req_t raw() const;          // for the helpers of libfuse that want one; only while unanswered

  class Waiting;

 private:
  friend class Interrupts;
  template <typename Reply>
  Taken answer(Reply&& reply);
  kj::Own<Waiting> waiting;
};

class Callers {
  // What is known of the thread that waits for a request.
 public:
  virtual ~Callers() noexcept(false) = default;
  enum class Fate { LIVES, DIES };
  virtual Fate fateOf(pid_t thread) = 0;
};

kj::Own<Callers> procCallers();  // reads /proc/TID/status

class Interrupts final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr kj::Duration RECHECK = 50 * kj::MILLISECONDS;
  // A second, fatal signal to a caller that was interrupted before is not announced by the kernel: look
  // again.

  Interrupts(kj::Timer& timer, Callers& callers, env::Logger log);
  ~Interrupts() noexcept(false);

  uint64_t answeredEarly() const { return early; }

 private:
  friend class Request;
  friend class Request::Waiting;
  void add(Request::Waiting& waiting);
  void remove(Request::Waiting& waiting);
  Async<void> watch();
  void taskFailed(kj::Exception&& exception) override;

  struct List;
  kj::Timer& timer;
  Callers& callers;
  env::Logger log;
  kj::Own<List> list;
  uint64_t early = 0;
  enum class State { IDLE, WATCHING } state = State::IDLE;
  kj::TaskSet tasks;
};

}  // namespace cairn::fuse
