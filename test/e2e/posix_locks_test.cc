// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// fcntl(2), open-file-description and flock(2) locks: between processes of one mount, between mounts, and
// what becomes of them when processes, mounts and the metaserver die.
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "test/e2e/posix_fixture.h"

namespace cairn::e2e {
namespace {

struct flock range(short type, off_t start = 0, off_t length = 0) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}

int set(int fd, short type, off_t start = 0, off_t length = 0) {
  auto lock = range(type, start, length);
  return errnoOf(::fcntl(fd, F_SETLK, &lock));
}

class Other {
  // A process that does one thing with a file, and says so with its exit status.
 public:
  Other(const std::string& path, const std::function<int(int fd)>& act) {
    child = ::fork();
    if (child != 0) return;
    ::signal(SIGALRM, [](int) {});
    int fd = ::open(path.c_str(), O_RDWR);
    ::_exit(fd < 0 ? 200 : act(fd));
  }
  ~Other() {
    if (child > 0) ::kill(child, SIGKILL), ::waitpid(child, nullptr, 0);
  }
  int result() {
    int status = 0;
    ::waitpid(child, &status, 0);
    child = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  bool waits() {  // is in the system call that takes the lock, for a while already
    return test::eventually(5s, [&]() {
      auto call = readFile("/proc/" + std::to_string(child) + "/syscall");
      return call.starts_with(std::to_string(SYS_fcntl) + " ") ||
             call.starts_with(std::to_string(SYS_flock) + " ");
    });
  }
  pid_t child = -1;
};

POSIX_RULES(Locks);

TEST_P(Locks, AnotherProcessIsKeptOut) {
  ASSERT_EQ(make("f", "content"), 0);
  int fd = ::open(c("f"), O_RDWR);
  ASSERT_EQ(set(fd, F_WRLCK, 0, 10), 0);
  EXPECT_EQ(Other(*this / "f", [](int fd) { return set(fd, F_WRLCK, 5, 1); }).result(), EAGAIN);
  EXPECT_EQ(Other(*this / "f", [](int fd) { return set(fd, F_RDLCK, 9, 1); }).result(), EAGAIN);
  EXPECT_EQ(Other(*this / "f", [](int fd) { return set(fd, F_WRLCK, 10, 1); }).result(), 0);
  EXPECT_EQ(Other(*this / "f",
                  [](int fd) {
                    auto lock = range(F_RDLCK, 3, 100);
                    if (::fcntl(fd, F_GETLK, &lock) != 0) return 100;
                    return lock.l_type == F_WRLCK && lock.l_start == 0 && lock.l_len == 10 &&
                                   lock.l_pid == getppid()
                               ? 0
                               : 101;
                  })
                .result(),
            0);
  ASSERT_EQ(set(fd, F_UNLCK, 4, 2), 0);
  EXPECT_EQ(Other(*this / "f", [](int fd) { return set(fd, F_WRLCK, 4, 2); }).result(), 0);
  ASSERT_EQ(set(fd, F_RDLCK, 0, 10), 0);
  EXPECT_EQ(Other(*this / "f", [](int fd) { return set(fd, F_RDLCK, 0, 10); }).result(), 0);
  ::close(fd);
}

TEST_P(Locks, ClosingAnyDescriptorOfTheFileGivesThemBack) {
  ASSERT_EQ(make("f", "content"), 0);
  int fd = ::open(c("f"), O_RDWR), second = ::open(c("f"), O_RDWR);
  ASSERT_EQ(set(fd, F_WRLCK), 0);
  ::close(second);
  EXPECT_EQ(Other(*this / "f", [](int fd) { return set(fd, F_WRLCK); }).result(), 0) << "POSIX says so";
  ::close(fd);
}

TEST_P(Locks, AWaitEndsWithTheLock) {
  ASSERT_EQ(make("f", "content"), 0);
  int fd = ::open(c("f"), O_RDWR);
  ASSERT_EQ(set(fd, F_WRLCK), 0);
  Other other(*this / "f", [](int fd) {
    auto lock = range(F_WRLCK);
    return errnoOf(::fcntl(fd, F_SETLKW, &lock));
  });
  ASSERT_TRUE(other.waits());
  ASSERT_EQ(set(fd, F_UNLCK), 0);
  EXPECT_EQ(other.result(), 0);
  ::close(fd);
}

TEST_P(Locks, AWaitEndsWithASignal) {
  ASSERT_EQ(make("f", "content"), 0);
  int fd = ::open(c("f"), O_RDWR);
  ASSERT_EQ(set(fd, F_WRLCK), 0);
  Other other(*this / "f", [](int fd) {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, nullptr);
    auto lock = range(F_WRLCK);
    return errnoOf(::fcntl(fd, F_SETLKW, &lock));
  });
  ASSERT_TRUE(other.waits());
  auto sent = std::chrono::steady_clock::now();
  ::kill(other.child, SIGALRM);
  EXPECT_EQ(other.result(), EINTR);
  EXPECT_LT(std::chrono::steady_clock::now() - sent, 900ms);
  EXPECT_EQ(set(fd, F_UNLCK), 0);
  EXPECT_EQ(Other(*this / "f", [](int fd) { return set(fd, F_WRLCK); }).result(), 0)
      << "nothing is left behind";
  ::close(fd);
}

TEST_P(Locks, AKilledWaiterAndAKilledHolderLeaveNothing) {
  ASSERT_EQ(make("f", "content"), 0);
  int fd = ::open(c("f"), O_RDWR);
  ASSERT_EQ(set(fd, F_WRLCK), 0);
  {
    Other other(*this / "f", [](int fd) {
      auto lock = range(F_WRLCK);
      return errnoOf(::fcntl(fd, F_SETLKW, &lock));
    });
    ASSERT_TRUE(other.waits());
  }  // killed
  ASSERT_EQ(set(fd, F_UNLCK), 0);
  {
    int pipes[2];
    ASSERT_EQ(::pipe(pipes), 0);
    Other holder(*this / "f", [&](int fd) {
      auto taken = set(fd, F_WRLCK);
      if (::write(pipes[1], "x", 1) != 1) return 100;
      for (;;) ::pause();
      return taken;
    });
    char byte;
    ASSERT_EQ(::read(pipes[0], &byte, 1), 1);
    EXPECT_EQ(set(fd, F_WRLCK), EAGAIN);
    ::close(pipes[0]), ::close(pipes[1]);
  }
  EXPECT_TRUE(test::eventually(2s, [&]() { return set(fd, F_WRLCK) == 0; }));
  ::close(fd);
}

TEST_P(Locks, ACircleOfWaitsIsRefused) {
  ASSERT_EQ(make("f", "content"), 0);
  int fd = ::open(c("f"), O_RDWR);
  ASSERT_EQ(set(fd, F_WRLCK, 0, 1), 0);
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  Other other(*this / "f", [&](int fd) {
    if (set(fd, F_WRLCK, 1, 1) != 0 || ::write(pipes[1], "x", 1) != 1) return 100;
    auto lock = range(F_WRLCK, 0, 1);
    return errnoOf(::fcntl(fd, F_SETLKW, &lock));
  });
  char byte;
  ASSERT_EQ(::read(pipes[0], &byte, 1), 1);
  ASSERT_TRUE(other.waits());
  ::usleep(50'000);  // from being on its way to being in the queue; too early is a wait for ever
  auto lock = range(F_WRLCK, 1, 1);
  EXPECT_EQ(errnoOf(::fcntl(fd, F_SETLKW, &lock)), EDEADLK);
  ASSERT_EQ(set(fd, F_UNLCK), 0);
  EXPECT_EQ(other.result(), 0);
  ::close(fd), ::close(pipes[0]), ::close(pipes[1]);
}

TEST_P(Locks, FlockBelongsToTheOpenFile) {
  ASSERT_EQ(make("f", "content"), 0);
  int fd = ::open(c("f"), O_RDONLY), second = ::open(c("f"), O_RDONLY);
  ASSERT_EQ(errnoOf(::flock(fd, LOCK_EX)), 0);
  EXPECT_EQ(errnoOf(::flock(second, LOCK_EX | LOCK_NB)), EWOULDBLOCK);
  int copy = ::dup(fd);
  ::close(fd);
  EXPECT_EQ(errnoOf(::flock(second, LOCK_SH | LOCK_NB)), EWOULDBLOCK) << "a copy is still open";
  ASSERT_EQ(errnoOf(::flock(copy, LOCK_SH)), 0);
  EXPECT_EQ(errnoOf(::flock(second, LOCK_SH | LOCK_NB)), 0);
  EXPECT_EQ(set(::open(c("f"), O_RDWR), F_WRLCK), 0) << "fcntl locks are another kind";
  ::close(copy);
  EXPECT_TRUE(test::eventually(2s, [&]() { return ::flock(second, LOCK_EX | LOCK_NB) == 0; }));
  ::close(second);
}

TEST_P(Locks, OpenFileDescriptionLocksBelongToTheOpenFile) {
  ASSERT_EQ(make("f", "content"), 0);
  int fd = ::open(c("f"), O_RDWR), second = ::open(c("f"), O_RDWR);
  auto lock = range(F_WRLCK, 0, 10);
  ASSERT_EQ(errnoOf(::fcntl(fd, F_OFD_SETLK, &lock)), 0);
  lock = range(F_RDLCK, 5, 1);
  EXPECT_EQ(errnoOf(::fcntl(second, F_OFD_SETLK, &lock)), EAGAIN);
  ::close(fd);
  EXPECT_TRUE(test::eventually(2s, [&]() { return ::fcntl(second, F_OFD_SETLK, &lock) == 0; }));
  ::close(second);
}

class LocksOfMounts : public EndToEnd {
 protected:
  void TearDown() override {
    EndToEnd::TearDown();
    for (auto& mount : mounts) ::umount2(mount.c_str(), MNT_DETACH);
  }
  std::string secondMount(LocalCluster& cluster) {
    mounts.push_back(cluster.scratch("second"));
    ::mkdir(mounts.back().c_str(), 0755);
    EXPECT_OK(test::run({program("mount.cairn"), cluster.address(), mounts.back(), "-o",
                         "log_file=" + cluster.scratch("second.log")}));
    return mounts.back();
  }
  std::vector<std::string> mounts;
};

TEST_F(LocksOfMounts, KeepEachOtherOutAndWait) {
  auto& cluster = start({.chunkds = 1, .replicas = 1});
  auto second = secondMount(cluster);
  writeFile(cluster / "f", "content");
  int fd = ::open((cluster / "f").c_str(), O_RDWR);
  ASSERT_EQ(set(fd, F_WRLCK, 0, 10), 0);
  EXPECT_EQ(Other(second + "/f", [](int fd) { return set(fd, F_RDLCK, 5, 1); }).result(), EAGAIN);
  EXPECT_EQ(Other(second + "/f", [](int fd) { return set(fd, F_RDLCK, 10, 1); }).result(), 0);
  Other other(second + "/f", [](int fd) {
    auto lock = range(F_WRLCK);
    return errnoOf(::fcntl(fd, F_SETLKW, &lock));
  });
  ASSERT_TRUE(other.waits());
  auto released = std::chrono::steady_clock::now();
  ASSERT_EQ(set(fd, F_UNLCK), 0);
  EXPECT_EQ(other.result(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - released, 500ms) << "told, not found out by asking";
  ASSERT_EQ(errnoOf(::flock(fd, LOCK_EX)), 0);
  EXPECT_EQ(Other(second + "/f", [](int fd) { return errnoOf(::flock(fd, LOCK_SH | LOCK_NB)); }).result(),
            EWOULDBLOCK);
  ::close(fd);
}

TEST_F(LocksOfMounts, AreHeldThroughARestartOfTheMetaserver) {
  auto& cluster = start({.chunkds = 1, .replicas = 1});
  auto second = secondMount(cluster);
  writeFile(cluster / "f", "content");
  int fd = ::open((cluster / "f").c_str(), O_RDWR);
  ASSERT_EQ(set(fd, F_WRLCK, 0, 10), 0);
  ASSERT_EQ(errnoOf(::flock(fd, LOCK_SH)), 0);
  cluster.kill("metaserver-1");
  EXPECT_EQ(Other(second + "/f", [](int fd) { return set(fd, F_RDLCK, 5, 1); }).result(), EAGAIN);
  EXPECT_EQ(Other(second + "/f", [](int fd) { return errnoOf(::flock(fd, LOCK_EX | LOCK_NB)); }).result(),
            EWOULDBLOCK);
  ::close(fd);
  EXPECT_EQ(Other(second + "/f", [](int fd) { return set(fd, F_WRLCK); }).result(), 0);
}

TEST_F(LocksOfMounts, GoWithAMountThatIsUnmounted) {
  auto& cluster = start({.chunkds = 1, .replicas = 1});
  auto second = secondMount(cluster);
  writeFile(cluster / "f", "content");
  int fd = ::open((cluster / "f").c_str(), O_RDWR);
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  Other holder(second + "/f", [&](int fd) {
    if (set(fd, F_WRLCK) != 0 || ::write(pipes[1], "x", 1) != 1) return 1;
    for (;;) ::pause();
    return 0;
  });
  char byte;
  ASSERT_EQ(::read(pipes[0], &byte, 1), 1);
  EXPECT_EQ(set(fd, F_RDLCK), EAGAIN);
  ::close(pipes[0]), ::close(pipes[1]);
  ASSERT_EQ(::kill(holder.child, SIGKILL), 0);
  holder.result();
  ASSERT_OK(test::run({"umount", second}));
  EXPECT_TRUE(test::eventually(5s, [&]() { return set(fd, F_WRLCK) == 0; }));
  ::close(fd);
}

}  // namespace
}  // namespace cairn::e2e
