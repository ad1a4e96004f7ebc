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

#include <fstream>

#include "fuse/mount_table.h"
#include "rpc/coroutine.h"
#include "test/support/temporary_directory.h"

namespace cairn::fuse {

bool mountingWorks() {
  return access("/dev/fuse", R_OK | W_OK) == 0 && geteuid() == 0;
}

void abortConnection(const std::string& mountPoint) {
  auto device = KJ_ASSERT_NONNULL(mountAt(mountPoint.c_str())).device;  // 0:MINOR
  test::TemporaryDirectory control;
  KJ_SYSCALL(mount("fusectl", control.path().c_str(), "fusectl", 0, nullptr));
  auto minor = device.slice(KJ_ASSERT_NONNULL(device.findFirst(':')) + 1);
  {
    std::ofstream abort(control / (minor.cStr() + std::string("/abort")));
    abort << 1 << std::flush;
    KJ_ASSERT(abort.good(), minor);
  }
  KJ_SYSCALL(umount2(control.path().c_str(), 0));
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
  auto sink =
      env::newFunctionSink([this, seen = env::newStderrSink()](kj::Date time, env::LogLevel level,
                                                               kj::StringPtr name, kj::StringPtr text) {
        seen->write(time, level, name, text);
        *lines.lockExclusive() += kj::str(text, "\n").cStr();
      });
  auto loop = kj::heap<SessionLoop>(
      io.unixEventPort, io.provider->getTimer(), memory,
      env::Logger(sink, kj::systemPreciseCalendarClock(), env::LogLevel::WARNING, "fuse"), kj::mv(options));
  filesystem = &memory;
  session = loop.get();
  executor = kj::getCurrentThreadExecutor().addRef();
  auto end = kj::newPromiseAndFulfiller<void>();
  auto ended = end.promise.fork();
  endFulfiller = kj::mv(end.fulfiller);
  loop->mount(mountPoint.c_str());
  serving = loop->run()
                .then([this]() { KJ_ASSERT_NONNULL(endFulfiller)->fulfill(); },
                      [this](kj::Exception&& e) { KJ_ASSERT_NONNULL(endFulfiller)->reject(kj::mv(e)); })
                .eagerlyEvaluate(nullptr);
  loop->whenServing().exclusiveJoin(ended.addBranch()).wait(io.waitScope);
  *ready.lockExclusive() = true;
  ended.addBranch().wait(io.waitScope);

  serving = nullptr;
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
  if (isAbandoned) {
    stop();                                                             // it hears of no end
  } else if (umount2(mountPoint.c_str(), 0) != 0 && errno != EINVAL) {  // EINVAL: the test has done it
    ADD_FAILURE() << "cannot unmount: " << strerror(errno);
    umount2(mountPoint.c_str(), MNT_DETACH);
    stop();
  }
  thread = nullptr;  // joins
}

void Mounted::stop() {
  executor->executeSync([this]() { KJ_ASSERT_NONNULL(endFulfiller)->fulfill(); });
}

void Mounted::abandon() {
  ASSERT_EQ(umount2(mountPoint.c_str(), MNT_DETACH), 0);
  onLoop([this](MemoryFilesystem&, SessionLoop& loop) {
    serving = nullptr;
    loop.abandon();
  });
  isAbandoned = true;
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

std::string Mounted::logged() {
  return *lines.lockExclusive();
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
