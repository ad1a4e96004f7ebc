// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "test/fuse/mounted.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rpc/coroutine.h"

namespace cairn::fuse {

bool mountingWorks() {
  return access("/dev/fuse", R_OK | W_OK) == 0 && geteuid() == 0;
}

Mounted::Mounted() {
  char name[] = "/tmp/cairn-fuse-test-XXXXXX";
  KJ_REQUIRE(mkdtemp(name) != nullptr);
  mountPoint = name;
}

Mounted::~Mounted() noexcept {
  umount2(mountPoint.c_str(), MNT_DETACH);
  rmdir(mountPoint.c_str());
}

void Mounted::SetUp() {
  if (!mountingWorks()) GTEST_SKIP() << "/dev/fuse may not be used here";
  thread = kj::heap<kj::Thread>([this]() { serve(); });
  ready.when([](bool is) { return is; }, [](bool&) {});
}

void Mounted::serve() {
  auto io = kj::setupAsyncIo();
  MemoryFilesystem memory;
  SessionOptions options;
  options.handlers = handlerOptions();
  for (auto option : {"default_permissions", "allow_other", "fsname=memory", "subtype=cairn"}) {
    options.mountOptions.add(kj::str(option));
  }
  auto loop = kj::heap<SessionLoop>(
      io.unixEventPort, io.provider->getTimer(), memory,
      env::Logger(env::newStderrSink(), kj::systemPreciseCalendarClock(), env::LogLevel::WARNING, "fuse"),
      kj::mv(options));
  filesystem = &memory;
  session = loop.get();
  executor = kj::getCurrentThreadExecutor().addRef();
  auto stop = kj::newPromiseAndFulfiller<void>();
  stopFulfiller = kj::mv(stop.fulfiller);
  loop->mount(mountPoint.c_str());
  auto run = loop->run().fork();
  loop->whenServing().exclusiveJoin(run.addBranch()).wait(io.waitScope);
  *ready.lockExclusive() = true;
  run.addBranch().exclusiveJoin(kj::mv(stop.promise)).wait(io.waitScope);

  loop = nullptr;
  released = nullptr;
  releaseFulfiller = nullptr;
  memory.checkInvariants();
  KJ_ASSERT(memory.openFiles() == 0, "the session has kept files open");
}

void Mounted::TearDown() {
  if (thread.get() == nullptr) return;
  unmount();
}

void Mounted::unmount() {
  if (thread.get() == nullptr) return;
  if (umount2(mountPoint.c_str(), 0) != 0 && errno != EINVAL) {  // EINVAL: the test has done it
    ADD_FAILURE() << "cannot unmount: " << strerror(errno);
    umount2(mountPoint.c_str(), MNT_DETACH);
    executor->executeSync([this]() { KJ_ASSERT_NONNULL(stopFulfiller)->fulfill(); });
  }
  thread = nullptr;  // joins
}

void Mounted::hold(const std::string& operation) {
  onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
    auto paf = kj::newPromiseAndFulfiller<void>();
    releaseFulfiller = kj::mv(paf.fulfiller);
    released = paf.promise.fork();
    heldOperation = operation;
    memory.before = kj::Function<kj::Promise<void>(kj::StringPtr, InodeId)>(
        [this](kj::StringPtr what, InodeId) -> kj::Promise<void> {
          if (heldOperation != what.cStr()) return kj::READY_NOW;
          ++*heldCount.lockExclusive();
          return KJ_ASSERT_NONNULL(released).addBranch();
        });
  });
}

void Mounted::held(unsigned count) {
  heldCount.when([&](unsigned is) { return is >= count; }, [](unsigned&) {});
}

void Mounted::release() {
  onLoop([&](MemoryFilesystem&, SessionLoop&) {
    heldOperation.clear();
    KJ_ASSERT_NONNULL(releaseFulfiller)->fulfill();
    *heldCount.lockExclusive() = 0;
  });
}

std::string Mounted::readAll(const std::string& name) {
  int fd = ::open(path(name).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::string("error: ") + strerror(errno);
  std::string result;
  static char buffer[1 << 20];
  while (true) {
    auto size = ::read(fd, buffer, sizeof(buffer));
    if (size < 0) return std::string("error: ") + strerror(errno);
    if (size == 0) break;
    result.append(buffer, size);
  }
  ::close(fd);
  return result;
}

void Mounted::writeAll(const std::string& name, const std::string& content) {
  int fd = ::open(path(name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  ASSERT_GE(fd, 0) << name << ": " << strerror(errno);
  for (size_t done = 0; done < content.size();) {
    auto size = ::write(fd, content.data() + done, content.size() - done);
    ASSERT_GT(size, 0) << name << ": " << strerror(errno);
    done += size;
  }
  ASSERT_EQ(::close(fd), 0) << name << ": " << strerror(errno);
}

int Mounted::inChild(std::function<int()> body) {
  auto child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  KJ_SYSCALL(waitpid(child, &status, 0));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace cairn::fuse
