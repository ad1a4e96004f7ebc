// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A real mount of a MemoryFilesystem: the session loop runs in a thread of its own, the test makes system
// calls. At the end the file system must be whole and the kernel must have given back all it held.
#pragma once

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/mutex.h>
#include <kj/thread.h>

#include <functional>
#include <string>

#include "fuse/session_loop.h"
#include "test/fuse/memory_filesystem.h"

namespace cairn::fuse {

class Mounted : public testing::Test {
 public:
  Mounted();
  ~Mounted() noexcept override;

 protected:
  void SetUp() override;
  void TearDown() override;
  virtual HandlerOptions handlerOptions() { return {}; }

  std::string path(const std::string& name = "") const {
    return name.empty() ? mountPoint : mountPoint + "/" + name;
  }
  void unmount();  // and wait until the loop has ended
  void abandon();  // detaches it, and lets go of the kernel

  template <typename Func>
  auto onLoop(Func func) {
    // Runs func(filesystem, session) in the thread of the loop.
    return executor->executeSync([&]() { return func(*filesystem, *session); });
  }

  // The operation on any inode waits until release() from now on; held() returns once one does.
  void hold(const std::string& operation);
  void held(unsigned count = 1);
  void release();

  std::string logged();  // warnings and errors of the loop so far

  // Small words for system calls; -1 and errno as they do.
  std::string readAll(const std::string& name);
  void writeAll(const std::string& name, const std::string& content);
  int inChild(std::function<int()> body);  // fork; the exit status, or 128 + signal

  std::string mountPoint;

 private:
  void serve();
  void stop();

  kj::MutexGuarded<bool> ready{false};
  kj::MutexGuarded<unsigned> heldCount{0};
  kj::MutexGuarded<std::string> lines;
  std::string heldOperation;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> releaseFulfiller;
  kj::Maybe<kj::ForkedPromise<void>> released;

  MemoryFilesystem* filesystem = nullptr;
  SessionLoop* session = nullptr;
  kj::Own<const kj::Executor> executor;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> endFulfiller;
  kj::Promise<void> serving = nullptr;
  bool isAbandoned = false;
  kj::Own<kj::Thread> thread;
};

bool mountingWorks();                                 // /dev/fuse is there and we may mount
void abortConnection(const std::string& mountPoint);  // as root does to one that hangs; fusectl

}  // namespace cairn::fuse
