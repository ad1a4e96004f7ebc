// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The life of a mount process, seen from outside: exit codes, messages, signals, kill -9.
#include "test/fuse/mounted.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "fuse/background.h"
#include "fuse/mount_table.h"
#include "test/support/crash_report.h"

namespace cairn::fuse {
namespace {

namespace fs = std::filesystem;

struct Finished {
  int code = -1;
  std::string output;
};

class Process : public testing::Test {
 protected:
  Process() {
    char name[] = "/tmp/cairn-process-test-XXXXXX";
    KJ_REQUIRE(mkdtemp(name) != nullptr);
    directory = name;
    mountPoint = directory / "mnt";
    fs::create_directory(mountPoint);
  }
  ~Process() override {
    auto process = pid();
    umount2(mountPoint.c_str(), MNT_DETACH);
    EXPECT_TRUE(process == 0 || soon([&]() { return ended(process); }));  // it removes its files
    EXPECT_EQ(test::crashReport(contentOf(file("log"))), "");
    fs::remove_all(directory);
  }
  void SetUp() override {
    if (!mountingWorks()) GTEST_SKIP() << "/dev/fuse may not be used here";
  }

  Finished run(const std::string& arguments) { return shell(std::string(MEMORY_MOUNT) + " " + arguments); }
  Finished shell(const std::string& command) {
    Finished result;
    auto pipe = popen((command + " 2>&1").c_str(), "r");
    char buffer[4096];
    while (auto size = fread(buffer, 1, sizeof(buffer), pipe)) result.output.append(buffer, size);
    auto status = pclose(pipe);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
  }
  std::string usual(const std::string& metaserver = "memory:9400") {
    return "--metaserver " + metaserver + " " + mountPoint.string() + " --pid-file " + file("pid") +
           " --ready-file " + file("ready") + " --log-file " + file("log");
  }
  Finished inOtherWorld(const std::string& script, const std::string& command) {
    // In a mount namespace of its own, made by the script.
    auto inside = "mount --make-rprivate / && " + script + " && exec " + command;
    return shell("unshare --mount sh -c '" + inside + "'");
  }
  bool logs(const std::string& text) {
    return soon([&]() { return contentOf(file("log")).find(text) != std::string::npos; });
  }
  void mount() {
    auto result = run(usual());
    ASSERT_EQ(result.code, 0) << result.output;
    ASSERT_TRUE(mounted());
  }
  std::string file(const char* name) { return (directory / name).string(); }
  std::string contentOf(const std::string& path) {
    std::ostringstream content;
    content << std::ifstream(path).rdbuf();
    return content.str();
  }
  pid_t pid() { return atoi(contentOf(file("pid")).c_str()); }
  pid_t watcherOf(pid_t process) {
    auto name = std::to_string(process);
    return atoi(contentOf("/proc/" + name + "/task/" + name + "/children").c_str());
  }
  bool mounted() { return mountAt(mountPoint.c_str()) != nullptr; }
  bool ended(pid_t process) {
    // It is not our child: the state is that of a zombie until init takes it.
    auto status = contentOf("/proc/" + std::to_string(process) + "/status");
    return status.empty() || status.find("State:\tZ") != std::string::npos;
  }
  template <typename Condition>
  bool soon(Condition condition) {
    for (auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
         std::chrono::steady_clock::now() < end;) {
      if (condition()) return true;
      std::this_thread::yield();
    }
    return false;
  }

  fs::path directory, mountPoint;
};

TEST_F(Process, SuccessMeansThatTheDirectoryIsMountedAndAnswers) {
  mount();
  std::ofstream(mountPoint / "f") << "x";
  EXPECT_EQ(contentOf(mountPoint / "f"), "x");
  EXPECT_EQ(contentOf(file("ready")), mountPoint.string() + "\n");
  auto entry = KJ_ASSERT_NONNULL(mountAt(mountPoint.c_str()));
  EXPECT_STREQ(entry.type.cStr(), "fuse.cairn");
  EXPECT_STREQ(entry.source.cStr(), "memory:9400");
  EXPECT_EQ(contentOf("/sys/class/bdi/" + std::string(entry.device.cStr()) + "/read_ahead_kb"), "4096\n");
}

TEST_F(Process, SignalsUnmountAndTidyUp) {
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) {
    mount();
    auto process = pid();
    ASSERT_EQ(kill(process, signal), 0);
    EXPECT_TRUE(soon([&]() { return ended(process); })) << signal;
    EXPECT_FALSE(mounted());
    EXPECT_FALSE(fs::exists(file("pid")));
    EXPECT_FALSE(fs::exists(file("ready")));
    EXPECT_NE(contentOf(file("log")).find("-> flush and unmount"), std::string::npos);
  }
}

TEST_F(Process, UnmountingFromOutsideEndsTheProcess) {
  mount();
  auto process = pid();
  ASSERT_EQ(umount2(mountPoint.c_str(), 0), 0);
  EXPECT_TRUE(soon([&]() { return ended(process); }));
  EXPECT_NE(contentOf(file("log")).find("was unmounted -> flush and end"), std::string::npos);
}

TEST_F(Process, AnAbortedConnectionEndsTheProcessAndFreesTheDirectory) {
  mount();
  auto process = pid();
  abortConnection(mountPoint);
  EXPECT_TRUE(soon([&]() { return ended(process); }));
  EXPECT_FALSE(mounted());
  EXPECT_TRUE(fs::is_empty(mountPoint));
  EXPECT_NE(contentOf(file("log")).find("to the kernel was aborted -> flush, free the directory"),
            std::string::npos);
}

TEST_F(Process, WhatItSaysWhenItCrashesGoesToItsLog) {
  mount();
  EXPECT_EQ(fs::read_symlink("/proc/" + std::to_string(pid()) + "/fd/2"), file("log"));
}

TEST_F(Process, AKilledProcessLeavesAnOrdinaryDirectory) {
  mount();
  std::ofstream(mountPoint / "f") << "x";
  kill(pid(), SIGKILL);
  EXPECT_TRUE(soon([&]() { return !mounted(); }));
  EXPECT_TRUE(fs::is_empty(mountPoint));
  mount();
  EXPECT_TRUE(mounted()) << "and can be mounted on again";
}

TEST_F(Process, WhatIsMountedThereAfterAKillStays) {
  mount();
  auto process = pid();
  auto watcher = watcherOf(process);
  ASSERT_GT(watcher, 0);
  kill(process, SIGKILL);
  EXPECT_TRUE(soon([&]() { return !mounted(); }));
  ASSERT_EQ(::mount("none", mountPoint.c_str(), "tmpfs", 0, nullptr), 0);  // at once: the watcher still runs
  EXPECT_TRUE(soon([&]() { return ended(watcher); }));
  EXPECT_TRUE(mounted());
}

TEST_F(Process, AWatcherThatHasNotRunSinceTheMountTakesItAwayAllTheSame) {
  ASSERT_EQ(::mount("none", mountPoint.c_str(), "tmpfs", 0, nullptr), 0);
  std::string device = KJ_ASSERT_NONNULL(mountAt(mountPoint.c_str())).device.cStr();
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  auto served = fork();
  ASSERT_GE(served, 0);
  if (served == 0) {
    auto watcher = Watcher::start(mountPoint);
    auto process = pid_t(atoi(contentOf("/proc/thread-self/children").c_str()));
    siginfo_t stopped;
    kill(process, SIGSTOP);
    waitid(P_PID, id_t(process), &stopped, WSTOPPED | WNOWAIT);
    watcher.mounted(device);
    if (write(ends[1], &process, sizeof(process)) != sizeof(process)) _exit(1);
    kill(getpid(), SIGKILL);
  }
  pid_t process = 0;
  ASSERT_EQ(read(ends[0], &process, sizeof(process)), ssize_t(sizeof(process)));
  close(ends[0]), close(ends[1]);
  ASSERT_EQ(waitpid(served, nullptr, 0), served);
  kill(process, SIGCONT);
  EXPECT_TRUE(soon([&]() { return !mounted(); }));
}

TEST_F(Process, AStopWhileFilesAreOpenDetachesAndTellsTheirUsers) {
  mount();
  int fd = open((mountPoint / "f").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  ASSERT_GE(fd, 0);
  auto process = pid();
  kill(process, SIGTERM);
  EXPECT_TRUE(soon([&]() { return ended(process); }));
  EXPECT_FALSE(mounted());
  EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
  EXPECT_TRUE(errno == ENOTCONN || errno == ECONNABORTED) << strerror(errno);
  close(fd);
  EXPECT_NE(contentOf(file("log")).find("still in use -> detached"), std::string::npos);
}

TEST_F(Process, RefusalsNameWhatIsWrongAndTheExitCodeSaysSo) {
  auto missing = run("--metaserver memory:9400 " + file("missing"));
  EXPECT_EQ(missing.code, 1);
  EXPECT_NE(missing.output.find(file("missing") + " does not exist"), std::string::npos) << missing.output;
  std::ofstream(file("file")) << "";
  auto plain = run("--metaserver memory:9400 " + file("file"));
  EXPECT_EQ(plain.code, 1);
  EXPECT_NE(plain.output.find("not a directory"), std::string::npos) << plain.output;
  auto refused = run("--metaserver memory:2 " + mountPoint.string());
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.output, "cairn-fuse: wrong cluster\n");
  mount();
  auto again = run(usual());
  EXPECT_EQ(again.code, 1);
  EXPECT_NE(again.output.find("mounted already"), std::string::npos) << again.output;
  EXPECT_TRUE(mounted());
}

TEST_F(Process, AMountThatCannotBeSaysWhyAndLeavesNothing) {
  // A file system whose process has died.
  auto dead = directory / "dead";
  fs::create_directory(dead);
  int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  ASSERT_GE(device, 0);
  auto options = "fd=" + std::to_string(device) + ",rootmode=40000,user_id=0,group_id=0";
  ASSERT_EQ(::mount("dead", dead.c_str(), "fuse", 0, options.c_str()), 0) << strerror(errno);
  close(device);
  std::ofstream(file("file")) << "";

  auto program = std::string(MEMORY_MOUNT) + " ";
  auto noFuse = "mount -t tmpfs none /dev";
  auto forbidden = "mount --bind /dev/fuse /dev/fuse && mount -o remount,bind,nodev /dev/fuse";
  struct Case {
    std::string what, sentence;
    Finished finished;
  } cases[] = {
      {"a level of the log that is none", "--log-level loud is none of debug",
       run(usual() + " --log-level loud")},
      {"on a dead mount", "mount whose process has died. Free it first: umount -l " + dead.string(),
       run("--metaserver memory:9400 " + dead.string())},
      {"in a dead mount",
       "in a mount whose process has died. Free that first: umount -l " + dead.string() + "\n",
       run("--metaserver memory:9400 " + (dead / "sub").string())},
      {"below a file", "cannot use the mount point " + file("file") + "/sub: Not a directory",
       run("--metaserver memory:9400 " + file("file") + "/sub")},
      {"no FUSE in the kernel", "the kernel has no FUSE here", inOtherWorld(noFuse, program + usual())},
      {"a device that is not allowed", "/dev/fuse may not be opened: Permission denied",
       inOtherWorld(forbidden, program + usual())},
      {"what the kernel does not take", "mount failed", run(usual() + " -o context=nonsense")},
  };
  for (auto& one : cases) {
    EXPECT_EQ(one.finished.code, 1) << one.what;
    EXPECT_NE(one.finished.output.find(one.sentence), std::string::npos)
        << one.what << ": " << one.finished.output;
  }
  EXPECT_FALSE(mounted());
  EXPECT_FALSE(fs::exists(file("pid")));
  EXPECT_EQ(umount2(dead.c_str(), MNT_DETACH), 0);
}

TEST_F(Process, WhereReadaheadMayNotBeRaisedItServesAllTheSame) {
  auto result = inOtherWorld("mount -t tmpfs none /sys", std::string(MEMORY_MOUNT) + " " + usual());
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_TRUE(logs("sequential reads stay at 128 KiB of readahead"));
  auto process = pid();
  kill(process, SIGTERM);
  EXPECT_TRUE(soon([&]() { return ended(process); }));
}

TEST_F(Process, ASecondSignalDoesNotWaitForAnUnmountThatIsStuck) {
  auto result = run(usual("memory:3"));  // no write is answered
  ASSERT_EQ(result.code, 0) << result.output;
  int fd = open((mountPoint / "f").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  ASSERT_EQ(ftruncate(fd, 4096), 0);
  auto page = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  ASSERT_NE(page, MAP_FAILED);
  page[0] = 'x';  // what unmounting has to write back first
  auto process = pid();
  kill(process, SIGTERM);
  EXPECT_TRUE(logs("signal 15 -> flush and unmount"));
  kill(process, SIGTERM);
  EXPECT_TRUE(soon([&]() { return ended(process); }));
  EXPECT_TRUE(logs("could not be unmounted in time -> detached without waiting"));
  EXPECT_FALSE(mounted());
  munmap(page, 4096);
  close(fd);
}

TEST_F(Process, ASignalWhileItFlushesEndsItAtOnce) {
  auto result = run(usual("memory:4"));  // the flush at the end is not answered
  ASSERT_EQ(result.code, 0) << result.output;
  auto process = pid();
  ASSERT_EQ(umount2(mountPoint.c_str(), 0), 0);
  EXPECT_TRUE(logs("was unmounted -> flush and end"));
  kill(process, SIGTERM);
  EXPECT_TRUE(soon([&]() { return ended(process); }));
  EXPECT_TRUE(logs("a second signal -> end without flushing"));
}

TEST_F(Process, AUserWithoutTheHelperThatUnmountsIsToldThatTheMountStays) {
  // As a user: /dev/fuse is for all there, and fusermount3 is where libfuse looks for it, but not in PATH.
  ASSERT_EQ(chown(mountPoint.c_str(), 65534, 65534), 0);
  ASSERT_EQ(chmod(directory.c_str(), 0777), 0);
  auto device = file("device");
  auto world =
      "mknod " + device + " c 10 229 && chmod 666 " + device + " && mount --bind " + device + " /dev/fuse";
  auto result = inOtherWorld(world, "setpriv --reuid=65534 --regid=65534 --clear-groups env PATH=/nowhere " +
                                        std::string(MEMORY_MOUNT) + " " + usual());
  ASSERT_EQ(result.code, 0) << result.output;
  auto process = pid();
  kill(process, SIGTERM);
  EXPECT_TRUE(soon([&]() { return ended(process); }));
  EXPECT_TRUE(logs("could not be unmounted (No such file or directory) -> it stays without a process"))
      << contentOf(file("log"));
}

TEST_F(Process, StoppingWhileItConnectsEndsAtOnce) {
  auto child = fork();
  if (child == 0) {
    close(STDERR_FILENO);
    execl(MEMORY_MOUNT, "cairn-fuse", "--metaserver", "memory:1", mountPoint.c_str(), "-f", nullptr);
    _exit(127);
  }
  EXPECT_TRUE(soon([&]() {
    // Until it takes SIGTERM through its loop. Who blocks SIGQUIT too, blocks all while a thread starts.
    auto status = contentOf("/proc/" + std::to_string(child) + "/status");
    auto blocked = status.find("SigBlk:\t");
    if (blocked == std::string::npos) return false;
    auto mask = std::stoull(status.substr(blocked + 8, 16), nullptr, 16);
    return (mask >> (SIGTERM - 1) & 1) == 1 && (mask >> (SIGQUIT - 1) & 1) == 0;
  }));
  kill(child, SIGTERM);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
}

}  // namespace
}  // namespace cairn::fuse
